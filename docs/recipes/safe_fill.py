"""Fill and invalidate keys beside Hydrant, from an application of your own: claim, fetch, commit.

The four steps are those of every fill of Hydrant's, with the functions that it publishes in Redis (7.0 or newer;
`hydrant functions install` puts them there). What makes it safe:

1. the claim is taken before the source is asked;
2. the value is written by a function that refuses where the claim is gone, because somebody invalidated;
3. claim and commit travel over one connection. Where that breaks, or a reply is an error (MOVED, ASK, READONLY,
   CLUSTERDOWN), nothing is written and nothing is repeated: take a new claim, and fetch again.

    python3 -m pip install redis
    python3 docs/recipes/safe_fill.py          # compares guard() with tests/vectors/guards.json
"""

import binascii
import itertools
import json
import os
import string
import sys

CLAIM_LIFE_MS = 10_000  # `fill.claim_life`: the longest life of one attempt
SLOTS = 16_384


def slot(key: bytes) -> int:
    """The slot Redis Cluster gives a key."""
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1) if begin >= 0 else -1
    tag = key[begin + 1 : end] if end > begin + 1 else key
    return binascii.crc_hqx(tag, 0) % SLOTS


def tags() -> list[bytes]:
    """For each slot the first text over 0-9a-z, shortest first and then in order, that lies in it."""
    table: list[bytes | None] = [None] * SLOTS
    missing = SLOTS
    digits = (string.digits + string.ascii_lowercase).encode()
    for length in itertools.count(1):
        for letters in itertools.product(digits, repeat=length):
            text = bytes(letters)
            at = slot(text)
            if table[at] is None:
                table[at], missing = text, missing - 1
        if not missing:
            return table


TAGS: list[bytes] = []


def sibling(key: bytes, letter: bytes) -> bytes:
    """Hydrant's key beside yours, in the same slot: `g` the guard, `x` the index of aliases."""
    if b"{" not in key and b"}" not in key:
        return b"{" + key + b"}:" + letter
    TAGS.extend(tags() if not TAGS else [])
    return b"{" + TAGS[slot(key)] + b"}:" + letter + b":" + key


def guard(key: bytes) -> bytes:
    return sibling(key, b"g")


def invalidate(redis, key: bytes) -> None:
    """What has changed goes, and no fill in flight can bring it back. One command, in one slot."""
    redis.execute_command("DEL", key, guard(key))


def fill(redis, key: bytes, fetch, ttl_ms: int) -> bytes | None:
    """Reads through the cache. `fetch` asks the source; None from it is not cached. In a cluster, `redis` is a client
    of the primary that has the key's slot."""
    held = redis.execute_command("GET", key)
    if held is not None:
        return held
    # One connection for claim and commit; used directly, it neither reconnects nor repeats.
    connection = redis.connection_pool.get_connection()

    def call(*words):
        connection.send_command("FCALL", *words)
        return connection.read_response()

    try:
        claim = b"c" + os.urandom(16) + str(CLAIM_LIFE_MS).encode()
        stood = call("hydrant_v3_claim", 2, guard(key), key, claim, CLAIM_LIFE_MS, 0)
        if isinstance(stood, int):
            # Fresh, known to be absent, or being filled by somebody else: answer with what is fetched, and keep nothing.
            return fetch()
        value = None
        try:
            value = fetch()
        finally:
            if value is None:
                call("hydrant_v3_abort", 1, guard(key), claim)
            else:
                # 1: written; 0: invalidated meanwhile; 2: somebody wrote it meanwhile. What was fetched is good to
                # answer with in every case.
                call("hydrant_v3_commit", 2, guard(key), key, claim, stood, value, ttl_ms)
        return value
    finally:
        redis.connection_pool.release(connection)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "..", "tests", "vectors", "guards.json"), encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors:
        key = vector["key"].encode()
        told = (slot(key), guard(key).decode(), sibling(key, b"x").decode())
        if told != (vector["slot"], vector["guard"], vector["index"]):
            sys.exit(f"{vector['key']}: {told}")
    print(f"{len(vectors)} vectors agree")
