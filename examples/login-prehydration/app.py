"""The application: one page per user, read from Redis with an ordinary client. It does not know of Hydrant.

`/page/profile,orders` answers those parts, and how long each took to get. A part is taken from the cache, else from its
backend: `read` is all there is to it. What was read is noted for the next login (`note`), also in plain Redis.
"""

import hashlib
import json
import os
import time
import urllib.error
import urllib.request

import redis
from web import Call, Refused, serve

GROUP = "login-prehydration"
KEPT = 3600  # seconds
PATIENCE = 1.5  # seconds for a backend, then the page goes without

store = redis.Redis(port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"])


def answer(call: Call) -> object:
    match call.path.split("/"):
        case [_, "page", parts]:
            user, began = call.user(), time.perf_counter()
            page = {}
            for part in parts.split(","):
                page[part] = timed(read, part, whose(part, user, page), call.token())
            note(user, list(page))
            return {"ms": (time.perf_counter() - began) * 1000, "parts": page}
        case _:
            raise Refused(404)


def whose(part: str, user: str, page: dict) -> str:
    """A hierarchy is the organisation's, and the profile says which one that is. All else is the user's own."""
    return page["profile"]["value"]["organisation"]["id"] if part == "hierarchy" else user


def read(part: str, whose: str, session: str) -> tuple[str, object]:
    # 1. The cache first, which Hydrant has filled.
    cached = store.get(key(part, whose))
    if cached:
        return "hit", json.loads(cached)
    # 2. A miss: the backend.
    try:
        value = backend(part, whose, session)
    except OSError:
        return "unavailable", None
    # 3. For the next time.
    store.setex(key(part, whose), KEPT, json.dumps(value))
    return "miss", value


def key(part: str, whose: str) -> str:
    return f"org:hierarchy:{whose}" if part == "hierarchy" else f"user:{part}:{whose}"


def note(user: str, parts: list[str]) -> None:
    """The three lines of docs/prediction.md."""
    name = hashlib.sha256(f"hydrant:{len(GROUP)}:{GROUP}:0::{user}".encode()).hexdigest()[:32]
    store.hset(f"hydrant:{{{GROUP}:{name}}}:history", mapping={f"r:{part}": int(time.time()) for part in parts})
    store.expire(f"hydrant:{{{GROUP}:{name}}}:history", 30 * 86400)


def backend(part: str, whose: str, session: str) -> object:
    port = os.environ[f"{part.upper()}_PORT"]
    ask = urllib.request.Request(
        f"http://127.0.0.1:{port}/{part}/{whose}", headers={"authorization": f"Bearer {session}"}
    )
    with urllib.request.urlopen(ask, timeout=PATIENCE) as answer:
        return json.load(answer)


def timed(read, *args: str) -> dict[str, object]:
    began = time.perf_counter()
    how, value = read(*args)
    return {"how": how, "ms": (time.perf_counter() - began) * 1000, "value": value}


serve(int(os.environ["APP_PORT"]), answer).serve_forever()
