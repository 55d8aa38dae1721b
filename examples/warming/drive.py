"""Uses app and sidecars as people would, and looks into Redis and the logs. `drive.py PHASE`; run.sh has the order."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import asyncpg
import jwt
import redis

LOCK = "cache:warmup:lock"
PODS = ("A", "B")
TOP = [f"user:id:{id}" for id in range(1, 101)]  # who was here last
SEARCHES = [f"search:users:user {n}" for n in range(1, 13)]
WORK = Path(os.environ["WORK"])
TALLY = WORK / "tally.json"

store = redis.Redis(port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"], decode_responses=True)
tally = json.loads(TALLY.read_text()) if TALLY.exists() else {"checks": 0, "failed": 0}


def after_the_start() -> None:
    """Two sidecars have started:"""
    warm = eventually(lambda: ended() != [] and store.exists(*TOP, *SEARCHES) == len(TOP) + len(SEARCHES))
    check("top users and searches are warm, before anybody asked", warm, f"{store.dbsize()} keys")
    first = runs()[0]
    waited = first["at"] - said(first["pod"])[0]["at"]
    check("the first run began half a second after a start", first["trigger"] == "start" and waited >= 0.4, f"{waited:.1f} s")
    keys = [key for key in store.scan_iter("user:id:*")]
    check("the top users and nobody else", sorted(keys) == sorted(TOP))
    kept = json.loads(store.get(TOP[0]))
    check("as the app reads them, without secrets", set(kept) == {"id", "name", "email"}, store.get(TOP[0]))
    for name, keys, base in (("users", TOP, 900), ("searches", SEARCHES, 300)):
        lives = [store.ttl(key) for key in keys]
        seen = f"{min(lives)} to {max(lives)} s"
        check(f"the TTLs of {name} are right", all(base * 0.9 - 20 <= life <= base for life in lives), seen)
        check("  and staggered: they do not end together", max(lives) - min(lives) >= base * 0.02)
    check("the app has only hits", all(get(f"/users/{id}")["how"] == "hit" for id in range(1, 101)))
    check("  a search of 0.3 s included", get("/search/user%201")["how"] == "hit")
    check("  and for whom it is not: a miss, then a hit", [get("/users/900")["how"] for _ in "12"] == ["miss", "hit"])

    after_a_tick()
    scheduled = eventually(lambda: any(run["trigger"] == "schedule" for run in ended()), 10)
    check("then the schedule runs it, every five seconds", scheduled)
    metrics = [sample for pod in PODS for sample in samples(pod)]
    check("cache_warmup_status is 1: it went well", ("cache_warmup_status", 1.0) in metrics)
    warmed = max((value for name, value in metrics if name == "cache_keys_warmed"), default=-1)
    check("cache_keys_warmed counts what the last run wrote", 0 <= warmed <= 114, f"{warmed:.0f}")
    count, total = (sum(value for name, value in metrics if name == f"cache_warmup_duration_seconds_{what}") for what in ("count", "sum"))
    check("cache_warmup_duration_seconds has every run", count >= len(ended()) - 1 and 0 < total < 30, f"{count:.0f} in {total:.1f} s")
    hits, misses = (float(value) for value in re.findall(r"_total (\d+)", ask("/metrics").decode()))
    check("cache_hits_total, cache_misses_total: the app has them", (hits, misses) == (102, 1), f"{hits:.0f}, {misses:.0f}")


def by_hand() -> None:
    """Somebody calls `hydrant warm`:"""
    after_a_tick()
    store.delete(*SEARCHES)
    first = begin("A")
    started = json.loads(first.stdout.readline())
    trace = started.get("trace_id")
    check("it begins", started["event"] == "started" and len(trace) == 32, f"trace {trace}")
    check("the lock holds the trace id", store.get(LOCK) == trace)
    check("  and ends by itself", 0 < store.pttl(LOCK) <= 30_000, f"{store.pttl(LOCK)} ms")
    code, events = finish(begin("B"))
    skipped = events[-1]
    check("the other sidecar does not run it as well", (code, skipped["event"], skipped.get("reason")) == (75, "skipped", "HELD"), str(skipped.get("reason")))
    check("  and says who does", (skipped.get("holder"), skipped.get("holder_trace_id")) == ("A", trace))
    code, events = finish(first)
    check("it ends well", (code, events[-1].get("result")) == (0, "SUCCESS"))
    steps = [event["step"] for event in events if event["event"] == "step_finished"]
    check("step after step", steps == ["pool", "announcements", "top", "searches"], " ".join(steps))
    check("the lock is free again", store.get(LOCK) != trace)
    lines = [line["message"] for line in said("A") if line.get("trace_id") == trace]
    check("the trace id is in the log, from its first line to its last", {"a warm-up begins", "a warm-up ends well"} <= set(lines), f"{len(lines)} lines")
    check("what was missing is there", store.exists(*SEARCHES) == len(SEARCHES))


def a_failing_step() -> None:
    """A table is gone:"""
    after_a_tick()
    execute("alter table announcements rename to elsewhere")
    store.delete("announcement:1", "announcement:2", *TOP, *SEARCHES)
    code, events = finish(begin("B", "--wait", "30"))
    check("the run ends in part", (code, events[-1].get("result")) == (2, "PARTIAL"), str(events[-1].get("message", ""))[:60])
    results = {event["step"]: event["result"] for event in events if event["event"] == "step_finished"}
    wanted = {"pool": "SUCCESS", "announcements": "FAILED", "top": "SUCCESS", "searches": "SUCCESS"}
    check("one step fails, the others do not", results == wanted, " ".join(results.values()))
    check("the rest is warm", store.exists(*TOP, *SEARCHES) == len(TOP) + len(SEARCHES))
    check("cache_warmup_status is 0.5", ("cache_warmup_status", 0.5) in samples("B"))
    execute("alter table elsewhere rename to announcements")
    healed = eventually(lambda: store.exists("announcement:1", "announcement:2") == 2, 20)
    check("it is back: the next tick warms it, and nobody called", healed)


def administrators() -> None:
    """Administrators call from outside the pod:"""
    operator, dashboard = token("operator"), token("dashboard")
    check("without a token: UNAUTHENTICATED", refused(remote("warm")) == (77, "UNAUTHENTICATED"))
    forged = token("operator", secret="a-secret-of-nobody-and-of-32-bytes-or-more")
    check("with one that is forged as well", refused(remote("warm", caller=forged)) == (77, "UNAUTHENTICATED"))
    check("without the right: PERMISSION_DENIED", refused(remote("warm", caller=dashboard)) == (77, "PERMISSION_DENIED"))
    store.delete(*SEARCHES)
    calls = [remote("warm", "--wait", "30", caller=operator) for _ in range(3)]
    check("an operator may warm up twice a minute", [call.returncode for call in calls[:2]] == [0, 0])
    check("  and what was missing is there", store.exists(*SEARCHES) == len(SEARCHES))
    check("the third time: RESOURCE_EXHAUSTED", refused(calls[2]) == (75, "RESOURCE_EXHAUSTED"), calls[2].stderr.strip().splitlines()[-1].strip())
    clears = [remote("invalidate", "--all", "--entity", "announcement", caller=operator) for _ in range(3)]
    allowed = all(call.returncode in (0, 2) for call in clears[:2])
    check("clearing too: twice a minute, not three times", allowed and refused(clears[2]) == (75, "RESOURCE_EXHAUSTED"))
    check("the pod itself is not limited", all(finish(begin("A", "--wait", "30"))[0] == 0 for _ in range(3)))


def one_at_a_time() -> None:
    """All of it, as the logs of both tell it:"""
    eventually(lambda: len(ended()) == len(runs()))
    spans = sorted((run["at"], run["end"], run["fence"], run["trigger"]) for run in ended())
    triggers = " ".join(f"{[span[3] for span in spans].count(name)} {name}" for name in ("start", "schedule", "call"))
    check("both kinds of trigger and the start have run it", len({span[3] for span in spans}) == 3, triggers)
    # Each line is written a moment after what it tells of: the end before the lock is given back.
    check("one runner at a time", all(a[1] <= b[0] for a, b in zip(spans, spans[1:])), f"{len(spans)} runs")
    fences = [span[2] for span in spans]
    check("each run has a higher fence than the one before", fences == sorted(set(fences)), f"{fences[0]} to {fences[-1]}")
    ticks = [span[0] for span in spans if span[3] == "schedule"]
    check("a tick is run once, by whoever has it first", all(b - a > 2 for a, b in zip(ticks, ticks[1:])), f"{len(ticks)} ticks")


def hydrant_stopped() -> None:
    """Both sidecars are stopped:"""
    check("nobody holds the lock", store.get(LOCK) is None)
    check("what is warm is still read", get("/users/7")["how"] == "hit" and get("/search/user%202")["how"] == "hit")
    store.delete("user:id:7", "search:users:user 2")
    answers = [get("/users/7"), get("/search/user%202")]
    check("what is not comes from the database", all(answer["how"] == "miss" and answer["value"] for answer in answers))
    check("  and then from Redis", get("/users/7")["how"] == "hit" and get("/search/user%202")["how"] == "hit")


def report() -> None:
    """All in all:"""
    print(f"\n{tally['checks'] - tally['failed']} passed, {tally['failed']} failed")
    sys.exit(1 if tally["failed"] else 0)


def begin(pod: str, *options: str) -> subprocess.Popen:
    endpoint = f"http://127.0.0.1:{os.environ[f'{pod}_API_PORT']}"
    command = [os.environ["HYDRANT"], "warm", "--json", "--endpoint", endpoint, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(running: subprocess.Popen) -> tuple[int, list[dict]]:
    text = running.stdout.read()
    return running.wait(), [json.loads(line) for line in text.splitlines() if line.startswith("{")] or [{"event": text}]


def remote(*args: str, caller: str = "") -> subprocess.CompletedProcess:
    endpoint = f"https://127.0.0.1:{os.environ['A_REMOTE_PORT']}"
    command = [os.environ["HYDRANT"], *args, "--endpoint", endpoint, "--ca", str(WORK / "ca.pem")]
    if caller:
        file = WORK / "token"
        file.write_text(caller)
        command += ["--token-file", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def refused(call: subprocess.CompletedProcess) -> tuple[int, str]:
    named = re.search(r"\b(UNAUTHENTICATED|PERMISSION_DENIED|RESOURCE_EXHAUSTED)\b", call.stderr)
    return call.returncode, named[0] if named else call.stderr


def token(subject: str, secret: str = os.environ["ADMIN_SECRET"]) -> str:
    claims = {"sub": subject, "aud": "hydrant", "exp": int(time.time()) + 300}
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "2026-11"})


def execute(sql: str) -> None:
    async def run() -> None:
        database = await asyncpg.connect(os.environ["DATABASE_URL"])
        await database.execute(sql)
        await database.close()

    asyncio.run(run())


def after_a_tick() -> None:
    """Until a run of the schedule has just ended: so there is quiet for some seconds."""
    seen = len(ended("schedule"))
    eventually(lambda: len(ended("schedule")) > seen, 15)


def runs(trigger: str = "") -> list[dict]:
    """Every run that any sidecar began, in order, with its end where it has one."""
    found: dict[str, dict] = {}
    for pod in PODS:
        for line in said(pod):
            if line["message"] == "a warm-up begins":
                found[line["trace_id"]] = {"pod": pod, "at": line["at"], "fence": line["fence"], "trigger": line["trigger"]}
            elif line["message"].startswith("a warm-up ends"):
                found[line["trace_id"]]["end"] = line["at"]
    return sorted((run for run in found.values() if trigger in ("", run["trigger"])), key=lambda run: run["at"])


def ended(trigger: str = "") -> list[dict]:
    return [run for run in runs(trigger) if "end" in run]


def said(pod: str) -> list[dict]:
    """What a sidecar has logged; the last line may be half there."""
    whole = (WORK / f"{pod}.log").read_text().rpartition("\n")[0].splitlines()
    lines = [json.loads(line) for line in whole if line.startswith("{")]
    return [line | {"at": datetime.fromisoformat(line["ts"]).timestamp()} for line in lines]


def samples(pod: str) -> list[tuple[str, float]]:
    """Of the plan, without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ[f'{pod}_PROBES_PORT']}/metrics", timeout=10) as answer:
        found = re.findall(r'^(\w+)\{plan="default"\} (\S+)', answer.read().decode(), re.MULTILINE)
    return [(name, float(value)) for name, value in found]


def get(path: str) -> dict:
    return json.loads(ask(path))


def ask(path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['APP_PORT']}{path}", timeout=10) as answer:
        return answer.read()


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def check(what: str, held: bool, seen: str = "") -> None:
    tally["checks"] += 1
    tally["failed"] += not held
    print(f"  {'ok  ' if held else 'FAIL'}  {what:<62} {seen}", flush=True)


PHASES = (after_the_start, by_hand, a_failing_step, administrators, one_at_a_time, hydrant_stopped, report)

if __name__ == "__main__":
    phase = {phase.__name__: phase for phase in PHASES}[sys.argv[1]]
    print(f"\n{phase.__doc__}")
    phase()
    TALLY.write_text(json.dumps(tally))
