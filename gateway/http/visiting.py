"""Whose address a request counts for, and that an address with many bad tokens waits."""

from __future__ import annotations

import math
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.admission.addresses import host_of
from gateway.http.problems import Problem, response
from gateway.sessions.visitors import Visitors

UNAUTHORIZED = 401


class Visited:
    """An application whose requests with bad tokens are counted; `client_of(peer, X-Forwarded-For)`. The
    client of a request with a token is who a proxy says that it is."""

    def __init__(self, app: ASGIApp, visitors: Visitors, client_of: Callable[[str, str | None], str]) -> None:
        self._app = app
        self._visitors = visitors
        self._client_of = client_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if "authorization" not in headers or scope.get("client") is None:
            await self._app(scope, receive, send)
            return
        host, port = scope["client"]
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        forwarded = ",".join(headers.getlist("x-forwarded-for")) or None
        remote = self._client_of(peer, forwarded)
        scope["client"] = (host_of(remote), int(remote.rpartition(":")[2]))
        slowed = self._visitors.slowed(remote)
        if slowed is not None:
            wait = {"Retry-After": str(math.ceil(slowed.wait_s))}
            problem = Problem(429, f"{slowed.text}; wait.", headers=wait, code="RATE_LIMITED")
            await response(problem)(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == UNAUTHORIZED:
                self._visitors.failed(remote)
            await send(message)

        await self._app(scope, receive, counted)
