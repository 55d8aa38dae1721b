"""As much of a web framework as three small services need: routes to functions, JSON, and the session cookie."""

import json
import os
from collections.abc import Callable
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import jwt

SECRET = os.environ["SESSION_SECRET"]


class Refused(Exception):
    """Ends a request with this status."""

    def __init__(self, status: int):
        self.status = status


class Call:
    """A request, as far as the services look at it."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        self.path = urlsplit(handler.path).path
        self.query = urlsplit(handler.path).query
        self.cookie_header = handler.headers.get("cookie", "")
        self.authorization = handler.headers.get("authorization", "")
        self.set_cookie: str | None = None

    def token(self) -> str:
        """The session, by the cookie of a browser or the header of another service."""
        cookie = SimpleCookie(self.cookie_header).get("session")
        return cookie.value if cookie else self.authorization.removeprefix("Bearer ")

    def user(self) -> str:
        try:
            return jwt.decode(self.token(), SECRET, algorithms=["HS256"])["sub"]
        except jwt.InvalidTokenError as error:
            raise Refused(401) from error


def serve(port: int, answer: Callable[[Call], object]) -> ThreadingHTTPServer:
    """Answers every request with what the function returns, as JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            call = Call(self)
            try:
                status, body = 200, answer(call)
            except Refused as refused:
                status, body = refused.status, {"error": refused.status}
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(payload)))
            if call.set_cookie is not None:
                self.send_header("set-cookie", call.set_cookie)
            self.end_headers()
            self.wfile.write(payload)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer.daemon_threads = True
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
