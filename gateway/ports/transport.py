"""What the core asks of a transport, and what a transport asks of the core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import trio

from gateway.errors import Refusal
from gateway.ports.values import Ack, Own


class Connection(Protocol):
    """One client's socket, as its session sees it. Hashable by identity."""

    @property
    def remote(self) -> str:
        """The peer's address, for logs."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """What waits for the reader, beyond what its socket takes."""
        ...

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        """Queue one text message (UTF-8 JSON). Never blocks; order of calls is order on the wire.

        `topic` is the resource whose state can replace the message when the reader is slow (see
        `Session.resync`); `droppable` (presence) may be dropped then. After `close` it does nothing.
        """
        ...

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        """Queue these text messages, like `send`: edits are refused for now.

        What this client sends can wait a moment: a transport may read nothing of it meanwhile, and ask about
        what came with the edit by `Session.turn_away`, for what came together is cheaper to refuse.
        """
        ...

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then close with this code; bounded in time. Idempotent."""
        ...


class Group(Protocol):
    """Connections that get the same bytes: the subscribers of one room in one form."""

    def add(self, connection: Connection) -> None: ...

    def discard(self, connection: Connection) -> None: ...

    def __len__(self) -> int: ...

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        """Send these messages, in order, to every member; `own[connection][i]` takes the place of payload i.

        Never blocks. In order with `Connection.send` of each member. A transport may join messages for up to
        `flush_interval_max_ms`.
        """
        ...


class Session(Protocol):
    """One client, as a transport sees it. Handlers never raise; they close the connection instead."""

    @property
    def known(self) -> bool:
        """Whether the client has shown who it is: until then little is read of it."""
        ...

    def receive(self, payload: bytes) -> Awaitable[None] | None:
        """Handle one text message. An awaitable must be awaited before the next message is read."""
        ...

    def turn_away(self, payloads: list[bytes]) -> int:
        """These text messages came together with an edit that was turned away: how many of them, from the
        first on, are turned away too. The others are to be received."""
        ...

    def receive_binary(self, size: int) -> Awaitable[None] | None:
        """A binary message of so many bytes came (answered INVALID_MESSAGE).

        An awaitable must be awaited before the next message is read.
        """
        ...

    def receive_control(self) -> Awaitable[None] | None:
        """A ping came, or a pong that nobody asked for.

        An awaitable must be awaited before the next message is read.
        """
        ...

    def inflated(self, seconds: float) -> None:
        """So long it took to read what this client sent compressed: it is to pay for that."""
        ...

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes | None:
        """The SYNC_RESPONSE that replaces what was queued for `topic`, with the acks among it.

        Called when the socket can be written again, after whatever the group still joins for this
        connection has been thrown away; None when the topic is no longer subscribed: then the session sends
        the acks by themselves.
        """
        ...

    def presence_state(self, topic: str) -> bytes | None:
        """The PRESENCE_STATE that makes up for presence that was dropped; None when not subscribed."""
        ...

    def closed(self) -> None:
        """The connection is gone; called exactly once, after it left every socket list."""
        ...


class UpgradeRequest(NamedTuple):
    """A WebSocket handshake, or another request: target, lower-cased header names, the client's address.
    `proxied`: a proxy brought it, whose connection other clients' requests may follow on."""

    target: str
    headers: Mapping[str, str]
    remote: str
    proxied: bool = False
    method: str = "GET"


class Rejection(NamedTuple):
    """An HTTP answer that refuses a request; `message` is plain text, unless the headers say otherwise."""

    status: int
    message: str
    headers: Mapping[str, str]


class Admission(NamedTuple):
    """A handshake that is accepted with this subprotocol (or none); `open` makes the connection's session."""

    subprotocol: str | None
    open: Callable[[Connection], Session]


class HttpService(Protocol):
    """Answers requests that are no handshakes, over the connection that they came on."""

    async def serve(self, stream: Any) -> None:
        """Serve a connection, a `gateway.http.stream.RequestStream`, to its end, or to its `handshake`.

        Never raises.
        """
        ...


class HttpPlaces(Protocol):
    """How many such connections there can be at a time."""

    def take(self) -> HttpService | None:
        """A place for another connection, which counts from now on: it has to be served.

        None: all are taken.
        """
        ...

    def refuse(self, request: UpgradeRequest, refusal: Refusal) -> Rejection:
        """The answer to a request that gets no place: one that its client understands."""
        ...


class Endpoint(Protocol):
    """What the core gives a transport: who may come in. `full`: nobody any more."""

    @property
    def full(self) -> bool: ...

    def edits_wait_s(self) -> float:
        """For how long an edit that comes now waits anyway: a transport may as well read it after that."""
        ...

    def http(self, request: UpgradeRequest) -> HttpService | Rejection | None:
        """Who answers a request that is no handshake; None: nobody, it should have been one.

        Its connection has to be served: it counts from now on.
        """
        ...

    def admit(self, request: UpgradeRequest) -> Admission | Rejection: ...

    def welcomes(self, resource: str, remote: str, state: Any) -> bool:
        """Whether this client of another worker may come here, where the resource is at home."""
        ...

    def adopt(self, state: Any, connection: Connection) -> Session:
        """The session of a client that another worker handed over."""
        ...


class Transport(Protocol):
    """Listens, upgrades, reads, writes. Made with the config; pings, stalls and slow readers are its own."""

    name: str

    async def serve(
        self, endpoint: Endpoint, *, task_status: trio.TaskStatus[Sequence[tuple[str, int]]]
    ) -> None:
        """Listen until cancelled; started with the (host, port) pairs that are bound.

        Cancellation closes every connection at once, without ceremony.
        """
        ...

    def group(self) -> Group: ...

    async def hand_over(
        self, connection: Connection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> bool:
        """Move a connection to the worker that this resource is at home in, where that is another one.

        Called while its session handles `message`, which the session there handles then; `pack` returns what
        makes that one (`Endpoint.adopt`), and can be pickled. True: it is gone; only `closed` follows here.
        """
        ...

    def stop_accepting(self) -> None:
        """Close the listeners; connections live on."""
        ...
