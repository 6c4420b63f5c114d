"""The heads of a client's frames, read before trio-websocket does: it tells of no ping, and late of sizes."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.runtime import close_codes

CLOSE, PING, PONG = 8, 9, 10
FIN, OPCODE = 0x80, 0x0F  # of a head's first byte

# A message may come in many fragments, but not in as many as it has bytes.
FRAGMENTS_MIN = 64
FRAGMENT_BYTES_MEAN = 16


class FrameHeads:
    """Follows one connection. A head that is malformed is left to trio-websocket, which ends with it.

    `excess`: the code and reason to close with, once a message is announced to be more than is taken.
    """

    def __init__(self, message_bytes_max: int) -> None:
        self._bytes_max = message_bytes_max
        self._fragments_max = FRAGMENTS_MIN + message_bytes_max // FRAGMENT_BYTES_MEAN
        self._head = b""  # as much of one as has come
        self._left = 0  # to come of a frame's payload
        self._bytes = 0  # of the message whose frames come
        self._fragments = 0
        self.excess: tuple[int, str] | None = None

    def feed(self, data: bytes | bytearray) -> tuple[list[int], bytes | bytearray]:
        """The opcodes of the pings and pongs that begin in what came, and that up to an excess."""
        controls = []
        for first, size, at in self._frames(data):
            opcode = first & OPCODE
            if opcode in (PING, PONG):
                controls.append(opcode)
            elif opcode < CLOSE and not self._admits(size, bool(first & FIN)):
                return controls, data[: max(0, at)]
        return controls, data

    def _frames(self, data: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
        """(first byte, bytes of the payload, place in what came) of each frame whose head is whole now."""
        before = len(self._head) - self._left
        held = self._head + data[self._left :]
        self._left = max(0, self._left - len(data))
        at = 0
        while (head := _head_size(held, at)) <= len(held) - at:
            size = _payload_size(held, at)
            yield held[at], size, at - before
            at += head + size
        self._head = held[at:]
        self._left += max(0, at - len(held))

    def _admits(self, size: int, is_last: bool) -> bool:
        """Whether this much more of a message is taken; `is_last`: it ends with that."""
        self._bytes += size
        self._fragments += 1
        if self._fragments > self._fragments_max:
            self.excess = close_codes.VIOLATION, "too many fragments"
        elif self._bytes > self._bytes_max:
            self.excess = close_codes.TOO_LARGE, f"message over {self._bytes_max} bytes"
        if is_last:
            self._bytes = self._fragments = 0
        return self.excess is None


def _head_size(data: bytes, at: int) -> int:
    """Of the frame that begins there; 2 where less has come."""
    if len(data) - at < 2:
        return 2
    extended = {126: 2, 127: 8}.get(data[at + 1] & 0x7F, 0)
    return 2 + extended + (4 if data[at + 1] & 0x80 else 0)


def _payload_size(data: bytes, at: int) -> int:
    short = data[at + 1] & 0x7F
    return short if short < 126 else int.from_bytes(data[at + 2 : at + (4 if short == 126 else 10)], "big")
