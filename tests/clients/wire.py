"""A connection to the gateway as docs/reference/protocol.md has it, on the public `websockets` package alone.

Every message is checked for what the protocol promises of all messages: the four members, that timestamps
never decrease within a resource, and that each field is one that the page names.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection, connect

from tests.docs.contract import check_received
from tests.waiting import PATIENCE_S, unawaited

Message = dict[str, Any]
Payload = dict[str, Any]

ANSWERS = {
    "AUTH": "AUTH_ACK",
    "SUBSCRIBE": "SUBSCRIBE_ACK",
    "UNSUBSCRIBE": "UNSUBSCRIBE_ACK",
    "SYNC_REQUEST": "SYNC_RESPONSE",
    "OP": "OP_ACK",
    "UNDO": "OP_ACK",
    "REDO": "OP_ACK",
    "PING": "PONG",
}


class Refused(Exception):
    """An ERROR answered a request; `payload` is its payload."""

    def __init__(self, payload: Payload) -> None:
        super().__init__(f"{payload['code']}: {payload['message']}")
        self.payload = payload
        self.code: str = payload["code"]


class Closed(Exception):
    """The connection is closed."""


class Wire:
    """One WebSocket. Received messages wait in `inbox` until they are taken; `on_message` sees each first."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.inbox: deque[Message] = deque()
        self.seen: list[Message] = []
        self.on_message: Callable[[Message], None] | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.client_id = ""
        self._ids = itertools.count(1)
        self._news = trio.Event()
        self._stamps: dict[str, int] = {}

    async def read(self) -> None:
        """Receive until the connection is closed."""
        try:
            while True:
                self._take(json.loads(await self.ws.recv()))
        except ConnectionClosed:
            self.close_code = self.ws.close_code
            self.close_reason = self.ws.close_reason or ""
            self._tell()

    def _take(self, message: Message) -> None:
        assert {"type", "id", "timestamp", "payload"} <= message.keys(), message
        assert isinstance(message["id"], str) and message["id"]
        assert isinstance(message["timestamp"], int)
        assert isinstance(message["payload"], dict)
        check_received(message)
        resource = f"{message['payload'].get('resource_type')}:{message['payload'].get('resource_id')}"
        if not resource.startswith("None"):
            last = self._stamps.get(resource, 0)
            assert message["timestamp"] >= last, f"the time of {resource} went back: {message}"
            self._stamps[resource] = message["timestamp"]
        self.seen.append(message)
        self.inbox.append(message)
        if self.on_message is not None:
            self.on_message(message)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def send(self, kind: str, payload: Mapping[str, Any] | None = None, id: str | None = None) -> str:
        """Send a message; returns its id."""
        ident = id or f"c{next(self._ids)}"
        message: Message = {"type": kind, "id": ident, "timestamp": 0}
        if payload is not None:
            message["payload"] = payload
        await self.send_raw(json.dumps(message))
        return ident

    async def send_raw(self, data: str | bytes) -> None:
        try:
            await self.ws.send(data)
        except ConnectionClosed:
            raise Closed(self.ws.close_code, self.ws.close_reason) from None

    async def take_where(self, wanted: Callable[[Message], bool], wait_s: float = PATIENCE_S) -> Message:
        """Take the first waiting message that is wanted out of the inbox, whatever waits before it."""
        with trio.move_on_after(wait_s):
            while True:
                for message in self.inbox:
                    if wanted(message):
                        self.inbox.remove(message)
                        return message
                if self.close_code is not None:
                    raise Closed(self.close_code, self.close_reason)
                await self._news.wait()
        raise AssertionError(f"nothing like it came; waiting: {list(self.inbox)[:20]}")

    async def take(self, kind: str, wait_s: float = PATIENCE_S, **members: Any) -> Payload:
        """Take the next message of a type whose payload has these members; returns the payload."""

        def wanted(message: Message) -> bool:
            payload = message["payload"]
            return message["type"] == kind and all(
                payload.get(name) == value for name, value in members.items()
            )

        taken: Payload = (await self.take_where(wanted, wait_s))["payload"]
        return taken

    async def answer_to(self, kind: str, ident: str, wait_s: float = PATIENCE_S) -> Payload:
        """The answer to what was sent with this id; raises Refused where it is an ERROR."""

        def wanted(message: Message) -> bool:
            payload = message["payload"]
            if message["type"] == "ERROR":
                return bool(payload["ref"] == ident)
            if message["type"] != ANSWERS[kind]:
                return False
            return bool(message["type"] != "OP_ACK" or payload["id"] == ident)

        message = await self.take_where(wanted, wait_s)
        if message["type"] == "ERROR":
            raise Refused(message["payload"])
        payload: Payload = message["payload"]
        return payload

    async def ask(
        self,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        wait_s: float = PATIENCE_S,
        id: str | None = None,
    ) -> Payload:
        """Send, and wait for the answer."""
        return await self.answer_to(kind, await self.send(kind, payload, id), wait_s)

    async def closed(self, wait_s: float = PATIENCE_S) -> int:
        """Wait for the end; returns the close code."""
        with trio.fail_after(wait_s):
            while self.close_code is None:
                await self._news.wait()
        return self.close_code

    def of_type(self, kind: str) -> list[Payload]:
        """The payloads of this type that ever came, in order."""
        return [message["payload"] for message in self.seen if message["type"] == kind]


@asynccontextmanager
async def wire(
    url: str, bearer: str | None = None, extended: bool = False, **options: Any
) -> AsyncIterator[Wire]:
    """Connect, with a token in the header where one is given; `extended` offers the subprotocol.

    The client doesn't ping, and has patience: it would give up a server that a busy machine keeps waiting.
    """
    if bearer is not None:
        options["additional_headers"] = {"Authorization": f"Bearer {bearer}"}
    if extended:
        options["subprotocols"] = ["collab.v1"]
    kept = {"proxy": None, "max_size": None, "max_queue": None, "compression": None}
    patient = {"open_timeout": PATIENCE_S, "ping_interval": None}
    options = {**kept, **patient, **options}
    async with connect(url, **options) as ws, unawaited() as nursery:
        opened = Wire(ws)
        nursery.start_soon(opened.read)
        yield opened
