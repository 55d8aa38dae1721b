"""A user service: FastAPI, Postgres, Redis read directly, and Hydrant told of logins and changes."""

import asyncio
import hmac
import os
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .database import Database
from .hydrant import Hydrant
from .security import hash_password, make_token, read_token, verify_password
from .user_cache import ALIASES, CACHED, User, UserCache

SECRET = os.environ["JWT_SECRET"]
INTERNAL_TOKEN = os.environ["INTERNAL_TOKEN"]

database = Database(os.environ["DATABASE_URL"])
hydrant = Hydrant(f"127.0.0.1:{os.environ['HYDRANT_PORT']}")
redis = Redis(
    port=int(os.environ["REDIS_PORT"]),
    password=os.environ["REDIS_PASSWORD"],
    client_name="user-cache-app",
    decode_responses=True,
    socket_timeout=0.25,
    socket_connect_timeout=0.25,
    retry=Retry(NoBackoff(), 0),  # the breaker decides when to try again
)
users = UserCache(redis, database, hydrant)


@asynccontextmanager
async def lifespan(_: FastAPI):
    await database.open()
    await hydrant.open()
    yield
    await hydrant.close()
    await redis.aclose()
    await database.close()


app = FastAPI(lifespan=lifespan)


class Registration(BaseModel):
    email: str
    username: str
    password: str
    phone: str | None = None
    first_name: str
    last_name: str


class Login(BaseModel):
    email: str
    password: str


class Profile(BaseModel):
    email: str | None = None
    username: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    bio: str | None = None
    occupation: str | None = None
    location: str | None = None


class Avatar(BaseModel):
    avatar_url: str


class Passwords(BaseModel):
    old: str
    new: str


async def get_current_user(authorization: Annotated[str, Header()]) -> User:
    """The hot path: every request with a token comes through here."""
    user_id = read_token(authorization.removeprefix("Bearer "), SECRET)
    user = user_id and await users.get_user_by_id(user_id)
    if not user or not user["is_active"]:
        raise HTTPException(401, "not logged in")
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


@app.post("/auth/register", status_code=201)
async def register(new: Registration) -> User:
    row = new.model_dump(exclude={"password"})
    row["hashed_password"] = await asyncio.to_thread(hash_password, new.password)
    # Real ones come from an authenticator, a key page and a provider; all that matters here is that they leak nowhere.
    row |= {name: os.urandom(16).hex() for name in ("two_factor_secret", "api_key", "oauth_token")}
    return public(await database.insert(row))


@app.post("/auth/login")
async def login(given: Login, after: BackgroundTasks) -> dict:
    """Always from the database: the cache has no password hash, and must never decide who somebody is."""
    row = await database.user_by("email", given.email)
    known = (
        row and row["is_active"] and await asyncio.to_thread(verify_password, given.password, row["hashed_password"])
    )
    if not known:
        raise HTTPException(401, "wrong e-mail or password")
    after.add_task(hydrant.prehydrate, row["id"])
    return {"access_token": make_token(row["id"], SECRET), "token_type": "bearer"}


@app.get("/auth/me")
async def me(user: CurrentUser) -> User:
    return user


@app.put("/auth/profile")
async def update_profile(user: CurrentUser, profile: Profile) -> User:
    return await change(user, profile.model_dump(exclude_unset=True), "profile updated")


@app.post("/auth/upload-avatar")
async def upload_avatar(user: CurrentUser, avatar: Avatar) -> User:
    return await change(user, avatar.model_dump(), "avatar uploaded")


@app.post("/auth/change-password")
async def change_password(user: CurrentUser, passwords: Passwords) -> User:
    row = await database.user_by("id", user["id"])
    if not await asyncio.to_thread(verify_password, passwords.old, row["hashed_password"]):
        raise HTTPException(401, "wrong password")
    hashed = await asyncio.to_thread(hash_password, passwords.new)
    return await change(user, {"hashed_password": hashed}, "password changed")


@app.delete("/auth/account")
async def delete_account(user: CurrentUser) -> User:
    return await change(user, {"is_active": False}, "account closed")


@app.get("/users/by-{alias}/{value}")
async def find_user(alias: str, value: str) -> User:
    user = alias in ALIASES and await users.get_user_by(alias, value)
    if not user:
        raise HTTPException(404, "no such user")
    return user


@app.get("/internal/users/{user_id}")
async def load_user(user_id: int, authorization: Annotated[str, Header()]) -> dict:
    """For Hydrant. It answers with the whole row on purpose: what may be cached is decided in hydrant.yaml."""
    if not hmac.compare_digest(authorization, f"Bearer {INTERNAL_TOKEN}"):
        raise HTTPException(401)
    row = await database.user_by("id", user_id)
    if row is None:
        raise HTTPException(404)
    return {"data": row}


@app.get("/stats")
async def stats() -> dict:
    of_database = {"queries": database.queries, "users": database.users}
    breaker = "open" if users.breaker.is_open else "closed"
    return users.counts | of_database | {"breaker": breaker, "hydrant": hydrant.is_connected()}


async def change(user: User, changes: dict, reason: str) -> User:
    """Commit first, invalidate second; the answer goes out when no cache can contradict it any more."""
    before, after = await database.update(user["id"], changes)
    await users.invalidate_user(before, after, reason)
    return public(after)


def public(row: User) -> User:
    return {name: row[name] for name in CACHED}
