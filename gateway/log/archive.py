"""Moves changes from the outbox of a shared log to the archive, in order, and frees the log of them.

Each partition of the log has an outbox: what was appended, snapshots that were saved, histories that began
anew. A partition is leased by one worker at a time; were it two, nothing would break, since storing is
idempotent. `PartitionOutbox` and `Store` are the two ends; `Archiver` is what runs in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import trio

from gateway.errors import ArchiveAway, ArchiveMismatch, LogDamaged, LogUnavailable
from gateway.log.lag import Lag
from gateway.ports import Record, Snapshot
from gateway.runtime.clock import unix_ms
from gateway.runtime.outage import Outage
from gateway.runtime.timeslice import Slices
from gateway.wire.announcement import Announcement

logger = logging.getLogger(__name__)

# Entries that are moved in one transaction, about: the more, the fewer transactions; bounds memory.
ENTRIES_A_STEP = 10_000
ENTRIES_A_PARTITION_MIN = 20
# So large the documents of one may become: an entry of a few bytes stands for one of a snapshot.
DOCUMENTS_BYTES_MAX = 64 << 20
IDLE_INTERVAL_S = 0.5
RETRY_INTERVAL_S = 1.0
# A partition in whose way something is rests for so long: a purge mends that, or whoever removes it.
REST_S = 60.0
FILL_RECORDS = 1000
HEADS_MAX = 200_000

Kind = Literal["change", "epoch", "purge", "snapshot"]


class ArchiveEntry(NamedTuple):
    """One entry of an outbox: `news` was appended ("change"), or began a history ("epoch", "purge").

    A "snapshot" was saved of `news.epoch` at version `news.base`. `stamp_ms` is when the entry was made,
    `size` the bytes that it takes in the outbox.
    """

    id: str
    kind: Kind
    news: Announcement
    stamp_ms: int
    size: int


class Mark(NamedTuple):
    """What of a partition is archived: its entries up to `last_id`, of `size` bytes; its resources' heads.

    A head is an epoch and a version.
    """

    last_id: str
    size: int
    heads: Mapping[str, tuple[int, int]]


class PartitionOutbox(Protocol):
    """The log's side. Methods raise LogUnavailable where nothing of the log answers.

    `damaged` are the partitions whose oldest entry, when it was looked at last, wasn't what was written.
    `trouble` is why part of the log didn't answer last, for people, "" where all did.
    """

    damaged: set[int]
    trouble: str

    async def take(self, count: int, without: Collection[int] = ()) -> Mapping[int, Sequence[ArchiveEntry]]:
        """The oldest entries, at most `count`, of each partition that this worker holds or now gets.

        Those of `without` aren't looked at: what is held of them stays held. One that doesn't answer isn't.
        """
        ...

    async def document(self, resource: str, epoch: int, version: int) -> bytes | None:
        """The snapshot at exactly this version; None where the log no longer has it."""
        ...

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        """As `OpLog.read`, from what the log itself keeps; empty where it doesn't keep `after + 1`."""
        ...

    async def kept(self, resource: str) -> SavedSnapshot | None:
        """The document after which the changes that the log itself keeps begin; None where there is none."""
        ...

    async def done(self, marks: Mapping[int, Mark]) -> None:
        """Drop what is archived of these partitions. Where it fails, the entries are taken again."""
        ...

    async def release(self) -> None:
        """Give up every partition that this worker holds."""
        ...


class SavedSnapshot(NamedTuple):
    """A snapshot of a resource's epoch."""

    resource: str
    epoch: int
    snapshot: Snapshot


@dataclass(slots=True)
class Transfer:
    """What is stored in one transaction; lists are in the order of the log, resource by resource.

    `documents_bytes` is the size of its snapshots. `gaps` are resources, each with the first and the last
    version that nobody has any more.
    """

    changes: list[Announcement] = field(default_factory=list)
    snapshots: list[SavedSnapshot] = field(default_factory=list)
    epochs: list[Announcement] = field(default_factory=list)
    purges: list[Announcement] = field(default_factory=list)
    documents_bytes: int = 0
    gaps: list[tuple[str, int, int]] = field(default_factory=list)

    def add_snapshot(self, saved: SavedSnapshot) -> None:
        self.snapshots.append(saved)
        self.documents_bytes += len(saved.snapshot.document)

    def without_erased(self) -> Transfer:
        """The same, without what its purges erase: that may be what the archive can't take."""
        begun = {purge.resource: purge.epoch for purge in self.purges}
        changes, epochs = (
            [item for item in items if item.epoch >= begun.get(item.resource, item.epoch)]
            for items in (self.changes, self.epochs)
        )
        snapshots = [item for item in self.snapshots if item.epoch >= begun.get(item.resource, item.epoch)]
        return Transfer(changes, snapshots, epochs, self.purges, self.documents_bytes, self.gaps)


