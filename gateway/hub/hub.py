"""Resource -> room on one worker: opens and evicts rooms, brings older versions, follows the bus.

Rooms never wait; the hub does, and the committer (`committer.py`), which appends what rooms have pending.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any, NamedTuple

import orjson
import trio

from gateway import ot
from gateway.config import Config
from gateway.errors import LogTrimmed, LogUnavailable, Refusal, retry_after_ms
from gateway.hub import replay
from gateway.hub.committer import Committer
from gateway.hub.recovery import Recovery
from gateway.hub.remote_presence import RemotePresence
from gateway.hub.sanitising import Sanitising
from gateway.ports import (
    Absent,
    Bus,
    ClientKey,
    Failed,
    Forked,
    Group,
    Leases,
    OpLog,
    Outcome,
    Rules,
    Snapshot,
)
from gateway.rooms.context import RoomContext
from gateway.rooms.room import Room
from gateway.rooms.window import Entry
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices
from gateway.wire import announcement
from gateway.wire.announcement import Announcement

logger = logging.getLogger(__name__)

CATCH_UP_PAUSE_S = 1.0
LANDING_POLL_S = 0.02
# Announcements of one room that are kept while an append is under way.
HELD_MAX = 256


def unavailable(error: LogUnavailable) -> Refusal:
    """The refusal of what the log was needed for, and can't be reached."""
    text = f"The log cannot be reached: {error}. Try again."
    return Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=retry_after_ms())


class Pending:
    """A room that is being opened: who waits for it, and what the bus brought meanwhile."""

    __slots__ = ("done", "missed")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.missed: list[bytes] = []


class Lowered(NamedTuple):
    """Operations on the document at version `base`; `on_nothing`: there was none where they began."""

    operations: ot.Operations
    base: int
    on_nothing: bool


