"""A log in memory, for one node or for several in one process.

`MemoryHistory` holds the data and answers at once; `MemoryLog` is the port over it. Nodes that share a
history have a `MemoryLog` each, with the node's bus, on which it announces what it appended.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import trio

from gateway.errors import LogTrimmed
from gateway.log.batches import SUBMISSIONS_KEPT, next_epoch, objection, submission_key
from gateway.ports import (
    NOTHING,
    Absent,
    Batch,
    Bus,
    ClientKey,
    Committed,
    Duplicates,
    Forked,
    Opening,
    Outcome,
    OwnChange,
    Pacing,
    Record,
    Snapshot,
    Stale,
    Submitted,
)
from gateway.runtime.clock import unix_ms
from gateway.wire.announcement import Announcement, encode


@dataclass(slots=True)
class _Resource:
    """One resource: version n is `records[n - 1]`; `nonces` maps a batch's base to its nonce.

    `purged`, `restarted` and `follows` as in `Opening`; versions up to `trimmed` can't be read any more.
    """

    epoch: int
    purged: int = 0
    trimmed: int = 0
    restarted: int | None = None
    follows: int = 0
    records: list[Record] = field(default_factory=list)
    nonces: dict[int, str] = field(default_factory=dict)
    submissions: dict[tuple[str, str, int], Record] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=lambda: [NOTHING])

    def by(self, client: ClientKey) -> list[Record]:
        """The changes of a client, newest first."""
        author = client.user_id, client.client_id
        return [record for record in reversed(self.records) if (record.user_id, record.client_id) == author]


class MemoryHistory:
    """The data of a log, shared by the `MemoryLog`s of one process.

    `standing_epoch` is the epoch of what was never written; `wall_ms` gives later ones. The methods do what
    those of the port do, without waiting.
    """

    def __init__(self, standing_epoch: int | None = None, wall_ms: Callable[[], int] = unix_ms) -> None:
        self._wall_ms = wall_ms
        self._standing_epoch = wall_ms() if standing_epoch is None else standing_epoch
        self._resources: dict[str, _Resource] = {}

    def head(self, resource: str) -> tuple[int, int]:
        """Epoch and version of a resource."""
        known = self._known(resource)
        return known.epoch, len(known.records)

    def open(self, resource: str) -> Opening:
        known = self._known(resource)
        snapshot = known.snapshots[-1]
        records = known.records[snapshot.version :]
        return Opening(known.epoch, snapshot, records, known.purged, known.restarted, known.follows)

    def append(self, batch: Batch) -> Outcome:
        """Append one batch. A base above the head is a fork: the resource gets a new epoch."""
        refusal = objection(batch) or self._refusal(batch)
        if refusal is not None:
            return refusal
        known = self._resources.setdefault(batch.resource, _Resource(self._standing_epoch))
        known.records.extend(batch.records)
        known.nonces[batch.base] = batch.nonce
        for record in batch.records:
            key = submission_key(record)
            if key is not None:
                known.submissions[key] = record
        return Committed()

    def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        known = self._known(resource)
        if after < known.trimmed:
            raise LogTrimmed(resource, known.trimmed)
        return known.records[after : after + limit]

    def trim(self, resource: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, and only the changes after it."""
        known = self._known(resource)
        self.save_snapshot(resource, known.epoch, snapshot)
        known.trimmed = snapshot.version

    def lose_end(self, resource: str, version: int) -> None:
        """Go back to the head `version`."""
        known = self._known(resource)
        del known.records[version:]
        known.nonces = {base: nonce for base, nonce in known.nonces.items() if base < version}
        known.submissions = {key: r for key, r in known.submissions.items() if r.version <= version}
        known.snapshots = [snapshot for snapshot in known.snapshots if snapshot.version <= version]

    def snapshot(self, resource: str, version: int) -> Snapshot:
        snapshots = self._known(resource).snapshots
        return snapshots[bisect_right(snapshots, version, key=attrgetter("version")) - 1]

    def save_snapshot(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        known = self._known(resource)
        if epoch != known.epoch or not 0 < snapshot.version <= len(known.records):
            return
        kept = {item.version: item for item in known.snapshots} | {snapshot.version: snapshot}
        known.snapshots = [kept[version] for version in sorted(kept)]

    def recent(self, client: ClientKey, since: int) -> Sequence[Submitted]:
        return [
            Submitted(record.seq, record.version, record.digest)
            for record in self._known(client.resource).by(client)
            if record.seq is not None and record.timestamp >= since
        ][:SUBMISSIONS_KEPT]

    def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        changes = self._known(client.resource).by(client)[:limit]
        return [OwnChange(record.version, record.undoes) for record in changes]

    def purge(self, resource: str) -> int:
        epoch = next_epoch(self._known(resource).epoch, self._wall_ms())
        self._resources[resource] = _Resource(epoch, purged=epoch)
        return epoch

    def _known(self, resource: str) -> _Resource:
        return self._resources.get(resource) or _Resource(self._standing_epoch)

    def _refusal(self, batch: Batch) -> Outcome | None:
        """The outcome of a batch that isn't appended (or was, before); None: append it."""
        known = self._known(batch.resource)
        if known.nonces.get(batch.base) == batch.nonce:
            return Committed()
        if batch.epoch != known.epoch:
            return Forked(known.epoch)
        if batch.base > len(known.records):
            return self._fork(batch.resource, known)
        if batch.base < known.trimmed:
            return Absent()
        if batch.base < len(known.records):
            return Stale(known.records[batch.base :])
        found = {
            place: known.submissions[key]
            for place, record in enumerate(batch.records)
            if (key := submission_key(record)) in known.submissions and key is not None
        }
        return (
            Duplicates({n: (record.version, record.digest) for n, record in found.items()}) if found else None
        )

    def _fork(self, resource: str, known: _Resource) -> Forked:
        """Somebody saw changes that this history lacks: go on under another epoch."""
        known.epoch = next_epoch(known.epoch, self._wall_ms())
        known.restarted = None
        self._resources[resource] = known
        return Forked(known.epoch)


class MemoryLog:
    """The port `OpLog` over a `MemoryHistory` (an own one, unless one is given)."""

    def __init__(self, history: MemoryHistory | None = None, bus: Bus | None = None) -> None:
        self.history = MemoryHistory() if history is None else history
        self._bus = bus
        self.pacing = Pacing()

    def lane(self, resource: str) -> int:
        return 0

    async def open(self, resource: str) -> Opening:
        await trio.lowlevel.checkpoint()
        return self.history.open(resource)

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        await trio.lowlevel.checkpoint()
        return [self._append(batch) for batch in batches]

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        return self.history.read(resource, after, limit)

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return self.history.snapshot(resource, version)

    async def save_snapshot(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        await trio.lowlevel.checkpoint()
        self.history.save_snapshot(resource, epoch, snapshot)

    async def recent(self, clients: Sequence[ClientKey], since: int) -> Sequence[Sequence[Submitted]]:
        await trio.lowlevel.checkpoint()
        return [self.history.recent(client, since) for client in clients]

    async def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        await trio.lowlevel.checkpoint()
        return self.history.own_changes(client, limit)

    async def purge(self, resource: str) -> int:
        await trio.lowlevel.checkpoint()
        epoch = self.history.purge(resource)
        self._announce(Announcement(resource, epoch, 0, "", ()))
        return epoch

    def _append(self, batch: Batch) -> Outcome:
        outcome = self.history.append(batch)
        if isinstance(outcome, Committed):
            self._announce(batch)
        elif isinstance(outcome, Forked):
            epoch, version = self.history.head(batch.resource)
            self._announce(Announcement(batch.resource, epoch, version, "", ()))
        return outcome

    def _announce(self, news: Batch | Announcement) -> None:
        if self._bus is not None:
            self._bus.publish(news.resource, encode(news))
