"""What the core asks of a log: the ordered, lasting history of every resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.errors import LogDamaged, LogUnavailable, retry_after_ms
from gateway.ports.values import Record

# Whose the changes are that nobody made. Like nobody else's they have no client_id.
GATEWAY_USER_ID = "gateway"


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
    """The batch was not appended ("none"), or nobody can say ("unknown"). `retry_after_ms` is a hint.

    `is_damage`: the message says which stored data is damaged, which trying again doesn't mend.
    """

    message: str
    outcome: str
    retry_after_ms: int
    is_damage: bool = False


def failed(error: LogUnavailable) -> Failed:
    """What an append answers for which the log wasn't there."""
    return Failed(str(error), error.outcome, retry_after_ms(), isinstance(error, LogDamaged))


Outcome = Committed | Stale | Reserved | Duplicates | Absent | Forked | Failed


class Snapshot(NamedTuple):
    """The document (JSON bytes, b"null" where there is none) right after `version`."""

    version: int
    document: bytes


# What was never written.
NOTHING = Snapshot(0, b"null")


class Opening(NamedTuple):
    """All that opens a room: its epoch, the newest snapshot, and the changes after it, in order.

    A resource that was never written has version 0, document null and the log's standing epoch.

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

    @property
    def version(self) -> int:
        """The head's."""
        return self.records[-1].version if self.records else self.snapshot.version


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


class Pacing(NamedTuple):
    """A busy lane begins its next append `interval_s` after the last one (0: as soon as that is done), or
    `appends` times as long as an append takes, where that is longer; and as soon as `full` rooms are ready.

    So many are on their way `at_once`. One takes rooms whose turn it is until it has `changes`; what it
    leaves, the next one takes without a wait.
    """

    interval_s: float = 0.0
    appends: float = 0.0
    at_once: int = 1
    full: int = 1000
    changes: int = 1000


class OpLog(Protocol):
    """The ordered, lasting history of every resource. Methods raise LogUnavailable when it can't be reached.

    A log that several nodes share announces each appended batch on its bus (`gateway.wire.announcement`).
    """

    @property
    def pacing(self) -> Pacing:
        """How a lane's appends are held back where many changes come."""
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
