"""Uses the service as people would, and looks into Redis after every step. `drive.py PHASE`; run.sh has the order."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import redis

from app.breaker import Breaker
from app.user_cache import ALIASES, CACHED

PASSWORD = "correct horse battery staple"
SECRETS = ("hashed_password", "two_factor_secret", "api_key", "oauth_token")
FIGURES = Path(os.environ["WORK"], "figures.json")

app = httpx.Client(base_url=f"http://127.0.0.1:{os.environ['APP_PORT']}", timeout=10)
store = redis.Redis(port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"], decode_responses=True)
figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"checks": 0, "failed": 0, "users": {}, "reads": []}


def healthy() -> None:
    """Everything is there."""
    check("the app finds Hydrant", eventually(lambda: stats()["hydrant"], 20))
    ann = register("ann")

    monitor = Monitor()
    token, _ = login(ann)
    refused = app.post("/auth/login", json={"email": ann["email"], "password": "wrong"}).status_code
    check("a login asks Redis nothing", monitor.of_app() == [], f"{refused} for a wrong password")
    check("Hydrant fills the user before anybody reads it", eventually(lambda: store.exists(key_of(ann))))
    check("with its aliases, each holding the id", eventually(lambda: aliases_hold(ann)))
    first_reads("with Hydrant", 0)

    for alias in ALIASES:
        queries = stats()["queries"]
        found = find(alias, ann[alias])
        check(f"found by {alias}, without the database", found == me(token) and stats()["queries"] == queries)

    row = internal(ann)
    check("the endpoint that Hydrant loads from sends secrets", all(row[name] for name in SECRETS))
    kept = json.loads(store.get(key_of(ann)))
    check("what is kept has the 14 fields allowed and no other", sorted(kept) == sorted(CACHED))

    triggers: list[tuple[str, str, str, dict]] = [
        ("a profile update", "PUT", "/auth/profile", {"bio": "sails", "location": "Nassau"}),
        ("a change of e-mail", "PUT", "/auth/profile", {"email": "ann@new.example"}),
        ("a change of username and phone", "PUT", "/auth/profile", {"username": "anna", "phone": "+12425550188"}),
        ("an avatar", "POST", "/auth/upload-avatar", {"avatar_url": "/avatars/ann.png"}),
        ("a change of password", "POST", "/auth/change-password", {"old": PASSWORD, "new": PASSWORD + "!"}),
    ]
    for what, method, path, body in triggers:
        trigger(ann["id"], token, what, method, path, body)
    ann = me(token)
    check("the old password is refused", login(ann)[1] == 401)
    check("the new one is not", login(ann, PASSWORD + "!")[1] == 200)
    no_secrets()

    ben = register("ben")
    token, _ = login(ben)
    old = me(token)
    trigger(ben["id"], token, "a change of occupation", "PUT", "/auth/profile", {"occupation": "pilot"})
    store.set(key_of(ben), json.dumps(old), ex=300)  # an instance that had read the database before the change
    gone = eventually(lambda: store.get(key_of(ben)) != json.dumps(old))
    check("a stale value that a slow instance writes afterwards is taken out again", gone)

    trigger(ben["id"], token, "a closed account", "DELETE", "/auth/account", None)
    check("Hydrant was done each time before the app answered", stats()["pending"] == 0 and stats()["unheard"] == 0)
    check("its token is refused at once", app.get("/auth/me", headers=bearer(token)).status_code == 401)
    check("the app's breaker waits longer each time", waits() == [2, 4, 8, 16, 32, 60, 60], "2, 4, 8, 16, 32, 60, 60 s")


def without_hydrant() -> None:
    """Hydrant is stopped: the app fills and removes by itself."""
    cleo = register("cleo")
    token, code = login(cleo)
    check("a login works", code == 200)
    first_reads("without Hydrant", 1)
    me(token)
    queries = stats()["queries"]
    check("the second read is cached, by the app", me(token)["id"] == cleo["id"] and stats()["queries"] == queries)
    trigger(cleo["id"], token, "a change of e-mail", "PUT", "/auth/profile", {"email": "cleo@new.example"})
    warm(token)
    figures["users"]["cleo"] = {"token": token, "id": cleo["id"]}


def hydrant_again() -> None:
    """Hydrant is back, and knows nothing of what the app wrote meanwhile."""
    cleo = figures["users"]["cleo"]
    check("the app finds it again by itself", eventually(lambda: stats()["hydrant"], 20))
    unheard = stats()["unheard"]
    change = {"email": "cleo@newer.example", "username": "cleopatra", "phone": "+12425550199"}
    trigger(cleo["id"], cleo["token"], "a change of all three aliases", "PUT", "/auth/profile", change)
    check("it was Hydrant that removed them", stats()["unheard"] == unheard)
    no_secrets()


def without_redis() -> None:
    """Redis is away, and comes back with what it had."""
    token = figures["users"]["cleo"]["token"]
    first = me(token)
    queries, errors = stats()["queries"], stats()["redis_errors"]
    same = all(me(token) == first for _ in range(50))
    check("50 reads come from the app's own memory", same and stats()["queries"] == queries)
    check("Redis is left alone meanwhile", stats()["redis_errors"] - errors <= 1 and stats()["breaker"] == "open")
    email, pending = {"email": "cleo@last.example"}, stats()["pending"]
    check("a profile update", app.put("/auth/profile", json=email, headers=bearer(token)).status_code == 200)
    check("is seen at once", me(token)["email"] == email["email"])
    check("Hydrant has it on record, to be carried out", stats()["pending"] == pending + 1)
    check("a login works", login(email)[1] == 200)
    figures["users"]["cleo"]["old_email"] = first["email"]


def redis_again() -> None:
    """Redis is back, with what it had: the old e-mail among it."""
    cleo = figures["users"]["cleo"]
    began = time.monotonic()
    gone = eventually(lambda: not store.exists(f"user:email:{cleo['old_email']}"), 30)
    check("the old e-mail's key goes", gone, f"{time.monotonic() - began:.1f} s")
    recovered = eventually(lambda: me(cleo["token"]) and stats()["breaker"] == "closed", 30)
    check("the app's breaker closes by itself", recovered, f"{time.monotonic() - began:.1f} s")
    check("the new e-mail is what is read", me(cleo["token"])["email"] == "cleo@last.example")
    check("the old one finds nobody", find("email", cleo["old_email"]) is None)
    check("and reads are cached again", eventually(lambda: reads_no_database(cleo["token"])))
    no_secrets()


def report() -> None:
    """The first read after a login, ten users:"""
    for case, queries, took in figures["reads"]:
        print(f"  {case:<16} {queries:>2} database queries   {took:5.2f} ms in the median")
    print(f"\n{figures['checks'] - figures['failed']} passed, {figures['failed']} failed")
    sys.exit(1 if figures["failed"] else 0)


def trigger(user_id: int, token: str, what: str, method: str, path: str, body: dict | None) -> None:
    """A change through the API, with all the user's keys in Redis before it, and none after."""
    before = me(token)
    keys = keys_of(before)
    # For 2 s after a change, what the app itself has written is taken out again: it could be from before.
    eventually(lambda: warm(token) and store.exists(*keys) == len(keys))
    there = store.exists(*keys)
    began = time.perf_counter()
    answer = app.request(method, path, json=body, headers=bearer(token))
    took = (time.perf_counter() - began) * 1000
    keys += keys_of(internal({"id": user_id}))
    left = [key for key in dict.fromkeys(keys) if store.exists(key)]
    ok = answer.status_code == 200 and there > 0 and left == []
    check(f"{what} removes {there} keys", ok, f"{took:.1f} ms" if not left else f"left: {left}")
    if method != "DELETE":
        now = me(token)
        check("  and is seen at the next read", all(now[name] == body[name] for name in body if name in now))
    else:
        check("  and a new read says so", find("email", before["email"])["is_active"] is False)


