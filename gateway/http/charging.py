"""CPU of requests, on the account of who asks: the same as for messages of a socket."""

from __future__ import annotations

import trio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Refusal
from gateway.http.early import Early
from gateway.http.problems import of_refusal, told_late
from gateway.http.requests import USER, HttpContext, review, sign_in
from gateway.sessions.account import BYTE_S
from gateway.sessions.metered import Metered

# What a request takes before and after its application: it is read, and its answer written.
REQUEST_S = 0.0005


class Charged:
    """An application whose requests with a valid token are answered when it is their user's turn, who pays
    for them when they end: whatever they ask for, be it there or not."""

    def __init__(self, app: ASGIApp, context: HttpContext, early: Early) -> None:
        self._app = app
        self._context = context
        self._early = early

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and charge for each of its steps."""
        sign_in(self._context, scope)
        if USER not in scope:
            await self._app(scope, receive, send)
            return
        user_id, busy_s = scope[USER].user_id, REQUEST_S

        def held(seconds: float) -> None:
            nonlocal busy_s
            busy_s += seconds

        async def received() -> Message:
            nonlocal busy_s
            message = await receive()
            busy_s += BYTE_S * len(message.get("body", b""))
            return message

        try:
            await Metered(self._answer(scope, received, send), trio.current_time, held)
        finally:
            self._context.resources.spend_cpu(user_id, busy_s)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._context.resources.admit(scope[USER].user_id)
        except Refusal as refusal:
            await told_late(refusal)
            refused = self._early.answer(scope["method"], Headers(scope=scope), of_refusal(refusal))
            await refused(scope, receive, send)
        else:
            review(self._context, scope)
            await self._app(scope, receive, send)
