"""The frame decoder again, written as plainly as the RFC reads: what the kernel is compared with."""

from __future__ import annotations

import codecs
import zlib
from typing import Any

Event = tuple[int, Any]

CLOSE, FAIL = 8, 17


class Broken(Exception):
    """The peer broke the protocol: close with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Truncated(Exception):
    """The bytes end inside a frame."""


class Reference:
    """Decodes one whole byte string; `events` has the reason of a FAIL left out."""

    def __init__(self, data: bytes, bytes_max: int, client: bool, deflate: bool) -> None:
        self.data, self.at = data, 0
        self.bytes_max, self.client, self.deflate = bytes_max, client, deflate
        self.opcode = 0
        self.compressed = False
        self.fragments = 0
        self.message = b""
        self.text = codecs.getincrementaldecoder("utf-8")()
        self.events: list[Event] = []

    def run(self) -> list[Event]:
        try:
            while self.at < len(self.data) and not self.closed:
                self.frame()
        except Broken as broken:
            self.events.append((FAIL, broken.code))
        except Truncated:
            pass
        return self.events

    @property
    def closed(self) -> bool:
        return bool(self.events) and self.events[-1][0] in (CLOSE, FAIL)

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Truncated
        self.at += size
        return self.data[self.at - size : self.at]

    def frame(self) -> None:
        first, second = self.take(2)
        final, opcode, length = first >> 7, first & 15, second & 127
        self.check_head(first, second)
        if length >= 126:
            extended = self.take(2 if length == 126 else 8)
            length = int.from_bytes(extended, "big")
            if length < (126 if len(extended) == 2 else 65536) or length >> 63:
                mask_missing = not self.client and self.at + 4 > len(self.data)
                raise Truncated if mask_missing else Broken(1002)
        mask = b"\0\0\0\0" if self.client else self.take(4)
        if opcode < 8:
            self.begin_message(first, length)
        there = self.data[self.at : self.at + length]
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(there))
        if opcode < 8 and self.opcode == 1 and not self.compressed:
            self.check_text(payload)
        self.take(length)
        if opcode >= 8:
            self.control(opcode, payload)
            return
        self.message += payload
        if final:
            self.end_message()

    def check_head(self, first: int, second: int) -> None:
        final, opcode = first >> 7, first & 15
        rsv1 = first & 0x40 and not (self.deflate and opcode in (1, 2))
        if first & 0x30 or rsv1 or opcode not in (0, 1, 2, 8, 9, 10):
            raise Broken(1002)
        if bool(second & 0x80) == self.client:
            raise Broken(1002)
        if opcode >= 8 and (not final or second & 127 > 125):
            raise Broken(1002)
        if opcode < 8 and (opcode == 0) != (self.opcode != 0):
            raise Broken(1002)

    def begin_message(self, first: int, length: int) -> None:
        if first & 15:
            self.opcode, self.compressed, self.fragments = first & 15, bool(first & 0x40), 0
        self.fragments += 1
        if self.fragments > 64 + self.bytes_max // 16:
            raise Broken(1008)
        if len(self.message) + length > self.bytes_max:
            raise Broken(1009)

    def check_text(self, payload: bytes) -> None:
        try:
            self.text.decode(payload)
        except UnicodeDecodeError as error:
            raise Broken(1007) from error

    def end_message(self) -> None:
        message = self.inflate(self.message) if self.compressed else self.message
        if self.opcode == 1:
            try:
                message.decode()
            except UnicodeDecodeError as error:
                raise Broken(1007) from error
        self.events.append((self.opcode, message))
        self.opcode, self.message = 0, b""
        self.text.reset()

    def inflate(self, message: bytes) -> bytes:
        inflater = zlib.decompressobj(-15)
        try:
            out = inflater.decompress(message + b"\0\0\xff\xff", self.bytes_max + 1)
        except zlib.error as error:
            raise Broken(1007) from error
        if len(out) > self.bytes_max:
            raise Broken(1009)
        if inflater.eof and inflater.unused_data not in (b"\0\0\xff\xff", b"\0\0\0\xff\xff"):
            raise Broken(1007)
        return out

    def control(self, opcode: int, payload: bytes) -> None:
        if opcode != CLOSE:
            self.events.append((opcode, payload))
            return
        if len(payload) == 1:
            raise Broken(1002)
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        allowed = (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999
        if payload and not allowed:
            raise Broken(1002)
        try:
            self.events.append((CLOSE, (code, payload[2:].decode())))
        except UnicodeDecodeError as error:
            raise Broken(1007) from error


def expected(data: bytes, bytes_max: int, client: bool = False, deflate: bool = False) -> list[Event]:
    """What the kernel should return for `data`, with only the code of a FAIL."""
    return Reference(data, bytes_max, client, deflate).run()


def without_reasons(events: list[Event]) -> list[Event]:
    """The kernel's events in the form of `expected`."""
    return [(kind, data[0]) if kind == FAIL else (kind, data) for kind, data in events]
