"""A socket whose first request was read before it was known to be HTTP: what a server reads and writes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import trio

# A piece of what is sent: who reads that much in time gets the whole of a large answer.
PIECE_BYTES = 64 * 1024


class Pending:
    """The bytes of all answers of a server that wait to be read."""

    def __init__(self, bytes_max: float) -> None:
        self.bytes = 0
        self._bytes_max = bytes_max

    @contextmanager
    def of(self, count: int) -> Iterator[bool]:
        """Meanwhile so many more wait; False: that is too many beside the others. All of an answer does until
        its last piece went: its bytes are one object, which is held for so long."""
        fits = not self.bytes or self.bytes + count <= self._bytes_max
        self.bytes += count
        try:
            yield fits
        finally:
            self.bytes -= count


class RequestStream(trio.abc.Stream):
    """Reads `received` first, then the stream. `bare` is the socket below it.

    A piece of a send that doesn't go in `stall_timeout_s` breaks it. Closing sends our FIN; what still comes
    is thrown away for `close_timeout_s`, so that unread input doesn't reset what was written. `close_now`
    ends it. A handshake that came after the requests is kept in `handshake`, with what was read after it: the
    socket is for who serves WebSockets then.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        bare: trio.socket.SocketType,
        received: bytes,
        stall_timeout_s: float,
        close_timeout_s: float,
    ) -> None:
        self.socket = bare
        self._stream = stream
        self._received = received
        self._stall_timeout_s = stall_timeout_s
        self._close_timeout_s = close_timeout_s
        self._reading: trio.CancelScope | None = None
        self._discarding_until_s = inf
        self._ending = False
        self.pending = Pending(inf)
        self.handshake = b""
        self.remote = ""  # the peer's address, where it isn't the socket's

    @property
    def encrypted(self) -> bool:
        """Whether TLS lies between."""
        return isinstance(self._stream, trio.SSLStream)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self.pending.of(len(data)) as fits:
            if not fits:
                self.close_now()
                raise trio.BrokenResourceError("too many answers wait to be read")
            with memoryview(data) as view:
                for begin in range(0, len(view), PIECE_BYTES):
                    await self._send(view[begin : begin + PIECE_BYTES])

    async def _send(self, piece: memoryview) -> None:
        with trio.move_on_after(self._stall_timeout_s) as sending:
            await self._stream.send_all(piece)
        if sending.cancelled_caught:
            self.close_now()
            raise trio.BrokenResourceError(f"the peer read next to nothing for {self._stall_timeout_s:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._received:
            received, self._received = self._received, b""
            return received
        data: bytes | bytearray = b""
        with trio.CancelScope(deadline=self._discarding_until_s) as self._reading:
            data = await self._stream.receive_some(max_bytes)
            while data and self._ending:
                data = await self._stream.receive_some(max_bytes)
        return b"" if self._ending else data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._ending:
            self._ending = True
            self._discarding_until_s = trio.current_time() + self._close_timeout_s
            if self._reading is not None:
                self._reading.deadline = self._discarding_until_s
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close_now()

    def close_now(self) -> None:
        """Close the socket; whoever waits for it is told, and there is no handshake to go on with."""
        self.handshake = b""
        self.socket.close()
