"""Users by id, e-mail, username and phone: from Redis, else from the database.

Reads go straight to Redis, with an ordinary client. A user stands whole under `user:id:123`; `user:email:…`,
`user:username:…` and `user:phone:…` hold the id. Hydrant has filled the keys of whoever has logged in; what is missing
all the same this app writes itself. Removing is Hydrant's part: only it can also stop a fill that is under way.
"""

import json
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .breaker import Breaker
from .database import Database
from .hydrant import Hydrant

T = TypeVar("T")
User = dict[str, object]

TTL = 300  # seconds
ALIASES = ("email", "username", "phone")
CACHED = (
    "id email username first_name last_name phone bio avatar_url occupation location is_active is_admin "
    "created_at updated_at"
).split()

FALLBACK_TTL = 10.0  # seconds; other instances' changes are not seen here for so long while Redis is away
FALLBACK_USERS = 1000


class UserCache:
    def __init__(self, redis: Redis, database: Database, hydrant: Hydrant):
        self.redis = redis
        self.database = database
        self.hydrant = hydrant
        self.breaker = Breaker()
        self.fallback: dict[int, tuple[User, float]] = {}  # used only while Redis is away
        self.owed: dict[str, None] = {}  # keys to remove before Redis is read again
        self.counts = dict.fromkeys(
            ("hits", "misses", "fallback_hits", "done", "pending", "unheard", "redis_errors"), 0
        )

    async def get_user_by_id(self, user_id: int) -> User | None:
        cached = await self._ask(lambda: self.redis.get(f"user:id:{user_id}"))
        if cached is None and self.breaker.is_open:
            return await self._without_redis(user_id)
        if cached is not None:
            self.counts["hits"] += 1
            return json.loads(cached)
        self.counts["misses"] += 1
        return await self._remember(await self.database.user_by("id", user_id))

    async def get_user_by(self, alias: str, value: str) -> User | None:
        user_id = await self._ask(lambda: self.redis.get(f"user:{alias}:{value}"))
        if user_id is not None:
            return await self.get_user_by_id(int(user_id))
        self.counts["misses"] += 1
        return await self._remember(await self.database.user_by(alias, value))

    async def invalidate_user(self, before: User, after: User, reason: str) -> None:
        """Call it after the commit, with the user as it was and as it is: an old e-mail's key must go as well."""
        self.fallback.pop(before["id"], None)
        both = [(name, user[name]) for user in (before, after) for name in ALIASES if user[name]]
        aliases = list(dict.fromkeys(both))
        answer = await self.hydrant.invalidate(before["id"], aliases, reason)
        self.counts[answer] += 1
        if answer != "unheard":
            return
        keys = [f"user:id:{before['id']}", *(f"user:{name}:{value}" for name, value in aliases)]
        self.owed.update(dict.fromkeys(keys))
        await self._ask(self._settle)

    async def _remember(self, row: User | None) -> User | None:
        if row is None:
            return None
        user = {name: row[name] for name in CACHED}
        await self._ask(lambda: self._write(user))
        if self.breaker.is_open:
            if len(self.fallback) >= FALLBACK_USERS:
                self.fallback.pop(next(iter(self.fallback)))
            self.fallback[user["id"]] = (user, time.monotonic() + FALLBACK_TTL)
        return user

    async def _write(self, user: User) -> None:
        pipe = self.redis.pipeline(transaction=False)
        pipe.set(f"user:id:{user['id']}", json.dumps(user), ex=TTL)
        for name in ALIASES:
            if user[name]:
                pipe.set(f"user:{name}:{user[name]}", user["id"], ex=TTL)
        await pipe.execute()

    async def _without_redis(self, user_id: int) -> User | None:
        user, until = self.fallback.get(user_id, (None, 0.0))
        if time.monotonic() < until:
            self.counts["fallback_hits"] += 1
            return user
        self.counts["misses"] += 1
        return await self._remember(await self.database.user_by("id", user_id))

    async def _settle(self) -> None:
        """Without Hydrant: each key with its guard, which voids a fill of another pod's Hydrant that is under way."""
        for key in list(self.owed):
            await self.redis.delete(key, f"{{{key}}}:g")
            self.owed.pop(key, None)

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """Whatever goes wrong with Redis, a request only loses the cache."""
        if not self.breaker.lets_through():
            return None
        try:
            if self.owed:
                await self._settle()
            answer = await command()
        except (RedisError, OSError):
            self.counts["redis_errors"] += 1
            self.breaker.failed()
            return None
        if self.breaker.succeeded():
            self.fallback.clear()
        return answer
