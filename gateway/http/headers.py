"""Headers that every answer carries: what a browser must not do with it, and the request's id."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.runtime import logs

NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
"""The policy of what isn't a page."""
OTHERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}

REQUEST_ID = "x-request-id"
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def secure(headers: MutableHeaders, policy: str = NOTHING) -> None:
    """Say what a browser must not do with an answer, as far as its headers don't say it themselves."""
    for name, value in {"Content-Security-Policy": policy, **OTHERS}.items():
        headers.setdefault(name, value)


class SecurityHeaders:
    """Adds them to every answer of an ASGI application; `policy` is the Content-Security-Policy where the
    answer has none of its own."""

    def __init__(self, app: ASGIApp, policy: str = NOTHING) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                secure(MutableHeaders(scope=message), self._policy)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def request_id(asked: Headers) -> str:
    """A request's name: a proxy's X-Request-ID where it is short and plain, or a new one."""
    given = asked.get(REQUEST_ID, "")
    return given if PLAIN.fullmatch(given) else secrets.token_hex(8)


class RequestId:
    """Names each request of an ASGI application: in its answer, and in whatever is logged on its behalf."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        request = request_id(asked)
        if request != asked.get(REQUEST_ID):  # for a worker that the request is passed on to
            scope["headers"] = [*scope["headers"], (REQUEST_ID.encode(), request.encode())]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request
            await send(message)

        logs.bind(request=request)  # the task is this request's alone
        await self._app(scope, receive, send_with_id)