def first_reads(case: str, wanted: int) -> None:
    """Ten people log in, and each is read for the first time."""
    times, queries = [], 0
    for _ in range(10):
        user = register(f"visitor{figures['checks']}x{len(times)}")
        token, _ = login(user)
        if wanted == 0:
            eventually(lambda: store.exists(*keys_of(user)) == 1 + len(ALIASES))
        queries -= stats()["queries"]
        began = time.perf_counter()
        me(token)
        times.append((time.perf_counter() - began) * 1000)
        queries += stats()["queries"]
    figures["reads"].append((case, queries, statistics.median(times)))
    check(f"10 first reads after a login make {10 * wanted} database queries", queries == 10 * wanted)


def reads_no_database(token: str) -> bool:
    queries = stats()["queries"]
    me(token)
    return stats()["queries"] == queries


def no_secrets() -> None:
    """Reads every byte there is in Redis, Hydrant's own keys included."""
    rows = [internal({"id": user_id}) for user_id in range(1, stats()["users"] + 1)]
    everything = dump()
    found = [name for name in SECRETS if name in everything or any(row[name] in everything for row in rows)]
    seen = f"{len(rows) * len(SECRETS)} looked for in {len(everything)} bytes"
    ok = found == [] and "first_name" in everything  # what may be there is
    check("no hash, 2FA secret, API key or OAuth token in all of Redis", ok, seen)


