"""A plain client of the protocol for what isn't load: making documents, reading final states and histories.

One request at a time, on trio-websocket; what arrives in between is skipped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
)

from gateway.runtime.opening import dialled, websocket
from loadtest import content
from loadtest.errors import words
from loadtest.forms import is_whole, parsed

Result = TypeVar("Result")
MESSAGE_BYTES_MAX = 1 << 26
RETRY_S = 0.5
REQUEST_TIMEOUT_S = 20.0


class ClientError(Exception):
    """The server refused something, went away, or didn't answer in time; the message says what."""


class NotNow(ClientError):
    """Another try in `retry_after_s` may succeed."""

    def __init__(self, message: str, retry_after_s: float = RETRY_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(NotNow):
    """The server refused it for now."""


class Unreachable(NotNow):
    """No connection to the server, or none any more."""


class Patience:
    """Waits for a server that asks for time, until nothing succeeded for `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.renew()

    def renew(self) -> None:
        """Something succeeded."""
        self._until_s = trio.current_time() + self._limit_s

    async def waited(self, error: NotNow) -> bool:
        """Sleep until another try may succeed; False where that is too late."""
        if trio.current_time() + error.retry_after_s > self._until_s:
            return False
        await trio.sleep(error.retry_after_s)
        return True


async def patiently(work: Callable[[], Awaitable[Result]], limit_s: float) -> Result:
    """What `work` returns, begun again and again while the server refuses it for now; raises ClientError."""
    patience = Patience(limit_s)
    while True:
        try:
            return await work()
        except Refused as refused:
            if not await patience.waited(refused):
                raise


class Client:
    """An authenticated, extended connection."""

    def __init__(self, socket: WebSocketConnection, resource_type: str) -> None:
        self._socket = socket
        self._type = resource_type
        self._number = 0

    async def request(self, kind: str, payload: dict[str, Any], answer: str) -> dict[str, Any]:
        """Send a message and return the payload of its answer; raises ClientError."""
        self._number += 1
        ident = f"{kind.lower()}-{self._number}"
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                await self._socket.send_message(content.message(kind, ident, payload).decode())
                return await self._answer(answer, ident, payload.get("resource_id"))
        except trio.TooSlowError:
            raise ClientError(
                f"no {answer} for {payload.get('resource_id')} in {REQUEST_TIMEOUT_S:.0f} s"
            ) from None
        except ConnectionClosed as error:
            raise Unreachable(f"the connection was closed: {error.reason}") from None

    async def _answer(self, answer: str, ident: str, resource_id: str | None) -> dict[str, Any]:
        while True:
            said = await self._socket.get_message()
            message = parsed(said)
            if not is_whole(message):
                raise ClientError(f"a message that can't be read: {said[:80]!r}")
            body: dict[str, Any] = message.get("payload") or {}
            if message["type"] == "ERROR" and body.get("ref") in (ident, None):
                why = f"{body.get('code')}: {body.get('message')}"
                if body.get("retry_after_ms") is None:
                    raise ClientError(why)
                raise Refused(why, body["retry_after_ms"] / 1000)
            same = resource_id is None or body.get("resource_id") == resource_id
            if message["type"] == answer and same and body.get("id", ident) == ident:
                return body

    async def subscribe(self, resource_id: str) -> dict[str, Any]:
        """The payload of SUBSCRIBE_ACK, with the whole state."""
        payload = {"resource": self._type, "resource_id": resource_id}
        return await self.request("SUBSCRIBE", payload, "SUBSCRIBE_ACK")

    async def unsubscribe(self, resource_id: str) -> None:
        payload = {"resource": self._type, "resource_id": resource_id}
        await self.request("UNSUBSCRIBE", payload, "UNSUBSCRIBE_ACK")

    async def changes(self, resource_id: str, after: int) -> dict[str, Any]:
        """The payload of SYNC_RESPONSE: `changes` after a version, or `state` where more than 1,000 miss."""
        payload = {"resource_id": resource_id, "resource_type": self._type, "last_version": after}
        return await self.request("SYNC_REQUEST", {**payload, "max_changes": 1000}, "SYNC_RESPONSE")

    async def create(self, resource_id: str, document: dict[str, Any], client_id: str) -> None:
        """Subscribe and make the document, unless it is there; later where the server says so."""
        if (await self.subscribe(resource_id)).get("state") is None:
            operation = {"op": "add", "path": "", "value": document}
            payload = {
                "resource_id": resource_id,
                "resource_type": self._type,
                "operation": operation,
                "version": 0,
                "client_id": client_id,
            }
            await patiently(partial(self.request, "OP", payload, "OP_ACK"), REQUEST_TIMEOUT_S)
        await self.unsubscribe(resource_id)


async def in_parts(
    documents: Sequence[int], size: int, parallel: int, work: Callable[[Sequence[int]], Awaitable[None]]
) -> None:
    """Have parts of so many documents worked on, so many parts at a time."""
    limiter = trio.CapacityLimiter(parallel)

    async def one(part: Sequence[int]) -> None:
        async with limiter:
            await work(part)

    async with trio.open_nursery() as nursery:
        for start in range(0, len(documents), size):
            nursery.start_soon(one, documents[start : start + size])


async def answering(host: str, port: int) -> tuple[int, Any]:
    """(family, address) of a server: of all its host's addresses one that answers; raises Unreachable."""
    try:
        async with await trio.open_tcp_stream(host, port) as stream:
            return stream.socket.family, stream.socket.getpeername()
    except OSError as error:
        raise Unreachable(f"{host}:{port}: {_reason(error)}") from None


@asynccontextmanager
async def connect(url: str, token: str, user_id: str, resource_type: str) -> AsyncIterator[Client]:
    """An authenticated client; raises Unreachable when the server can't be reached, or has no room."""
    async with opened(url, "collab.v1") as socket:
        client = Client(socket, resource_type)
        auth = {"token": token, "client_id": f"{user_id}-client", "user_id": user_id}
        await client.request("AUTH", auth, "AUTH_ACK")
        yield client


@asynccontextmanager
async def opened(url: str, *subprotocols: str) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket to a server; raises Unreachable where there is none, or none any more."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    options = {"subprotocols": subprotocols, "max_message_size": MESSAGE_BYTES_MAX}
    try:
        stream = await dialled(parts.hostname or "", parts.port or 80, REQUEST_TIMEOUT_S)
        async with websocket(stream, parts.netloc, target, REQUEST_TIMEOUT_S, **options) as socket:
            yield socket
    except (HandshakeError, OSError, ConnectionClosed) as error:
        raise Unreachable(f"{url}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Why, in words; some errors of sockets and handshakes have none of their own."""
    if isinstance(error, ConnectionRejected):
        return f"it answers HTTP {error.status_code}, not a WebSocket"
    if isinstance(error, ConnectionClosed) and error.reason is not None:
        return f"it closes with {error.reason.code} {error.reason.reason or error.reason.name}"
    cause = error.__cause__ or error.__context__  # a handshake that failed hides why
    return words(error, str(cause or ""))
