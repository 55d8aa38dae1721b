"""The application: users and searches, read from Redis with an ordinary client. It does not know of Hydrant.

It also counts hits and misses, and shows them under /metrics: only who reads can know.
"""

import json
import os
from collections import Counter
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse
from redis.asyncio import Redis

USER_TTL = 900  # seconds
SEARCH_TTL = 300

store = Redis(port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"], decode_responses=True)
reads: Counter[str] = Counter(hit=0, miss=0)


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=4) as app.state.database:
        yield
    await store.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/users/{id}")
async def user(id: int) -> dict:
    how, rows = await read(f"user:id:{id}", USER_TTL, "select id, name, email from users where id = $1", id)
    if not rows:
        raise HTTPException(404)
    return {"how": how, "value": rows}


@app.get("/search/{term}")
async def search(term: str) -> dict:
    how, rows = await read(f"search:users:{term}", SEARCH_TTL, "select id, name from search_users($1)", term)
    return {"how": how, "value": rows}


@app.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> str:
    return f"cache_hits_total {reads['hit']}\ncache_misses_total {reads['miss']}\n"


async def read(key: str, ttl: int, sql: str, param: object) -> tuple[str, object]:
    # 1. The cache first, which Hydrant has warmed.
    cached = await store.get(key)
    reads["hit" if cached else "miss"] += 1
    if cached:
        return "hit", json.loads(cached)
    # 2. A miss: the database.
    rows = [dict(row) for row in await app.state.database.fetch(sql, param)]
    value = rows[0] if rows and key.startswith("user:") else rows
    # 3. For the next time.
    if value:
        await store.setex(key, ttl, json.dumps(value))
    return "miss", value
