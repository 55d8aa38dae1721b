"""Uses the services as people would, and looks into Redis after every step. `drive.py PHASE`; run.sh has the order."""

import hashlib
import json
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import redis

GROUP = "login-prehydration"
PAGE = ("profile", "orders", "recommendations")  # what these people look at
BROKEN = ("offers", "messages")  # what nobody can get at present
HIERARCHY = "org:hierarchy:north"  # of everybody's organisation, as the profiles say
FIGURES = Path(os.environ["WORK"], "figures.json")

store = redis.Redis(port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"], decode_responses=True)
began: dict[str, int] = {}  # the second in which each user logged in last
figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"checks": 0, "failed": 0, "pages": {}}


def before() -> None:
    """Hydrant is not there yet:"""
    pages = []
    for user in ("11", "12", "13"):
        cookie, _ = login(user)
        pages.append(page(cookie))
    remember("without Hydrant", pages)
    check("every first page after a login asks all its backends", all(how(page) == ["miss"] * 3 for page in pages))
    again = [page(login(user)[0]) for user in ("11", "12", "13")]
    check("and what it has read it keeps", all(how(page) == ["hit"] * 3 for page in again))


def with_hydrant() -> None:
    """Hydrant is there. Five people log in for the first time:"""
    # Somebody else first: gRPC looks for a sidecar that was not there once a second.
    found = eventually(lambda: login("100")[1]["prehydrate"] == "ACCEPTED")
    check("the login service finds it by itself", found and eventually(lambda: is_on_record("100")))
    users = [str(user) for user in range(101, 106)]
    asked = {part: calls(part) for part in BROKEN}
    cookies, accepted = logins(users)
    there = eventually(lambda: all(cached(user) >= {"profile", "orders"} for user in users))
    hanging = state("messages")["waiting"]
    check("what newcomers read is there", there)
    check("while a backend hangs, and another one fails", hanging > 0 and calls("offers") > asked["offers"])
    check("those two cost nothing but their own entries", not any(cached(user) & set(BROKEN) for user in users))
    pages = [page(cookie) for cookie in cookies]
    check("the first page hits what was predicted", all(how(page) == ["hit", "hit", "miss"] for page in pages))
    remember("first login", pages)

    for visit in ("second login", "third login"):
        leave(users, cookies)
        asked = {part: calls(part) for part in (*PAGE, *BROKEN)}
        cookies, more = logins(users)
        accepted += more
        began = time.monotonic()
        there = eventually(lambda: all(cached(user) == set(PAGE) for user in users))
        took = time.monotonic() - began
        check(f"{visit}: what they read the last time is there", there, f"the slowest after {took:.1f} s")
        pages = [page(cookie) for cookie in cookies]
        remember(visit, pages)
        check("  the first page is all hits", all(how(page) == ["hit"] * 3 for page in pages))
        more = {part: calls(part) - asked[part] for part in asked}
        check("  each backend was asked once for each of them", all(more[part] == len(users) for part in PAGE))
        if visit == "third login":  # twice tried, and not read once
            check("  and nobody was asked for what nobody reads", all(more[part] == 0 for part in BROKEN))
        times = [part["ms"] for page in pages for part in page["parts"].values()]
        check("  a read takes less than 5 ms", statistics.median(times) < 5, f"{statistics.median(times):.2f} ms")
        took = statistics.median(page["ms"] for page in pages)
        check("  the first page after the login less than 100 ms", took < 100, f"{took:.1f} ms")

    took = statistics.median(accepted)
    check(f"{len(accepted)} logins were accepted in milliseconds", took < 25, f"{took:.1f} ms in the median")
    state_of = {post("login", "/logout?forget", cookie)["invalidate"] for cookie in cookies}
    check("they log out, and want to be forgotten", state_of == {"done"})
    left = [key for user in users for key in keys_of(user)]
    check("no key of theirs is left, nor their histories", left == [], f"{store.dbsize()} keys in all of Redis")


def organisation() -> None:
    """What is known only once another answer is there:"""
    parts = ("profile", "hierarchy")
    (cookie,), _ = logins(["301"])
    eventually(lambda: "profile" in cached("301"))
    check("a newcomer looks at the organisation's hierarchy", how(page(cookie, parts)) == ["hit", "miss"])
    leave(["301"], [cookie])
    check("what is not the user's own stays after a logout", store.exists(HIERARCHY) == 1)
    store.delete(HIERARCHY)
    asked = calls("hierarchy")
    (cookie,), _ = logins(["301"])
    there = eventually(lambda: store.exists(HIERARCHY) and "profile" in cached("301"))
    check("the next login fills it: the profile says whose it is", there and calls("hierarchy") == asked + 1)
    check("the page is all hits", how(page(cookie, parts)) == ["hit", "hit"])
    post("login", "/logout?forget", cookie)


