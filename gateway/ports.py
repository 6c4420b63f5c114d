"""What the core asks of its surroundings: log, bus, transport; and what a transport asks of the core.

Adapters implement these protocols; `node.py` is the only place that chooses between them. A *resource* is
written `type:id` (`event:42`); a *change* is one committed submission; times are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import trio

from gateway.values import Ack as Ack
from gateway.values import Own as Own
from gateway.values import Record as Record

# --------------------------------------------------------------------------------------------- the log


class Batch(NamedTuple):
    """The changes that one room wants appended, all or nothing: versions `base + 1 ...` of `epoch`.

    `nonce` is random and new for each attempt; it finds a batch again whose answer was lost.
    """

    resource: str
    epoch: int
    base: int
    nonce: str
    records: Sequence[Record]


class Committed(NamedTuple):
    """The batch is stored as durably as the operator asked for."""


class Stale(NamedTuple):
    """Somebody else appended first: `records` are the changes after the batch's base, in order."""

    records: Sequence[Record]


class Reserved(NamedTuple):
    """Nothing was appended: for so many seconds, at most, the head is another node's."""

    seconds: float


class Duplicates(NamedTuple):
    """Nothing was appended: the records at these positions of the batch are stored already.

    Maps the position to (version, digest) of the stored change with the same (user, client, seq).
    """

    versions: Mapping[int, tuple[int, str]]


class Absent(NamedTuple):
    """The log holds no such resource (evicted, or its data was lost): open it again and retry."""


class Forked(NamedTuple):
    """The log's history is another one now (`epoch`): reopen and resync."""

    epoch: int


class Failed(NamedTuple):
    """The batch was not appended ("none"), or nobody can say ("unknown"). `retry_after_ms` is a hint."""

    message: str
    outcome: str
    retry_after_ms: int


Outcome = Committed | Stale | Reserved | Duplicates | Absent | Forked | Failed


class Snapshot(NamedTuple):
    """The document (JSON bytes, b"null" where there is none) right after `version`."""

    version: int
    document: bytes


class Opening(NamedTuple):
    """All that opens a room: its epoch, the newest snapshot, and the changes after it, in order.

    The head's version is that of the last record, or of the snapshot where there are none. A resource
    that was never written has version 0, document null and the log's standing epoch.

    `purged` is the epoch that the last purge began: what rooms of older epochs hold was erased on purpose.
    `restarted` is the version at which the present epoch began, where it began because the log had lost its
    data: up to there the history is that of the epoch that it `follows`. Rooms of still older epochs may have
    parted from it earlier.
    """

    epoch: int
    snapshot: Snapshot
    records: Sequence[Record]
    purged: int = 0
    restarted: int | None = None
    follows: int = 0


class Submitted(NamedTuple):
    """A stored submission of one client: what recognises a resend."""

    seq: int
    version: int
    digest: str


class OwnChange(NamedTuple):
    """A stored change of one client and what it undoes: what rebuilds the client's undo stack."""

    version: int
    undoes: int | None


class ClientKey(NamedTuple):
    """One client of one resource: a resend is recognised by this and its seq."""

    resource: str
    user_id: str
    client_id: str


