"""A WebSocket as a client opens it, by trio-websocket.

That waits on where a server ends the connection before it has answered the handshake, and ends with what its
parser says where the answer is no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio_websocket import HandshakeError, WebSocketConnection, wrap_client_stream

from gateway.errors import first_of

CLOSE_TIMEOUT_S = 1.0


class NoWebSocket(HandshakeError):
    """What is at the other end speaks something else, or doesn't speak."""


class _Reader:
    """Stands for the nursery that the reader of a connection runs in; once it ends, nobody waits for it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.opening = trio.CancelScope()
        self.is_open = False
        self.error: Exception | None = None

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._read, read)

    async def _read(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        except Exception as error:
            if self.is_open:
                raise
            self.error = error
        self.opening.cancel()


async def dialled(host: str, port: int, within_s: float) -> trio.SocketStream:
    """Raises OSError where nobody is there, NoWebSocket where that isn't even said."""
    with trio.move_on_after(within_s):
        return await trio.open_tcp_stream(host, port)
    raise NoWebSocket(f"no connection in {within_s:g} s")


@asynccontextmanager
async def websocket(
    stream: trio.abc.Stream, host: str, target: str, within_s: float, **options: Any
) -> AsyncIterator[WebSocketConnection]:
    """The handshake, then the connection, which is closed; the stream, too. `options`: wrap_client_stream's.

    Raises HandshakeError where the handshake failed, and what is raised within without a group around it.
    """
    try:
        async with trio.open_nursery() as nursery:
            socket = await _opened(nursery, stream, host, target, within_s, options)
            try:
                yield socket
            finally:
                with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                    await socket.aclose()
                # Its reader may still be answering the server's close; it ends by itself.
                nursery.cancel_scope.deadline = trio.current_time() + CLOSE_TIMEOUT_S
    except BaseExceptionGroup as group:
        raise first_of(group, alone=True) from None
    finally:
        await trio.aclose_forcefully(stream)


async def _opened(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    target: str,
    within_s: float,
    options: dict[str, Any],
) -> WebSocketConnection:
    reader = _Reader(nursery)
    with trio.move_on_after(within_s) as time, reader.opening:
        socket = await wrap_client_stream(reader, stream, host, target, **options)  # type: ignore[arg-type]
        reader.is_open = True
        return socket
    if isinstance(reader.error, HandshakeError):
        raise reader.error
    if time.cancelled_caught:
        raise NoWebSocket(f"no answer in {within_s:g} s")
    if reader.error is not None:
        raise NoWebSocket(f"what it answers is no WebSocket: {reader.error}")
    raise NoWebSocket("it ends the connection without an answer to the handshake")