def hydrant_stopped() -> None:
    """Hydrant is stopped:"""
    cookie, status = login("201")
    check("a login works", cookie != "" and status["prehydrate"] != "ACCEPTED", status["prehydrate"])
    pages = [page(cookie)]
    remember("Hydrant stopped", pages)
    check("the app answers all the same, from its backends", how(pages[0]) == ["miss"] * 3)
    check("and then from Redis", how(page(cookie)) == ["hit"] * 3)


def report() -> None:
    """The first page after a login, in the median, ms:"""
    print(f"  {'':<18}{''.join(f'{part:>17}' for part in PAGE)}{'whole page':>17}")
    for case, row in figures["pages"].items():
        print(f"  {case:<18}{''.join(f'{row[part]:>17.1f}' for part in (*PAGE, 'page'))}")
    print(f"\n{figures['checks'] - figures['failed']} passed, {figures['failed']} failed")
    sys.exit(1 if figures["failed"] else 0)


def logins(users: list[str]) -> tuple[list[str], list[float]]:
    """All of them log in, one after the other; how long Hydrant took to accept each."""
    answers = [login(user) for user in users]
    check(f"{len(users)} logins are accepted", all(status["prehydrate"] == "ACCEPTED" for _, status in answers))
    return [cookie for cookie, _ in answers], [status["ms"] for _, status in answers]


def leave(users: list[str], cookies: list[str]) -> None:
    """All of them log out, once their visit is on record. What they read is remembered, what it held is not."""
    check("their visits are on record", eventually(lambda: all(is_on_record(user) for user in users)))
    done = all(post("login", "/logout", cookie)["invalidate"] == "done" for cookie in cookies)
    check("a logout leaves no value of theirs", done and not any(cached(user) for user in users))


def is_on_record(user: str) -> bool:
    """Hydrant writes down that a visit began when its plan is done."""
    return int(store.hget(history(user), "login") or 0) >= began[user]


def login(user: str) -> tuple[str, dict]:
    began[user] = int(time.time())
    with ask("login", f"/login/{user}") as answer:
        return answer.headers["set-cookie"].partition(";")[0], json.load(answer)


def page(cookie: str, parts: tuple[str, ...] = PAGE) -> dict:
    return post("app", f"/page/{','.join(parts)}", cookie)


def how(page: dict) -> list[str]:
    return [part["how"] for part in page["parts"].values()]


def remember(case: str, pages: list[dict]) -> None:
    row = {part: statistics.median(page["parts"][part]["ms"] for page in pages) for part in PAGE}
    figures["pages"][case] = row | {"page": statistics.median(page["ms"] for page in pages)}


def state(part: str) -> dict:
    return post(part, "/calls")


def calls(part: str) -> int:
    return state(part)["calls"]


def cached(user: str) -> set[str]:
    return {part for part in (*PAGE, *BROKEN) if store.exists(f"user:{part}:{user}")}


def keys_of(user: str) -> list[str]:
    """Every key with this user's id in its name, or its pseudonym: Hydrant's own keys included."""
    return [key for key in store.scan_iter() if key.endswith(f":{user}") or key == history(user)]


def history(user: str) -> str:
    name = hashlib.sha256(f"hydrant:{len(GROUP)}:{GROUP}:0::{user}".encode()).hexdigest()[:32]
    return f"hydrant:{{{GROUP}:{name}}}:history"


def post(service: str, path: str, cookie: str = "") -> dict:
    with ask(service, path, cookie) as answer:
        return json.load(answer)


def ask(service: str, path: str, cookie: str = ""):
    port = os.environ[f"{service.upper()}_PORT"]
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST", headers={"cookie": cookie})
    return urllib.request.urlopen(request, timeout=10)


def eventually(condition: Callable[[], object], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def check(what: str, held: bool, seen: str = "") -> None:
    figures["checks"] += 1
    figures["failed"] += not held
    print(f"  {'ok  ' if held else 'FAIL'}  {what:<58} {seen}", flush=True)


if __name__ == "__main__":
    phase = {phase.__name__: phase for phase in (before, with_hydrant, organisation, hydrant_stopped, report)}[sys.argv[1]]
    print(f"\n{phase.__doc__}")
    phase()
    FIGURES.write_text(json.dumps(figures))
