"""WebSocket on the wire as a client has it: frames (RFC 6455), and what is compressed in them (RFC 7692).

Both sides go without context takeover: each message is compressed by itself, so that connections keep nothing
for it.
"""

from __future__ import annotations

import re
import zlib

CONTROL, COMPRESSED = 8, 0x40  # opcodes from here on are of control frames; RSV1
TAIL = b"\x00\x00\xff\xff"  # of a compressed message, which isn't sent
ACCEPTED = re.compile(rb"\r\nsec-websocket-extensions:[^\r]*permessage-deflate([^\r,]*)", re.IGNORECASE)
BY_ITSELF = b"server_no_context_takeover"  # which a server that accepts must confirm (RFC 7692, 7.1.1.1)


def deflated(payload: bytes) -> bytes:
    """A message compressed by itself (RFC 7692 section 7.2.1), in little time and memory."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -12, 5)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


def inflated(payload: bytes) -> bytes | None:
    """A message that was compressed by itself; None where it wasn't."""
    try:
        return zlib.decompressobj(-15).decompress(payload + TAIL)
    except zlib.error:
        return None


def masked_frame(opcode: int, payload: bytes, mask: bytes, compressed: bool) -> bytes:
    """One whole client frame (RFC 6455 section 5.2)."""
    size, first = len(payload), 0x80 | opcode | COMPRESSED * compressed
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + mask + masked


def frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """(first byte, payload's start, payload's end) of the frame at `at`, or None where it isn't whole."""
    if len(data) - at < 2:
        return None
    size, start = data[at + 1], at + 2
    if size in (126, 127):
        width = 2 if size == 126 else 8
        start += width
        if len(data) < start:
            return None
        size = int.from_bytes(data[start - width : start], "big")
    return (data[at], start, start + size) if len(data) >= start + size else None