class Hub:
    """The open rooms of one worker. `run` must be running; without a log methods raise UNAVAILABLE."""

    def __init__(
        self,
        config: Config,
        log: OpLog,
        bus: Bus,
        rules: Rules,
        counters: Counters,
        make_group: Callable[[], Group],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
        leases: Leases | None = None,
    ) -> None:
        limits = config.limits
        self.config = config
        self.log = log
        self.rules = rules
        self.counters = counters
        self.wall_ms = wall_ms
        self.now_s = now_s
        self.patch_limits = ot.Limits(
            depth_max=limits.depth_max,
            patch_operations_max=limits.patch_operations_max,
            copied_bytes_max=limits.document_bytes_max,
        )
        sanitising = Sanitising(rules, config.timeouts.sanitise_timeout_s)
        self.committer = Committer(log, counters, now_s, self._after_commit, sanitising)
        self._bus = bus
        self._recovery = Recovery(log, rules, counters)
        self._rooms: dict[str, Room] = {}
        self._opening: dict[str, Pending] = {}
        self._catching_up: set[str] = set()
        self._held: dict[str, list[Announcement]] = {}
        self._rosters: dict[Room, None] = {}
        self._rosters_due = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._neighbours: RemotePresence | None = None
        if leases is not None:
            self._neighbours = RemotePresence(config.presence, bus, leases, self._rooms, wall_ms, now_s)
        self._context = RoomContext(
            config,
            rules,
            counters,
            self.patch_limits,
            make_group,
            wall_ms,
            now_s,
            self.committer.add,
            self._has_roster_due,
            None if self._neighbours is None else self._neighbours.share,
        )
        bus.attach(self)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Commit, tell presence, tidy up; until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._tell_presence)
            nursery.start_soon(self._tidy_up)
            await nursery.start(self.committer.run)
            if self._neighbours is not None:
                await nursery.start(self._neighbours.run)
            task_status.started()

    @property
    def rooms(self) -> Collection[Room]:
        """The rooms that are open."""
        return self._rooms.values()

    @property
    def busy(self) -> bool:
        """Whether any submission is on its way."""
        return any(room.busy for room in self._rooms.values())

    # ------------------------------------------------------------------------------------- opening

    def get(self, resource: str) -> Room | None:
        """The room of a resource, where it is open."""
        return self._rooms.get(resource)

    async def open(self, resource: str) -> Room:
        """The room of a resource, opened from the log where it isn't open; raises Refusal UNAVAILABLE."""
        while True:
            room = self._rooms.get(resource)
            if room is not None:
                room.idle_since_s = self.now_s()  # so that it isn't evicted before it is used
                return room
            opening = self._opening.get(resource)
            if opening is None:
                return await self._open(resource)
            await opening.done.wait()

    async def _open(self, resource: str) -> Room:
        opening = self._opening[resource] = Pending()
        try:
            await self._bus.subscribe(resource)
            loaded = await replay.load(self.log, resource, self.config.log.seq_kept)
            room = Room(resource, self._context, loaded.history)
            if self._neighbours is not None:
                await self._neighbours.fill(room)
            self._rooms[resource] = room
        except LogUnavailable as error:
            self.counters.log_errors += 1
            raise unavailable(error) from error
        finally:
            del self._opening[resource]
            opening.done.set()
        self.counters.rooms += 1
        self.counters.rooms_opened += 1
        for payload in opening.missed:
            self._hear(resource, payload)
        return room

    async def load_client(self, room: Room, user_id: str, client_id: str) -> None:
        """Bring a client's latest submissions from the log, so that its resends are recognised."""
        key = ClientKey(room.resource, user_id, client_id)
        since_ms = self.wall_ms() - int(self.config.log.seq_kept_h * 3_600_000)
        while True:
            epoch, version = room.epoch, room.version
            try:
                [submitted] = await self.log.recent([key], since_ms)
            except LogUnavailable as error:
                self.counters.log_errors += 1
                raise unavailable(error) from error
            history = room.history
            if history.epoch == epoch and history.covers(version):
                break
        memory = {item.seq: (item.version, item.digest) for item in reversed(submitted)}
        for kept in history.since(version):  # what came while the log was asked
            record = kept.record()
            if record.seq is not None and (record.user_id, record.client_id) == (user_id, client_id):
                memory[record.seq] = (record.version, record.digest)
        history.learn(user_id, client_id, memory)

    # ----------------------------------------------------------------------------------- older versions

    async def bodies_after(self, room: Room, version: int) -> Sequence[bytes]:
        """The changes after `version` up to the head, as JSON. The head is the one at the return."""
        bodies: list[bytes] = []
        while (upto := room.history.start) > version:
            before = version
            async for record in replay.records_after(self.log, room.resource, version, upto):
                bodies.append(record.body)
                version = record.version
            if version == before:  # the log doesn't have what the room is said to continue
                await self.catch_up(room)
        bodies += [kept.body for kept in room.history.since(version)]
        return bodies

    async def entries_after(self, room: Room, version: int) -> Sequence[Entry]:
        """The changes after `version` up to the head, with their documents. The head is the one at return."""
        entries: list[Entry] = []
        while (upto := room.history.start) > version:
            before = version
            async for entry in replay.entries_after(self.log, room.resource, version, upto):
                entries.append(entry)
                version = entry.record.version
            if version == before:
                await self.catch_up(room)
        entries += [kept.entry() for kept in room.history.since(version)]
        return entries

    async def lower_at(self, room: Room, base: int, patch: list[dict[str, Any]], strict: bool) -> Lowered:
        """A patch on a base that left the window: its operations past what came since, on a newer base.

        Raises PatchError like `ot.lower` and `ot.rebase`, Refusal VERSION_TOO_OLD where the log no longer has
        that base, or has another history by now.
        """
        epoch = room.epoch
        try:
            document = await replay.document_at(self.log, room.resource, base)
            strategies = self.rules.strategies(room.type)
            operations: ot.Operations = ot.lower(document, patch, strategies, self.patch_limits)
            while (upto := room.history.start) > base:
                before = base
                async for entry in replay.entries_after(self.log, room.resource, base, upto):
                    operations = ot.rebase(operations, [entry.operations], strict)
                    base = entry.record.version
                if base == before:
                    await self.catch_up(room)
        except LogTrimmed as error:
            text = f"{error}: resume, merge and resubmit."
            raise Refusal("VERSION_TOO_OLD", text, version=room.version, **room.name()) from error
        room.check_epoch(epoch)
        return Lowered(operations, base, document is None)

    # ------------------------------------------------------------------------------------- after commits

    def _after_commit(self, room: Room, outcome: Outcome) -> Awaitable[None] | None:
        """What the log's answer asks for beyond the room itself; an awaitable where that has to wait."""
        for announced in self._held.pop(room.resource, ()):
            self._take_announced(room, announced)
        limits = self.config.limits
        room.trim(limits.window_versions_max, limits.window_bytes_max)
        history = room.history
        if history.version - history.snapshot_version >= self.config.log.snapshot_versions:
            history.snapshot_version = history.version
            self._start(self._save_snapshot, room.resource, history.epoch, history.version, history.document)
        if isinstance(outcome, Absent | Forked):
            return self._reopen(room)
        if isinstance(outcome, Failed) and outcome.outcome == "unknown":
            self._catch_up_soon(room.resource)
        return None

    async def _save_snapshot(self, resource: str, epoch: int, version: int, document: Any) -> None:
        try:
            await self.log.save_snapshot(resource, epoch, Snapshot(version, orjson.dumps(document)))
        except LogUnavailable:
            self.counters.log_errors += 1
            logger.warning("no snapshot of %s at %d: the log cannot be reached", resource, version)

    async def _reopen(self, room: Room) -> None:
        """The log says that its history isn't the room's: take the log's, and bring subscribers there."""
        try:
            await self.catch_up(room)
        except LogUnavailable:
            self.counters.log_errors += 1
            self._catch_up_soon(room.resource)

    async def purge(self, resource: str) -> Room:
        """Erase a resource; its room goes on, empty, in a new epoch. Raises Refusal UNAVAILABLE."""
        room = await self.open(resource)
        try:
            await self.log.purge(resource)
        except LogUnavailable as error:
            self.counters.log_errors += 1
            raise unavailable(error) from error
        await self._reopen(room)
        return room

    # ---------------------------------------------------------------------------------------------- bus

    def on_message(self, resource: str, payload: bytes) -> None:
        """An announcement of the log, or another node's presence."""
        self.counters.bus_received += 1
        self._hear(resource, payload)

    def _hear(self, resource: str, payload: bytes) -> None:
        room = self._rooms.get(resource)
        if room is None:
            opening = self._opening.get(resource)
            if opening is not None:
                opening.missed.append(payload)
            return
        if not announcement.is_announcement(payload):
            if self._neighbours is not None:
                self._neighbours.on_message(room, payload)
            return
        announced = announcement.decode_heard(payload)
        if room.appending:
            self.committer.heard(room, announced)
            self._hold(resource, announced)
        else:
            self._take_announced(room, announced)

    def _take_announced(self, room: Room, announced: Announcement) -> None:
        """Apply what another node committed, or find out what this room lacks."""
        self.committer.heard(room, announced)
        forked = announced.epoch != room.epoch or not room.history.agrees(announced.records)
        if forked or not room.receive(announced.records):
            self._catch_up_soon(room.resource)

    def _hold(self, resource: str, announced: Announcement) -> None:
        """Keep an announcement until the append under way is answered, which may contradict it."""
        held = self._held.setdefault(resource, [])
        held.append(announced)
        if len(held) > HELD_MAX:
            held.clear()
            self._catch_up_soon(resource)

    def on_gap(self, resource: str | None) -> None:
        """Announcements may have been lost: compare with the log."""
        self.counters.bus_gaps += 1
        for name in [resource] if resource is not None else list(self._rooms):
            self._catch_up_soon(name)
            if self._neighbours is not None:
                self._neighbours.reconcile_soon(name)

    def _catch_up_soon(self, resource: str) -> None:
        if resource not in self._catching_up:
            self._catching_up.add(resource)
            self._start(self._catch_up_until_done, resource)

    async def _catch_up_until_done(self, resource: str) -> None:
        """Bring a room to the log's head, trying until the log answers."""
        try:
            while (room := self._rooms.get(resource)) is not None:
                try:
                    await self.catch_up(room)
                    return
                except LogUnavailable:
                    self.counters.log_errors += 1
                    await trio.sleep(CATCH_UP_PAUSE_S)
        finally:
            self._catching_up.discard(resource)

    async def catch_up(self, room: Room) -> None:
        """Bring a room to the log's head now; raises LogUnavailable."""
        while not await self._caught_up(room):  # noqa: ASYNC110  (rooms do not signal their landings)
            await trio.sleep(LANDING_POLL_S)

    async def _caught_up(self, room: Room) -> bool:
        """One try; False while an append is under way, for what was read may hold its batch already.

        The append's own answer carries that batch out, so that its author gets the OP_ACK.
        """
        known = room.version  # the log may not end before this: it was read after
        opened = await self.log.open(room.resource)
        records = opened.records
        head = records[-1].version if records else opened.snapshot.version
        if opened.epoch == room.epoch and known <= head <= room.version:
            return True
        if room.appending:
            return False
        if opened.epoch != room.epoch or head < known:
            return await self._take_other_history(room)
        if records and room.receive(records):
            return True
        return await self._receive_upto(room, head)  # the snapshot may be beyond the room's head

    async def _take_other_history(self, room: Room) -> bool:
        """Go over to the log's history, and bring back into it what only the room knows; False: try again."""
        known: set[Hashable] = set()
        while True:
            version = room.version
            loaded = await replay.load(self.log, room.resource, self.config.log.seq_kept)
            fresh = loaded.history
            if (fresh.epoch, fresh.version) == (room.epoch, version) and ot.identical(
                fresh.document, room.document
            ):
                return True  # another one who caught up was faster
            if await self._recovery.bring_back(room.resource, room.history, loaded, known):
                break
        if room.appending or room.version != version:
            return False
        room.replace_history(loaded.history)
        return True

    async def _receive_upto(self, room: Room, version: int) -> bool:
        missing = replay.records_after(self.log, room.resource, room.version, version)
        records = [record async for record in missing]
        if room.appending:
            return False
        return room.receive(records) or await self._take_other_history(room)

    # --------------------------------------------------------------------------------------- background

    def _start(self, function: Callable[..., Any], *arguments: Any) -> None:
        assert self._nursery is not None, "the hub isn't running"
        self._nursery.start_soon(function, *arguments)

    def _has_roster_due(self, room: Room) -> None:
        self._rosters[room] = None
        self._rosters_due.set()

    async def _tell_presence(self) -> None:
        """Tell held-back presence in due time."""
        while True:
            await self._rosters_due.wait()
            await trio.sleep(self.config.presence.update_interval_ms / 1000)
            rooms, self._rosters = self._rosters, {}
            self._rosters_due = trio.Event()
            slices = Slices(self.now_s)
            for room in rooms:
                room.roster.tick(self.wall_ms())
                if room.roster.due:
                    self._has_roster_due(room)
                await slices.pause()

    async def _tidy_up(self) -> None:
        """Once a second: evict idle rooms, and bound what the others keep."""
        while True:
            await trio.sleep(1)
            idle_before_s = self.now_s() - self.config.timeouts.room_idle_s
            rooms = self._rooms.values()
            idle = [room for room in rooms if room.idle_since_s <= idle_before_s and not room.busy]
            slices = Slices(self.now_s)
            for room in idle:
                if room.subscriber_count:
                    room.trim(0, 0)
                else:
                    await self._evict(room)
                await slices.pause()
            self._bound_windows()

    async def _evict(self, room: Room) -> None:
        if room.version > room.history.snapshot_version:
            await self._save_snapshot(room.resource, room.epoch, room.version, room.document)
        if room.subscriber_count or room.busy or self._rooms.get(room.resource) is not room:
            return
        del self._rooms[room.resource]
        self.counters.rooms -= 1
        self.counters.rooms_evicted += 1
        closing = self._opening[room.resource] = Pending()  # whoever wants the room waits for the bus
        try:
            await self._bus.unsubscribe(room.resource)
        finally:
            del self._opening[room.resource]
            closing.done.set()

    def _bound_windows(self) -> None:
        """Keep all windows within their budget: the rooms that were idle longest give theirs up first."""
        total = sum(room.history.window.bytes for room in self._rooms.values())
        budget = self.config.limits.windows_bytes_max
        if total > budget:
            for room in sorted(self._rooms.values(), key=lambda room: room.idle_since_s):
                total -= room.history.window.bytes
                room.trim(0, 0)
                total += room.history.window.bytes
                if total <= budget:
                    break
        self.counters.window_bytes = total
