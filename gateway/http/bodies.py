"""The bodies of all requests together are bounded, as the messages of all sockets are."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.problems import Problem

RETRY_AFTER_S = 5


class Bodies:
    """An application whose requests hold at most so many bytes of bodies, from when these come until the
    requests are answered; `bytes_max()` is asked each time."""

    def __init__(self, app: ASGIApp, bytes_max: Callable[[], int]) -> None:
        self._app = app
        self._bytes = 0
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; who reads a body that is too much beside the others meets a Problem."""
        held = 0

        async def received() -> Message:
            nonlocal held
            message = await receive()
            size = len(message.get("body", b""))
            held += size
            self._bytes += size
            if size and self._bytes > self._bytes_max():
                raise _too_many()
            return message

        try:
            await self._app(scope, received, send)
        finally:
            self._bytes -= held


def _too_many() -> Problem:
    text = "Too many requests have begun here and not ended; send it again later."
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return Problem(503, text, headers=headers, code="UNAVAILABLE", outcome="none")