def dump() -> str:
    """All of Redis, one character for each byte."""
    raw = redis.Redis(port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"])
    readers: dict[bytes, Callable] = {
        b"string": raw.get,
        b"hash": raw.hgetall,
        b"list": lambda key: raw.lrange(key, 0, -1),
        b"set": raw.smembers,
        b"zset": lambda key: raw.zrange(key, 0, -1),
        b"stream": raw.xrange,
    }
    types = {key: raw.type(key) for key in raw.scan_iter(count=1000)}
    return "\n".join(f"{flat(key)} {flat(readers[kind](key))}" for key, kind in types.items() if kind != b"none")


def flat(reply: object) -> str:
    if isinstance(reply, bytes):
        return reply.decode("latin-1")
    if isinstance(reply, dict):
        return flat(list(reply.items()))
    return " ".join(map(flat, reply)) if isinstance(reply, list | tuple | set) else str(reply)


def warm(token: str) -> dict:
    """Reads the user in all four ways, so that all four keys stand in Redis."""
    user = me(token)
    for alias in ALIASES:
        find(alias, user[alias])
    return user


class Monitor:
    """What is sent to Redis from now on."""

    def __init__(self):
        self.monitor = store.monitor().__enter__()

    def of_app(self) -> list[str]:
        """Up to now, by the app's own connections."""
        store.echo("the end")
        theirs = {client["addr"] for client in store.client_list() if client["name"] == "user-cache-app"}
        seen = []
        for command in self.monitor.listen():
            if command["command"] == "ECHO the end":
                self.monitor.__exit__(None, None, None)
                return seen
            if f"{command['client_address']}:{command['client_port']}" in theirs:
                seen.append(command["command"])
        return seen


def register(name: str) -> dict:
    phone = f"+1242{time.time_ns() % 10**7:07}"
    user = {"email": f"{name}@example.com", "username": name, "phone": phone, "password": PASSWORD}
    answer = app.post("/auth/register", json=user | {"first_name": name.title(), "last_name": "Rolle"})
    return answer.raise_for_status().json()


def login(user: dict, password: str = PASSWORD) -> tuple[str, int]:
    answer = app.post("/auth/login", json={"email": user["email"], "password": password})
    return answer.json().get("access_token", ""), answer.status_code


def me(token: str) -> dict:
    return app.get("/auth/me", headers=bearer(token)).raise_for_status().json()


def find(alias: str, value: str) -> dict | None:
    answer = app.get(f"/users/by-{alias}/{value}")
    return answer.json() if answer.status_code == 200 else None


def internal(user: dict) -> dict:
    answer = app.get(f"/internal/users/{user['id']}", headers=bearer(os.environ["INTERNAL_TOKEN"]))
    return answer.raise_for_status().json()["data"]


def stats() -> dict:
    return app.get("/stats").json()


def bearer(token: str) -> dict:
    return {"authorization": f"Bearer {token}"}


def key_of(user: dict) -> str:
    return f"user:id:{user['id']}"


def keys_of(user: dict) -> list[str]:
    return [key_of(user), *(f"user:{alias}:{user[alias]}" for alias in ALIASES)]


def aliases_hold(user: dict) -> bool:
    return all(store.get(key) == str(user["id"]) for key in keys_of(user)[1:])


def waits() -> list[float]:
    now = 0.0
    breaker, seen = Breaker(clock=lambda: now), []
    for _ in range(7):
        breaker.failed()
        seen.append(breaker.closed_until - now)
        now = breaker.closed_until
    return seen


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def check(what: str, held: bool, seen: str = "") -> None:
    figures["checks"] += 1
    figures["failed"] += not held
    print(f"  {'ok  ' if held else 'FAIL'}  {what:<66} {seen}", flush=True)


if __name__ == "__main__":
    phases = (healthy, without_hydrant, hydrant_again, without_redis, redis_again, report)
    phase = {phase.__name__: phase for phase in phases}[sys.argv[1]]
    print(f"\n{phase.__doc__}")
    phase()
    FIGURES.write_text(json.dumps(figures))