class OpLog(Protocol):
    """The ordered, lasting history of every resource. Methods raise LogUnavailable when it can't be reached.

    A log that several nodes share announces each appended batch on its bus (`gateway.announcement`).
    """

    @property
    def pace_s(self) -> float:
        """How long a busy lane gathers, from one append to the next, or longer; 0: not at all."""
        ...

    def lane(self, resource: str) -> int:
        """Resources of one lane share an append's round trip; lanes are served side by side."""
        ...

    async def open(self, resource: str) -> Opening: ...

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """Append batches of different resources of one lane in one round trip; an outcome for each, in order.

        Returns after the commit. Never raises for a batch that may have been sent: that is `Failed`.
        """
        ...

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        """At most `limit` changes with versions above `after`, ascending, without a gap."""
        ...

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        """The newest stored snapshot at or below `version` (version 0 and null where there is none)."""
        ...

    async def save_snapshot(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        """Keep a snapshot; one of a purged epoch is ignored."""
        ...

    async def recent(self, clients: Sequence[ClientKey], since: int) -> Sequence[Sequence[Submitted]]:
        """For each client its newest 16 submissions with a seq made at or after `since`, newest first."""
        ...

    async def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        """The newest `limit` changes of a client, newest first."""
        ...

    async def purge(self, resource: str) -> int:
        """Erase a resource's history and documents; returns its new epoch."""
        ...

    async def aclose(self) -> None: ...


# --------------------------------------------------------------------------------------------- the bus


class BusListener(Protocol):
    """What a bus tells its node. Called in the node's Trio thread; must not block."""

    def on_message(self, resource: str, payload: bytes) -> None: ...

    def on_gap(self, resource: str | None) -> None:
        """Messages of this resource (of all, when None) may have been lost: compare heads with the log."""
        ...


class Bus(Protocol):
    """Fan-out between nodes, a channel a resource, at most once: nothing relies on a message arriving."""

    def attach(self, listener: BusListener) -> None:
        """Set the listener, once, before any subscribe."""
        ...

    async def subscribe(self, resource: str) -> None:
        """Returns when the subscription is confirmed: later messages arrive unless they are lost."""
        ...

    async def unsubscribe(self, resource: str) -> None: ...

    def publish(self, resource: str, payload: bytes) -> None:
        """Send to the other nodes subscribed to the resource (never to oneself). Doesn't block; may lose."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled; started when the bus can be used."""
        ...


# ---------------------------------------------------------------------------------- presence, shared


class Member(NamedTuple):
    """One session that is present. `node` names the node's incarnation; `entry` is what it put."""

    session: str
    node: str
    entry: bytes


class LeaseListener(Protocol):
    """What the leases tell their node. Called in its Trio thread; must not block."""

    def on_node_lost(self, node: str) -> None:
        """This incarnation of another node is gone: its entries count no more."""
        ...

    def on_lease_lapsed(self) -> None:
        """The own lease had lapsed: the entries are written again, but others have dropped them meanwhile."""
        ...


class Leases(Protocol):
    """Who is present on which node. Entries count as long as the lease of the node that put them."""

    @property
    def node(self) -> str:
        """The present incarnation of this node; another one after its lease lapsed."""
        ...

    def attach(self, listener: LeaseListener) -> None:
        """Set the listener, once, before `run`."""
        ...

    def put(self, resource: str, session: str, entry: bytes) -> None:
        """A session of this node is present (or its entry changed). Written soon, the latest wins."""
        ...

    def remove(self, resource: str, session: str) -> None:
        """A session of this node isn't present any more."""
        ...

    async def members(self, resource: str) -> Sequence[Member]:
        """Everyone who is present, on whichever node that isn't lost. Raises LogUnavailable."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the lease and look for lost nodes, until cancelled; started with the lease taken."""
        ...


# --------------------------------------------------------------------------------------- the transport


class Connection(Protocol):
    """One client's socket, as its session sees it. Hashable by identity."""

    @property
    def remote(self) -> str:
        """The peer's address, for logs."""
        ...

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        """Queue one text message (UTF-8 JSON). Never blocks; order of calls is order on the wire.

        `topic` is the resource whose state can replace the message when the reader is slow (see
        `Session.resync`); `droppable` (presence) may be dropped then. After `close` it does nothing.
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

    def receive(self, payload: bytes) -> Awaitable[None] | None:
        """Handle one text message. An awaitable must be awaited before the next message is read."""
        ...

    def receive_binary(self) -> None:
        """A binary frame came (answered INVALID_MESSAGE)."""
        ...

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes | None:
        """The SYNC_RESPONSE that replaces what was queued for `topic`, with the acks among it.

        Called when the socket can be written again, after whatever the group still joins for this
        connection has been thrown away; None when the topic is no longer subscribed.
        """
        ...

    def presence_state(self, topic: str) -> bytes | None:
        """The PRESENCE_STATE that makes up for presence that was dropped; None when not subscribed."""
        ...

    def closed(self) -> None:
        """The connection is gone; called exactly once, after it left every socket list."""
        ...


class UpgradeRequest(NamedTuple):
    """A WebSocket handshake: request target, lower-cased header names, the peer's address."""

    target: str
    headers: Mapping[str, str]
    remote: str


class Rejection(NamedTuple):
    """An HTTP answer that refuses a handshake."""

    status: int
    message: str
    headers: Mapping[str, str]


class Admission(NamedTuple):
    """A handshake that is accepted with this subprotocol (or none); `open` makes the connection's session."""

    subprotocol: str | None
    open: Callable[[Connection], Session]


class Endpoint(Protocol):
    """What the core gives a transport: who may come in."""

    def admit(self, request: UpgradeRequest) -> Admission | Rejection: ...

    def welcomes(self, resource: str) -> bool:
        """Whether a client of another worker may come here, where the resource is at home."""
        ...

    def adopt(self, luggage: Any, connection: Connection) -> Session:
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

    @property
    def connection_count(self) -> int: ...


# --------------------------------------------------------------------------------------- admission

Role = Literal["viewer", "editor", "admin"]


class Person(Protocol):
    """Who a token speaks for, as others see it."""

    @property
    def user_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def avatar_url(self) -> str: ...


class Identity(Person, Protocol):
    """A verified token. `expires_at` is in Unix seconds."""

    @property
    def expires_at(self) -> float: ...

    def role(self, resource_type: str, resource_id: str) -> Role | None: ...

    def allows(self, resource_type: str, resource_id: str, role: Role) -> bool: ...


class Authenticator(Protocol):
    """Verifies tokens; raises Refusal UNAUTHENTICATED or TOKEN_EXPIRED."""

    def verify(self, token: str, now_s: float) -> Identity: ...


class Rules(Protocol):
    """What documents of each resource type may look like, and how their fields merge."""

    @property
    def types(self) -> Collection[str]: ...

    def strategies(self, resource_type: str) -> Any:
        """The per-field merge strategies, as `gateway.ot.lower` takes them."""
        ...

    def check(self, resource_type: str, document: Any, touched: Collection[str] | None) -> None:
        """Check the touched top-level members (all, when None); raises Refusal INVALID_OPERATION."""
        ...

    def sanitise(
        self, resource_type: str, document: Any, touched: Collection[str] | None
    ) -> list[dict[str, Any]]:
        """RFC 6902 operations that clean the touched HTML fields; usually none."""
        ...


class AbuseWatch(Protocol):
    """Whether one connection goes on over its rate without heeding what it was told."""

    def refused(self, now_s: float, retry_after_ms: int) -> bool:
        """Note a refusal for the rate; True when the connection must be closed."""
        ...


class RateLimit(Protocol):
    """How fast a user may edit."""

    def take(self, user_id: str, now_s: float) -> int:
        """Count one operation: 0, or the milliseconds to wait before one would be allowed."""
        ...

    def watch(self, abuse_s: float) -> AbuseWatch:
        """A watch for one connection; `abuse_s` over the rate are too much."""
        ...
