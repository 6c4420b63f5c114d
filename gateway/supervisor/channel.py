"""Messages between the supervisor and a worker, over a socket that only the two have.

A frame is the lengths of header and body (4 bytes each, big endian), the header (a JSON object), the body.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import orjson
import trio

LENGTHS = struct.Struct(">II")
RECEIVE_BYTES = 1 << 16


class Frame(NamedTuple):
    """A message and what comes with it."""

    header: dict[str, Any]
    body: bytes = b""


class Channel:
    """One end. Several tasks may send; one receives."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._buffered = bytearray()

    async def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one message; raises trio.BrokenResourceError when the other end is gone.

        Cancelled, it may leave half of one: then this end can send nothing any more.
        """
        packed = orjson.dumps(header)
        async with self._sending:
            await self._stream.send_all(LENGTHS.pack(len(packed), len(body)) + packed + body)

    async def receive(self) -> Frame | None:
        """The next message; None when the other end is gone."""
        lengths = await self._take(LENGTHS.size)
        if lengths is None:
            return None
        header_bytes, body_bytes = LENGTHS.unpack(lengths)
        both = await self._take(header_bytes + body_bytes)
        if both is None:
            return None
        return Frame(orjson.loads(both[:header_bytes]), both[header_bytes:])

    async def _take(self, count: int) -> bytes | None:
        while len(self._buffered) < count:
            try:
                received = await self._stream.receive_some(RECEIVE_BYTES)
            except trio.BrokenResourceError:
                return None
            if not received:
                return None
            self._buffered += received
        taken = bytes(self._buffered[:count])
        del self._buffered[:count]
        return taken

    async def aclose(self) -> None:
        """Close this end."""
        await self._stream.aclose()
