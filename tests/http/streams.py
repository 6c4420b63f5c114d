"""A stream and its peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from gateway.http.stream import RequestStream


@contextmanager
def connected(
    received: bytes = b"", stall_s: float = 5.0
) -> Iterator[tuple[RequestStream, trio.SocketStream]]:
    """A stream, and its peer."""
    ours, theirs = trio.socket.socketpair()
    ours.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
    try:
        yield RequestStream(trio.SocketStream(ours), ours, received, stall_s, 0.2), trio.SocketStream(theirs)
    finally:
        ours.close()
        theirs.close()
