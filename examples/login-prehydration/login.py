"""The login service: makes the session cookie, and tells Hydrant at a login and at a logout.

Both calls have short deadlines, and neither is ever a reason to fail: without Hydrant everybody logs in as before.
"""

import os
import time
import uuid

import grpc
import jwt
from hydrant.v1 import invalidate_pb2, prehydrate_pb2
from hydrant.v1.control_service_pb2_grpc import CacheControlServiceStub
from web import SECRET, Call, Refused, serve

# A sidecar that restarts is back in a moment, so grpc must not sit out its usual waits of up to two minutes.
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
hydrant = CacheControlServiceStub(grpc.insecure_channel(f"127.0.0.1:{os.environ['HYDRANT_PORT']}", options=RECONNECT))


def answer(call: Call) -> object:
    match call.path.split("/"):
        case [_, "login", user]:  # the password has been checked by now
            claims = {"sub": user, "jti": uuid.uuid4().hex, "exp": int(time.time()) + 3600}
            token = jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": "2026-11"})
            call.set_cookie = f"session={token}; HttpOnly; SameSite=Lax"
            began = time.perf_counter()
            status = prehydrate(f"session={token}")
            return {"prehydrate": status, "ms": (time.perf_counter() - began) * 1000}
        case [_, "logout"]:
            return {"invalidate": logged_out(call.cookie_header, forget=call.query == "forget")}
        case _:
            raise Refused(404)


def prehydrate(cookie_header: str) -> str:
    """This user is about to be read. Answered as soon as it is queued; what to load Hydrant knows better than we do."""
    try:
        answer = hydrant.Prehydrate(prehydrate_pb2.PrehydrateRequest(cookie_header=cookie_header), timeout=0.5)
    except grpc.RpcError as error:
        return error.code().name
    return prehydrate_pb2.PrehydrateStatus.Name(answer.status).removeprefix("PREHYDRATE_STATUS_")


def logged_out(cookie_header: str, forget: bool) -> str:
    """Nothing of this user's stays in the cache; with `forget` not even what it used to read."""
    subject = invalidate_pb2.SubjectTarget(cookie_header=cookie_header, forget=forget)
    targets = [invalidate_pb2.InvalidateTarget(subject=subject)]
    try:
        answer = hydrant.Invalidate(invalidate_pb2.InvalidateRequest(targets=targets, reason="logout"), timeout=2)
    except grpc.RpcError as error:
        return error.code().name
    return answer.WhichOneof("state")


serve(int(os.environ["LOGIN_PORT"]), answer).serve_forever()
