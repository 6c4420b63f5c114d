"""Just enough of lib0's encoding, and of the Yjs update format (version 1), to read whose edits a message
has.

Written from Yjs' notes on its internals and its documented update format.
"""

from __future__ import annotations

from collections.abc import Iterator

BIT_ORIGIN_LEFT, BIT_ORIGIN_RIGHT, BIT_PARENT_SUB = 0x80, 0x40, 0x20
GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = range(11)
NAMED_TYPES = (3, 5)  # XML elements and hooks have a name behind their kind


def var_uint(value: int) -> bytes:
    """A number, seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 0x7F:
        made.append(0x80 | (value & 0x7F))
        value >>= 7
    made.append(value)
    return bytes(made)


def var_bytes(data: bytes) -> bytes:
    """Bytes behind their length; also a string's UTF-8."""
    return var_uint(len(data)) + data


class Decoder:
    """Reads from the front; raises IndexError at the end, ValueError at what it can't know."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def uint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def bytes(self) -> bytes:
        size = self.uint()
        self.at += size
        if self.at > len(self.data):
            raise IndexError(self.at)
        return self.data[self.at - size : self.at]

    def skip_any(self) -> None:
        """A JSON value in lib0's own form."""
        kind = self.byte()
        if kind == 125:
            while self.byte() & 0x80:
                pass
        elif kind in (124, 123, 122):
            self.at += 4 if kind == 124 else 8
        elif kind in (119, 116):
            self.bytes()
        elif kind == 118:
            for _ in range(self.uint()):
                self.bytes()
                self.skip_any()
        elif kind == 117:
            for _ in range(self.uint()):
                self.skip_any()
        elif kind not in (127, 126, 121, 120):
            raise ValueError(f"no value of kind {kind}")


def ranges(update: bytes) -> Iterator[tuple[int, int, int]]:
    """(client, clock, length) of each stretch that an update adds, gaps left out."""
    decoder = Decoder(update)
    for _ in range(decoder.uint()):
        structs, client, clock = decoder.uint(), decoder.uint(), decoder.uint()
        for _ in range(structs):
            info = decoder.byte()
            kind = info & 31
            length = decoder.uint() if kind in (GC, SKIP) else _item(decoder, info)
            if kind != SKIP:
                yield client, clock, length
            clock += length


def _item(decoder: Decoder, info: int) -> int:
    """Read an item; returns how many clocks it takes."""
    for bit in (BIT_ORIGIN_LEFT, BIT_ORIGIN_RIGHT):
        if info & bit:
            decoder.uint()
            decoder.uint()
    if not info & (BIT_ORIGIN_LEFT | BIT_ORIGIN_RIGHT):
        if decoder.uint() == 1:
            decoder.bytes()  # a top-level type, by name
        else:
            decoder.uint()
            decoder.uint()
        if info & BIT_PARENT_SUB:
            decoder.bytes()
    return _content(decoder, info & 31)


def _content(decoder: Decoder, kind: int) -> int:
    if kind == DELETED:
        return decoder.uint()
    if kind in (ANY, JSON):
        count = decoder.uint()
        for _ in range(count):
            if kind == ANY:
                decoder.skip_any()
            else:
                decoder.bytes()
        return count
    if kind == STRING:
        return len(decoder.bytes().decode().encode("utf-16-le")) // 2
    if kind in (BINARY, EMBED):
        decoder.bytes()
    elif kind == FORMAT:
        decoder.bytes()
        decoder.bytes()
    elif kind == TYPE:
        if decoder.uint() in NAMED_TYPES:
            decoder.bytes()
    else:
        raise ValueError(f"no content of kind {kind}")
    return 1


def state_vector(clocks: dict[int, int]) -> bytes:
    """How far a reader is, for each client."""
    return var_uint(len(clocks)) + b"".join(var_uint(key) + var_uint(value) for key, value in clocks.items())
