"""The streams below a portable connection: one knows when its peer stalls, one keeps trio-websocket honest.

trio.SocketStream <- MeteredStream [<- trio.SSLStream] <- GuardedStream <- trio-websocket
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

from gateway.runtime import close_codes
from gateway.transport.portable.heads import FrameHeads
from gateway.transport.unfinished import Unfinished

CLOSE_FRAME = 0x88  # first byte: the only fragment, opcode close
REASON_BYTES_MAX = 123


def _nothing() -> None:
    pass


class MeteredStream(trio.abc.Stream):
    """A socket whose sends are watched: `on_stall` is called when none of it moves for `stall_timeout_s`.

    A stalled send isn't given up; whoever is told decides. `received_at` is when the peer last sent anything
    (Trio's clock); `cut` says that a send ended in the midst, so nothing more can be sent. `unread` came
    already, and is read next.
    """

    def __init__(self, stream: trio.SocketStream, stall_timeout_s: float) -> None:
        self._stream = stream
        self._stall_timeout_s = stall_timeout_s
        self.on_stall: Callable[[], None] = _nothing
        self.received_at = trio.current_time()
        self.cut = False
        self.unread = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            sent = 0
            try:
                while sent < len(view):
                    sent += await self._send_some(view[sent:])
            finally:
                self.cut |= 0 < sent < len(view)

    async def _send_some(self, view: memoryview) -> int:
        try:
            with trio.move_on_after(self._stall_timeout_s):
                return await self._stream.socket.send(view)
            self.on_stall()
            return await self._stream.socket.send(view)
        except OSError as error:
            raise trio.BrokenResourceError("the peer is gone") from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.unread:
            data, self.unread = self.unread, b""
            return data
        received = await self._stream.receive_some(max_bytes)
        self.received_at = trio.current_time()
        return received

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def linger(self) -> None:
        """End our side and wait for the peer's end, so that it gets what was sent and not a reset."""
        try:
            self._stream.socket.shutdown(socket.SHUT_WR)
            while await self._stream.receive_some():
                pass
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return

    @property
    def bare(self) -> trio.socket.SocketType:
        """The socket itself."""
        return self._stream.socket

    def close_now(self) -> None:
        self._stream.socket.close()


class GuardedStream(trio.abc.Stream):
    """What trio-websocket reads and writes; the socket below stays open when it closes this.

    It reads `request`, then nothing until `open`, then `rest`, then what comes: trio-websocket would lose
    what it reads before it has answered the request. A message that is too much, as `heads` find, ends the
    stream, and so do more than `unclaimed_bytes_max` without a `claim`, which the reader makes for each
    message. `fault` is the code and reason to close with then; `close_sent` says that a close frame went out.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        request: bytes,
        rest: bytes,
        heads: FrameHeads,
        unclaimed_bytes_max: int,
        unfinished: Unfinished,
    ) -> None:
        self._stream = stream
        self._request = request
        self._rest = rest
        self._heads = heads
        self._opened = trio.Event()
        self._on_control: Callable[[int], Awaitable[None]] | None = None
        self.unclaimed_bytes_max = unclaimed_bytes_max
        self._unfinished = unfinished
        self._unclaimed_bytes = 0
        self._reading = trio.CancelScope()
        self._closed = False
        self.fault: tuple[int, str] | None = None
        self.close_sent = False

    def open(self, on_control: Callable[[int], Awaitable[None]]) -> None:
        """The request is answered. `on_control` is awaited for each ping and pong, before it is passed on."""
        self._on_control = on_control
        self._opened.set()

    def claim(self) -> None:
        """What was read until now is a message, or lost."""
        self._unclaimed_bytes = 0
        self._unfinished.hold(self, 0)

    def let_go(self) -> None:
        """See `unfinished.Holder`."""
        self._end(close_codes.TOO_MUCH, "too many messages have begun and not ended; send it again later")

    def _end(self, code: int, reason: str) -> None:
        self.fault = code, reason
        self._reading.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        await self._stream.send_all(data)
        if data and data[0] == CLOSE_FRAME:
            self.close_sent = True

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._closed:
            raise trio.ClosedResourceError
        if self._request:
            data, self._request = self._request, b""
            return data
        await self._opened.wait()
        assert self._on_control is not None
        received = b"" if self._heads.excess else await self._received(max_bytes)
        controls, received = self._heads.feed(received)
        for opcode in controls:
            await self._on_control(opcode)
        if not received:
            self.fault = self.fault or self._heads.excess
        return b"" if self.fault is not None else received

    async def _received(self, max_bytes: int | None) -> bytes | bytearray:
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        received: bytes | bytearray = b""
        if self.fault is None:
            with trio.CancelScope() as self._reading:
                received = await self._stream.receive_some(max_bytes)
                self._hold(len(received))
        return received

    def _hold(self, size: int) -> None:
        self._unclaimed_bytes += size
        self._unfinished.hold(self, self._unclaimed_bytes)
        if self._unclaimed_bytes > self.unclaimed_bytes_max:
            self._end(close_codes.VIOLATION, "too much without a whole message")

    async def say_close(self, code: int, reason: str) -> None:
        """Send the close frame that trio-websocket didn't."""
        text = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
        try:
            await self._stream.send_all(bytes((CLOSE_FRAME, 2 + len(text))) + code.to_bytes(2, "big") + text)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()
