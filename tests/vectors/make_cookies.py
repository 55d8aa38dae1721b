#!/usr/bin/env python3
"""Makes cookies.json and subject-hash.json: what other languages must produce, and read, to agree with Hydrant.

The formats are written here with nothing but the standard library; `cryptography` lends the algorithms Python lacks
(RSA, ECDSA, Ed25519, AES-GCM). Keys are drawn anew at every run, so the private ones are nowhere kept: run it only to
change the vectors, and commit both files together.

    python3 tests/vectors/make_cookies.py
"""
import base64
import hashlib
import hmac
import json
import os
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NOW = 1_800_000_000
HERE = pathlib.Path(__file__).parent


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def text(value) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def claims(user, tenant="acme", **more):
    return {"sub": user, "sid": f"session-of-{user}", "org": {"id": tenant} if tenant else None,
            "iss": "https://login.example", "aud": ["shop", "other"], "iat": NOW - 60, "exp": NOW + 600} | more


# The formats.

def jwt(algorithm, key_id, body, sign):
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    signed = b64(text(header)) + "." + b64(text(body))
    return signed + "." + b64(sign(signed.encode()))


def signed(key_id, secret, body):
    left = b64(text(body)) + "." + key_id
    return left + "." + b64(hmac.new(secret, left.encode(), "sha256").digest())


def encrypted(key_id, secret, body):
    left, nonce = "h1." + key_id, os.urandom(12)
    return left + "." + b64(nonce + AESGCM(secret).encrypt(nonce, text(body), left.encode()))


def subject_hash(group, tenant, user):
    tenant = tenant or ""
    joined = f"hydrant:{len(group.encode())}:{group}:{len(tenant.encode())}:{tenant}:{user}"
    return hashlib.sha256(joined.encode()).hexdigest()[:32]


# The vectors.

def pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def es256(key, message):
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def jwk_of_rsa(key):
    numbers = key.public_key().public_numbers()
    return json.dumps({"kty": "RSA", "use": "sig", "n": number(numbers.n), "e": number(numbers.e)})


def jwk_of_ec(key):
    numbers = key.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    return json.dumps({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": b64(x), "y": b64(y)})


def jwk_of_ed(key):
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return json.dumps({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)})


def makers():
    """Per algorithm: its format, key texts with their notation, and what makes a cookie from key id and claims."""
    for bits in (256, 384, 512):
        secret = os.urandom(bits // 8)
        sign = lambda message, secret=secret, bits=bits: hmac.new(secret, message, f"sha{bits}").digest()
        yield ("jwt", f"HS{bits}", {"base64": base64.b64encode(secret).decode()},
               lambda key_id, body, sign=sign, bits=bits: jwt(f"HS{bits}", key_id, body, sign))
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    yield ("jwt", "RS256", {"pem": pem(rsa_key), "jwk": jwk_of_rsa(rsa_key)},
           lambda key_id, body: jwt("RS256", key_id, body, lambda m: rsa_key.sign(m, padding.PKCS1v15(), hashes.SHA256())))
    ec_key = ec.generate_private_key(ec.SECP256R1())
    yield ("jwt", "ES256", {"pem": pem(ec_key), "jwk": jwk_of_ec(ec_key)},
           lambda key_id, body: jwt("ES256", key_id, body, lambda m: es256(ec_key, m)))
    ed_key = ed25519.Ed25519PrivateKey.generate()
    yield ("jwt", "EdDSA", {"pem": pem(ed_key), "jwk": jwk_of_ed(ed_key)},
           lambda key_id, body: jwt("EdDSA", key_id, body, ed_key.sign))
    secret = os.urandom(32)
    yield ("signed", "HMAC-SHA256", {"base64": base64.b64encode(secret).decode()},
           lambda key_id, body, secret=secret: signed(key_id, secret, body))
    secret = os.urandom(32)
    yield ("encrypted", "AES-256-GCM", {"base64": base64.b64encode(secret).decode()},
           lambda key_id, body, secret=secret: encrypted(key_id, secret, body))


def cookies():
    for kind, algorithm, keys, make in makers():
        for notation, key in keys.items():
            base = {"format": kind, "algorithm": algorithm, "key_id": "2026-11", "key": key}

            def vector(name, user, tenant, accepted, cookie, **more):
                return {"name": f"{algorithm} ({notation}): {name}", **base, "cookie": cookie, "accepted": accepted,
                        "user": str(user), "session": f"session-of-{user}", "tenant": tenant, **more}

            good = make("2026-11", claims("alice"))
            yield vector("a user and a tenant", "alice", "acme", True, good)
            yield vector("a number and no tenant", 12345678901234567, None, True,
                         make("2026-11", claims(12345678901234567, None)))
            yield vector("letters beyond ASCII", "zoe-1", "Österreich", True,
                         make("2026-11", claims("zoe-1", "Österreich")))
            if kind == "jwt":
                yield vector("no key id", "alice", "acme", True, make(None, claims("alice")), key_id=None)
            yield vector("expired", "alice", "acme", False, make("2026-11", claims("alice", exp=NOW - 600)))
            yield vector("no expiry", "alice", "acme", False,
                         make("2026-11", {k: v for k, v in claims("alice").items() if k != "exp"}))
            last = "A" if good[-5] != "A" else "B"
            yield vector("one letter changed", "alice", "acme", False, good[:-5] + last + good[-4:])


def subjects():
    for group, tenant, user in [
        ("shop", None, "alice"), ("shop", "acme", "alice"), ("desk", None, "alice"), ("shop", None, "12345678901234567"),
        ("shop", "Österreich", "zoë"), ("a:b", None, "c"), ("a", None, "b:c"), ("shop", "a:1", "b:2:c"),
        ("shop", None, "auth0|5f7c8ec7c33c6c004bbafe82"), ("shop", None, "x" * 256),
    ]:
        yield {"group": group, "tenant": tenant, "user": user, "name": subject_hash(group, tenant, user)}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write("cookies.json", {"now": NOW, "cookies": list(cookies())})
    write("subject-hash.json", list(subjects()))
