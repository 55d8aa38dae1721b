"""Password hashes and access tokens, by the book and no more."""

import hashlib
import hmac
import os
import time

import jwt

LIFE = 3600  # seconds


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    return f"{salt.hex()}${derive(password, salt).hex()}"


def verify_password(password: str, hashed: str) -> bool:
    salt, digest = (bytes.fromhex(part) for part in hashed.split("$"))
    return hmac.compare_digest(derive(password, salt), digest)


def derive(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def make_token(user_id: int, secret: str) -> str:
    return jwt.encode({"sub": str(user_id), "exp": int(time.time()) + LIFE}, secret, algorithm="HS256")


def read_token(token: str, secret: str) -> int | None:
    try:
        return int(jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "sub"]})["sub"])
    except (jwt.InvalidTokenError, ValueError):
        return None
