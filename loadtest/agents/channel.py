"""Sealed messages between a coordinator and an agent, over any stream.

Each side sends MAGIC and 32 random bytes. Both derive one key a direction from these and the secret that they
share (HKDF, RFC 5869). Then each message is its length (4 bytes, big endian) and a ChaCha20-Poly1305 text
(RFC 8439) whose nonce counts the messages of that direction. So who doesn't have the secret can neither read
(a run's configuration holds the secret that signs the users' tokens) nor write, and nothing can be replayed.
"""

from __future__ import annotations

import secrets
from typing import Any

import orjson
import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"loadtest agent 1\n"
NONCE_BYTES = 32
KEY_BYTES = 32
MESSAGE_BYTES_MAX = 64 << 20
FIRST_BYTES_MAX = 1 << 16  # of a message from somebody who hasn't shown yet that it has the secret


class ChannelError(Exception):
    """The other side is gone, has another secret, or isn't one of ours."""


class Channel:
    """One end of a connection. Any task may send, one may receive."""

    def __init__(self, stream: trio.abc.Stream, sends: bytes, receives: bytes) -> None:
        self._stream = stream
        self._seal, self._open = ChaCha20Poly1305(sends), ChaCha20Poly1305(receives)
        self._sent = self._received = 0
        self._sending = trio.Lock()

    async def send(self, message: Any) -> None:
        """Send JSON data; raises ChannelError."""
        async with self._sending:
            sealed = self._seal.encrypt(self._sent.to_bytes(12, "big"), orjson.dumps(message), None)
            self._sent += 1
            try:
                await self._stream.send_all(len(sealed).to_bytes(4, "big") + sealed)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ChannelError("the connection ended") from None

    async def receive(self, most: int = MESSAGE_BYTES_MAX) -> Any:
        """The next message's JSON data; raises ChannelError, also for one of more than `most` bytes."""
        size = int.from_bytes(await _exactly(self._stream, 4), "big")
        if size > most:
            raise ChannelError(f"a message of {size:,} bytes, {most:,} are allowed")
        sealed = await _exactly(self._stream, size)
        try:
            opened = self._open.decrypt(self._received.to_bytes(12, "big"), sealed, None)
        except InvalidTag:
            raise ChannelError("the secrets differ") from None
        self._received += 1
        return orjson.loads(opened)


async def _exactly(stream: trio.abc.Stream, size: int) -> bytes:
    parts, left = [], size
    while left:
        try:
            data = await stream.receive_some(min(left, 65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            raise ChannelError("the connection ended")
        parts.append(bytes(data))
        left -= len(data)
    return b"".join(parts)


async def meet(stream: trio.abc.Stream, secret: bytes, asks: bool) -> Channel:
    """A channel over a fresh connection; `asks` is the coordinator's end. Raises ChannelError.

    Nothing is shown yet: an end knows the other to have the secret by the first message that it can open.
    """
    own = secrets.token_bytes(NONCE_BYTES)
    try:
        await stream.send_all(MAGIC + own)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise ChannelError("the connection ended") from None
    if await _exactly(stream, len(MAGIC)) != MAGIC:
        raise ChannelError("it doesn't speak as an agent of this version does")
    other = await _exactly(stream, NONCE_BYTES)
    salt = own + other if asks else other + own
    keys = HKDF(SHA256(), 2 * KEY_BYTES, salt, MAGIC).derive(secret)
    to_agent, to_coordinator = keys[:KEY_BYTES], keys[KEY_BYTES:]
    return Channel(stream, to_agent, to_coordinator) if asks else Channel(stream, to_coordinator, to_agent)