class Store(Protocol):
    """The archive's side."""

    async def store(self, transfer: Transfer) -> None:
        """Store all or nothing; what is there already is passed over.

        Raises ArchiveMismatch where another change is stored at a version, ArchiveAway where the archive
        can't be reached, LogUnavailable otherwise.
        """
        ...

    async def heads(self, resources: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Epoch and version of the resources that the archive has; asks it even for none."""
        ...


@dataclass(slots=True)
class ArchiveNumbers:
    """What an archiver counts; `trouble` is why it waits, for people, "" while it doesn't.

    `store_away`: the last step failed for the archive couldn't be reached. `blocked` are the partitions that
    stand still, for the archive holds other changes or their oldest entry is damaged.
    """

    changes: int = 0
    failures: int = 0
    gaps: int = 0
    waiting: int = 0
    trouble: str = ""
    store_away: bool = False
    blocked: set[int] = field(default_factory=set)


class _Rest(NamedTuple):
    """A partition isn't looked at before `until_s` of Trio's clock; so many entries wait there, at least."""

    until_s: float
    waiting: int


class Archiver:
    """Moves the entries of the partitions that this worker gets hold of. `run` serves until cancelled."""

    def __init__(self, outbox: PartitionOutbox, store: Store, wall_ms: Callable[[], int] = unix_ms) -> None:
        self._outbox = outbox
        self._store = store
        self._heads: dict[str, tuple[int, int]] = {}
        self._busy = ENTRIES_A_STEP
        self._resting: dict[int, _Rest] = {}
        self._lag = Lag(wall_ms)
        self._outage = Outage(logger, "the archive waits")
        self.numbers = ArchiveNumbers()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            while True:
                pause_s = await self._turn()
                await trio.sleep(pause_s)
        finally:
            with trio.move_on_after(1, shield=True):
                await self._release()

    @property
    def lag_ms(self) -> int:
        """The age of the oldest entry that is known not to be archived; it grows while all fails."""
        return self._lag.ms

    async def step(self) -> int:
        """Move what waits now; the number of entries. Raises LogUnavailable."""
        count = max(ENTRIES_A_PARTITION_MIN, ENTRIES_A_STEP // self._busy)
        now_s = trio.current_time()
        self._resting = {number: rest for number, rest in self._resting.items() if rest.until_s > now_s}
        asked = await self._outbox.take(count, self._resting.keys())
        for number in self._outbox.damaged:
            self._block(number, "its oldest entry is damaged")
        taken = {number: entries for number, entries in asked.items() if entries}
        self._busy = max(1, len(taken))
        self._measure(taken)
        if taken:
            await self._move_each(taken)
        self.numbers.blocked &= self._resting.keys()  # the others went on, here or with another worker
        return sum(map(len, taken.values()))

    async def _move_each(self, taken: Mapping[int, Sequence[ArchiveEntry]]) -> None:
        """Move these partitions, at once where nothing is in the way of any."""
        try:
            await self._move(taken)
        except (ArchiveMismatch, LogDamaged):
            for partition, entries in taken.items():
                await self._move_alone(partition, entries)

    async def _turn(self) -> float:
        """One step; how long to wait before the next one, in seconds."""
        try:
            moved = await self.step()
        except LogUnavailable as error:
            self._outage.lasts(str(error))
            return self._failed(str(error), isinstance(error, ArchiveAway))
        except Exception as error:
            logger.exception("bug in the archiver")
            return self._failed(repr(error))
        self._went_well(self._trouble)
        return 0 if moved >= ENTRIES_A_STEP // 2 and not self._outbox.trouble else IDLE_INTERVAL_S

    @property
    def _trouble(self) -> str:
        """Why a part of the log isn't archived now: what is in the way, or away; "" where all is."""
        if self._damaged:
            return f"something damaged is in the way of partitions {_listed(self._damaged)}"
        if self.numbers.blocked:
            return (
                f"partitions {_listed(self.numbers.blocked)} stand still, for it holds other changes of "
                "theirs, or their oldest entry is damaged: the log says which"
            )
        return self._outbox.trouble

    @property
    def _damaged(self) -> Collection[int]:
        """The partitions that rest for changes that are to be filled in are damaged."""
        return self._resting.keys() - self.numbers.blocked

    def _went_well(self, trouble: str) -> None:
        """Note a step that moved all that it could; `trouble` is why it couldn't reach the rest."""
        if trouble:
            self._outage.lasts(f"a part of the log isn't archived: {trouble}")
        else:
            self._outage.over()
        self.numbers.trouble, self.numbers.store_away = trouble, False

    def _failed(self, trouble: str, store_away: bool = False) -> float:
        """Note a step that came to nothing; how long to wait before the next one, in seconds."""
        self.numbers.failures += 1
        self.numbers.trouble, self.numbers.store_away = trouble, store_away
        self._heads.clear()
        self._lag.stays()
        return RETRY_INTERVAL_S

    async def _release(self) -> None:
        try:
            await self._outbox.release()
        except LogUnavailable as error:
            logger.info("the archive's leases run out by themselves: %s", error)

    def _measure(self, taken: Mapping[int, Sequence[ArchiveEntry]]) -> None:
        blocked = self.numbers.blocked  # which are told by themselves
        oldest = [entries[0].stamp_ms for number, entries in taken.items() if number not in blocked]
        if self._outbox.trouble or self._damaged:  # as old as what waits there
            oldest.append(self._lag.stays())
        self._lag.since(min(oldest, default=None))
        resting = sum(self._resting[number].waiting for number in self._damaged)
        self.numbers.waiting = sum(map(len, taken.values())) + resting

    async def _move_alone(self, partition: int, entries: Sequence[ArchiveEntry]) -> None:
        """Move one partition. It rests where the log has damaged changes; and with an alarm where the archive
        holds others."""
        try:
            await self._move({partition: entries})
        except LogDamaged as error:
            logger.error("partition %d isn't archived for now: %s", partition, error)
            self.numbers.blocked.discard(partition)
            self._rest(partition, len(entries))
        except ArchiveMismatch as error:
            self._block(partition, str(error))

    def _rest(self, partition: int, waiting: int) -> None:
        self._resting[partition] = _Rest(trio.current_time() + REST_S, waiting)

    def _block(self, partition: int, reason: str) -> None:
        self._rest(partition, 0)
        if partition in self.numbers.blocked:
            return
        self.numbers.blocked.add(partition)
        logger.critical("partition %d isn't archived nor trimmed: %s", partition, reason)

    async def _move(self, taken: Mapping[int, Sequence[ArchiveEntry]]) -> None:
        transfer, added = await self._transfer(taken)
        await self._store.store(transfer.without_erased() if transfer.purges else transfer)
        self.numbers.changes += sum(len(change.records) for change in transfer.changes)
        self._tell_gaps(transfer.gaps)
        await self._outbox.done({number: self._mark(entries) for number, entries in added.items()})

    def _tell_gaps(self, gaps: Sequence[tuple[str, int, int]]) -> None:
        self.numbers.gaps += len(gaps)
        for gap in gaps:
            logger.error("%s: the archive lacks versions %d to %d, and the log no longer has them", *gap)

    def _mark(self, entries: Sequence[ArchiveEntry]) -> Mark:
        return Mark(entries[-1].id, sum(entry.size for entry in entries), self._note(entries))

    async def _transfer(
        self, taken: Mapping[int, Sequence[ArchiveEntry]]
    ) -> tuple[Transfer, Mapping[int, Sequence[ArchiveEntry]]]:
        """What is stored at once, and the entries that are in it: the rest is taken again."""
        transfer, added = Transfer(), dict[int, Sequence[ArchiveEntry]]()
        await self._learn_heads(taken.values())
        slices = Slices(trio.current_time)
        for number, entries in taken.items():
            added[number] = await self._add_all(transfer, entries)
            if transfer.documents_bytes >= DOCUMENTS_BYTES_MAX:
                break
            await slices.pause()
        return transfer, added

    async def _add_all(self, transfer: Transfer, entries: Sequence[ArchiveEntry]) -> Sequence[ArchiveEntry]:
        """Add these of one partition; those that were, for the documents may become too large."""
        reached: dict[str, tuple[int, int]] = {}
        for number, entry in enumerate(entries, 1):
            await self._add(transfer, entry, reached)
            if transfer.documents_bytes >= DOCUMENTS_BYTES_MAX:
                return entries[:number]
        return entries

    async def _add(
        self, transfer: Transfer, entry: ArchiveEntry, reached: dict[str, tuple[int, int]]
    ) -> None:
        """Add an entry, and what is missing before it; `reached` has the heads of its partition so far."""
        news = entry.news
        if entry.kind == "snapshot":
            await self._add_snapshot(transfer, news)
            return
        if entry.kind == "purge":
            transfer.purges.append(news)
        else:
            await self._add_missing(transfer, news, reached.get(news.resource))
            (transfer.epochs if entry.kind == "epoch" else transfer.changes).append(news)
        reached[news.resource] = news.epoch, news.base + len(news.records)

    async def _add_snapshot(self, transfer: Transfer, news: Announcement) -> None:
        document = await self._outbox.document(news.resource, news.epoch, news.base)
        if document is not None:
            transfer.add_snapshot(SavedSnapshot(news.resource, news.epoch, Snapshot(news.base, document)))

    async def _add_missing(
        self, transfer: Transfer, news: Announcement, reached: tuple[int, int] | None
    ) -> None:
        """Add what is missing between the head that is reached, or archived, and `news`."""
        head = reached or self._heads.get(news.resource, (news.epoch, 0))
        if _is_beyond(news, head):  # of what is known: another worker may have archived more meanwhile
            stored = await self._store.heads([news.resource])
            head = max(head, stored.get(news.resource, head))
        if _is_beyond(news, head):
            await self._fill(transfer, news, head[1])

    async def _fill(self, transfer: Transfer, news: Announcement, after: int) -> None:
        """Add what the log keeps of the history between a version and `news`, none of which ever was in the
        outbox: the archive was added later."""
        while after < news.base:
            records = await self._outbox.read(news.resource, after, min(FILL_RECORDS, news.base - after))
            if records and records[0].version == after + 1:
                transfer.changes.append(Announcement(news.resource, news.epoch, after, "", records))
                after = records[-1].version
            else:
                after = await self._pass_gap(transfer, news, after)

    async def _pass_gap(self, transfer: Transfer, news: Announcement, after: int) -> int:
        """Note what nobody has any more, and add the document at its end; the version of that."""
        kept = await self._outbox.kept(news.resource)
        end = news.base
        if kept is not None and after < kept.snapshot.version <= news.base:
            transfer.add_snapshot(kept)
            end = kept.snapshot.version
        transfer.gaps.append((news.resource, after + 1, end))
        return end

    async def _learn_heads(self, taken: Collection[Sequence[ArchiveEntry]]) -> None:
        names = {entry.news.resource for entries in taken for entry in entries}
        unknown = sorted(names - self._heads.keys())
        if unknown:
            self._heads.update(await self._store.heads(unknown))

    def _note(self, entries: Sequence[ArchiveEntry]) -> Mapping[str, tuple[int, int]]:
        """Remember, and return, the heads that these entries reach."""
        reached: dict[str, tuple[int, int]] = {}
        for entry in entries:
            news = entry.news
            if entry.kind != "snapshot":
                reached[news.resource] = news.epoch, news.base + len(news.records)
        if len(self._heads) > HEADS_MAX:
            self._heads.clear()
        self._heads.update(reached)
        return reached


def _listed(partitions: Collection[int]) -> str:
    return ", ".join(map(str, sorted(partitions)))


def _is_beyond(news: Announcement, head: tuple[int, int]) -> bool:
    """Whether there are changes of its epoch between a head (epoch and version) and what it holds."""
    return head[0] <= news.epoch and news.base > head[1]
