"""A WebSocket client of bare bytes, for what a well-behaved library can't be made to send."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

import trio

from gateway.transport.upgrade import acceptance

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(
    opcode: int, payload: bytes = b"", fin: bool = True, masked: bool = True, reserved: int = 0
) -> bytes:
    """One frame, as a client sends it (RFC 6455 section 5.2)."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    stream = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + mixed.to_bytes(size, "big")


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def request(target: str = "/realtime", **changed: str | None) -> bytes:
    """An upgrade request; `sec_websocket_version="8"` changes a header, None leaves it out."""
    headers: dict[str, str | None] = {
        "host": "gateway.test",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_key": KEY,
        "sec_websocket_version": "13",
    }
    headers.update(changed)
    lines = [f"GET {target} HTTP/1.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Frame(NamedTuple):
    fin: bool
    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """A close frame's code, 1005 where it has none."""
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


class Gone(Exception):
    """The server ended or reset the connection."""


class RawClient:
    """A socket, and what came over it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    @classmethod
    async def connect(cls, port: int, receive_bytes: int = 0) -> RawClient:
        """Connect; a small `receive_bytes` (SO_RCVBUF) makes a reader that soon holds the server up."""
        raw = trio.socket.socket()
        if receive_bytes:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            await raw.connect(("127.0.0.1", port))
        except BaseException:
            raw.close()
            raise
        return cls(trio.SocketStream(raw))

    @classmethod
    async def open(cls, port: int, receive_bytes: int = 0, **headers: str) -> RawClient:
        """Connect and upgrade; without an upgrade, or cancelled, nothing stays open."""
        client = await cls.connect(port, receive_bytes)
        try:
            await client._upgrade(request(**headers))
        except BaseException:
            client.stream.socket.close()
            raise
        return client

    async def _upgrade(self, handshake: bytes) -> None:
        await self.send(handshake)
        head = await self.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        expected = acceptance(KEY, None).partition(b"Sec-WebSocket-Accept: ")[2].partition(b"\r\n")[0]
        assert expected in head

    async def send(self, data: bytes) -> None:
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise Gone from error

    async def send_text(self, text: str) -> None:
        await self.send(frame(TEXT, text.encode()))

    async def _more(self) -> None:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError as error:
            raise Gone from error
        if not data:
            raise Gone
        self._buffer += data

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def head(self) -> bytes:
        """An HTTP answer's status line and headers."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self._more()
        return await self._take(end + 4)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        try:
            while True:
                await self._more()
        except Gone:
            return bytes(self._buffer)

    async def receive(self) -> Frame:
        """The next frame; Gone at the end."""
        first, second = await self._take(2)
        assert second & 0x80 == 0, "a server doesn't mask"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", await self._take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", await self._take(8))[0]
        return Frame(bool(first & 0x80), first & 0x0F, await self._take(size))

    async def receive_message(self) -> bytes:
        """The next text message, answering pings on the way."""
        while True:
            got = await self.receive()
            if got.opcode == PING:
                await self.send(frame(PONG, got.payload))
            else:
                assert got.opcode == TEXT and got.fin, got
                return got.payload

    async def close_code(self) -> int | None:
        """The code of the close frame that comes, whatever comes before it; None when none comes."""
        try:
            while True:
                got = await self.receive()
                if got.opcode == CLOSE:
                    return got.code
        except Gone:
            return None

    def reset(self) -> None:
        """End with a TCP reset, as a crashed peer does."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def aclose(self) -> None:
        await self.stream.aclose()
