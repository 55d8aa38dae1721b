"""The two calls this app makes to the sidecar of its pod. Neither is ever a reason to fail a request."""

import logging

import grpc
import grpc.aio
from hydrant.v1 import invalidate_pb2, member_pb2, prehydrate_pb2, subject_pb2
from hydrant.v1.control_service_pb2_grpc import CacheControlServiceStub

log = logging.getLogger("hydrant")


class Hydrant:
    def __init__(self, address: str):
        self.address = address

    async def open(self) -> None:
        # A sidecar that restarts is back in a moment, so grpc must not sit out its usual waits of up to two minutes.
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
        self.channel = grpc.aio.insecure_channel(self.address, options=options)
        self.calls = CacheControlServiceStub(self.channel)
        self.is_connected()  # which also connects, so that the first login does not wait for that

    async def close(self) -> None:
        await self.channel.close()

    async def prehydrate(self, user_id: int) -> None:
        """This user is about to be read. Answered once it is queued, about a millisecond."""
        request = prehydrate_pb2.PrehydrateRequest(subject=subject_pb2.Subject(user_id=str(user_id)))
        try:
            await self.calls.Prehydrate(request, timeout=1)
        except grpc.aio.AioRpcError as error:
            log.warning("prehydrate: %s: %s", error.code().name, error.details())

    async def invalidate(self, user_id: int, aliases: list[tuple[str, str]], reason: str) -> str:
        """Removes the user and these aliases, and what Hydrant knows of besides. Call it after the commit.

        `done`: all gone. `pending`: on record, and sure to go. `unheard`: nothing was promised.
        """
        target = invalidate_pb2.MemberTarget(
            member=member_pb2.Member(entity="user", params={"id": str(user_id)}),
            known_aliases=[member_pb2.AliasValue(alias=name, params={name: value}) for name, value in aliases],
        )
        request = invalidate_pb2.InvalidateRequest(
            targets=[invalidate_pb2.InvalidateTarget(member=target)], reason=reason
        )
        try:
            answer = await self.calls.Invalidate(request, timeout=1)
        except grpc.aio.AioRpcError as error:
            log.warning("invalidate: %s: %s", error.code().name, error.details())
            return "unheard"
        if answer.HasField("pending"):
            log.warning("invalidate: pending as job %s", answer.pending.job_id)
        return answer.WhichOneof("state")

    def is_connected(self) -> bool:
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY
