"""Whose address a request counts for, and that an address waits from which too many came with bad tokens, or
without anybody who signed in."""

from __future__ import annotations

import math
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.admission.addresses import host_of
from gateway.errors import Refusal
from gateway.http.early import Early
from gateway.http.http1 import Client
from gateway.http.problems import Problem
from gateway.http.requests import REFUSED, USER, HttpContext, token_of, verified
from gateway.sessions.visitors import TooMany, Visitors

UNAUTHORIZED = 401


class Entrance:
    """A gate by address. Requests without an Authorization header are counted. The client is who a proxy says
    that it is: `client_of(peer, X-Forwarded-For)`."""

    def __init__(
        self,
        visitors: Visitors,
        client_of: Callable[[str, str | None], str],
        context: HttpContext,
        early: Early,
    ) -> None:
        self._visitors = visitors
        self._client_of = client_of
        self._context = context
        self._early = early

    def client_of(self, peer: Client, headers: Headers) -> Client:
        """See the protocol."""
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        if not forwarded:
            return peer
        remote = self._client_of(_remote_of(peer), forwarded)
        return host_of(remote), int(remote.rpartition(":")[2])

    def refused(self, client: Client, method: str, headers: Headers) -> Response | None:
        """See the protocol."""
        too_many = self._too_many(client, method, headers.get("authorization"))
        if too_many is None:
            return None
        wait = {"Retry-After": str(math.ceil(too_many.wait_s))}
        problem = Problem(429, f"{too_many.text}; wait.", headers=wait, code="RATE_LIMITED")
        return self._early.answer(method, headers, problem)

    def _too_many(self, client: Client, method: str, authorization: str | None) -> TooMany | None:
        remote, strangers = _remote_of(client), self._visitors.strangers
        too_many = strangers.too_many(remote)
        if authorization is None:
            if too_many is None:
                strangers.count(remote)
            return too_many
        slowed = self._visitors.bad_tokens.too_many(remote)
        if slowed is None and too_many is not None and self._is_users(client, method, authorization):
            return None
        return slowed or too_many

    def _is_users(self, client: Client, method: str, authorization: str) -> bool:
        """Whether somebody signed in for this request; a bad token counts as one."""
        token = token_of(authorization)
        if not token:
            return False
        try:
            verified(self._context, token, method, client[0])
        except Refusal:
            self._visitors.bad_tokens.count(_remote_of(client))
            return False
        return True


class Visited:
    """An application whose requests with bad tokens are counted, and those with an Authorization header for
    which nobody signed in."""

    def __init__(self, app: ASGIApp, visitors: Visitors) -> None:
        self._app = app
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is None or "authorization" not in Headers(scope=scope):
            await self._app(scope, receive, send)
            return
        remote = _remote_of(client)

        async def counted(message: Message) -> None:
            is_bad = REFUSED in scope or message.get("status") == UNAUTHORIZED
            if is_bad and message["type"] == "http.response.start":
                self._visitors.bad_tokens.count(remote)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            strangers = self._visitors.strangers
            if USER not in scope and strangers.too_many(remote) is None:
                strangers.count(remote)


def _remote_of(client: Client) -> str:
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
