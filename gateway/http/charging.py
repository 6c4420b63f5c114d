"""CPU of requests, on the account of who asks: the same as for messages of a socket."""

from __future__ import annotations

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.port import Resources
from gateway.sessions.account import BYTE_S
from gateway.sessions.metered import Metered

# What a request takes before and after its application: it is read, and its answer written.
REQUEST_S = 0.0005

# Where `requests.identity_of` says who asks.
USER = "gateway.user_id"


class Charged:
    """An application whose requests are paid for when they end, by whom they turned out to be."""

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        self._app = app
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and charge for each of its steps."""
        busy_s = REQUEST_S

        def held(seconds: float) -> None:
            nonlocal busy_s
            busy_s += seconds

        async def received() -> Message:
            nonlocal busy_s
            message = await receive()
            busy_s += BYTE_S * len(message.get("body", b""))
            return message

        async def answer() -> None:
            await self._app(scope, received, send)

        try:
            await Metered(answer(), trio.current_time, held)
        finally:
            user_id = scope.get(USER)
            if user_id is not None:
                self._resources.spend_cpu(user_id, busy_s)
