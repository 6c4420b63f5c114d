"""Resource -> room on one worker: opens rooms and closes them.

Rooms never wait. The committer (`committer.py`) appends what they have pending, the listener (`listener.py`)
gives them what others committed, and what they lack is brought from the log (`catch_up.py`). Which are idle
is looked after by `tidying.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

import orjson
import trio

from gateway import ot
from gateway.config import Config
from gateway.errors import LogDamaged, LogUnavailable, Refusal, unavailable
from gateway.hub import replay
from gateway.hub.catch_up import CatchUp
from gateway.hub.children import Children
from gateway.hub.committer import Committer
from gateway.hub.index_rules import IndexRules
from gateway.hub.listener import Listener
from gateway.hub.log_errors import counted, counted_unavailable, is_done
from gateway.hub.overload import Overload
from gateway.hub.past_calendars import PastCalendars
from gateway.hub.remote_presence import RemotePresence
from gateway.hub.sanitising import Sanitising
from gateway.hub.settled import Settled
from gateway.hub.tidying import Tidying
from gateway.ports import (
    Bus,
    Group,
    Leases,
    OpLog,
    Rules,
    Snapshot,
    TopicListener,
)
from gateway.ports.tracing import Tracer
from gateway.rooms.context import RoomContext
from gateway.rooms.room import Room
from gateway.runtime.background import Background
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices
from gateway.wire import announcement
from gateway.wire.announcement import Announcement
from gateway.wire.checksum import damage

logger = logging.getLogger(__name__)

FOLLOW_PAUSE_S = 1.0


class _Transition:
    """A room that is being opened or closed; `error`: why it couldn't be opened."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: LogUnavailable | None = None


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
        tracer: Tracer | None = None,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        limits = config.limits
        self.config = config
        self.log = log
        self.rules: Rules = IndexRules(rules)
        self.counters = counters
        self.wall_ms = wall_ms
        self.now_s = now_s
        self.patch_limits = ot.Limits(
            depth_max=limits.depth_max,
            patch_operations_max=limits.patch_operations_max,
            copied_bytes_max=limits.document_bytes_max,
        )
        self.bus = bus
        self._rooms: dict[str, Room] = {}
        self._transitions: dict[str, _Transition] = {}
        self._rosters: dict[Room, None] = {}
        self._rosters_due = trio.Event()
        self._background = Background()
        self._remote_presence: RemotePresence | None = None
        if leases is not None:
            self._remote_presence = RemotePresence(config.presence, bus, leases, self._rooms, wall_ms, now_s)
        self.catch_up = CatchUp(
            config, log, self.rules, counters, self._rooms, self.patch_limits, wall_ms, self._background
        )
        self.children = Children(self.open, self.purge, self.at_head, now_s, self._background)
        self.past_calendars = PastCalendars(log, now_s)
        self.catch_up.on_changes = self._took_changes
        self.catch_up.on_other_history = self._began_anew
        sanitising = Sanitising(rules, config.timeouts.sanitise_timeout_s)
        self.overload = Overload(counters, now_s, limits.edit_wait_max_s)
        self.listener = Listener(
            self._rooms, self._heard, self.catch_up, self._remote_presence, counters, tracer
        )
        self.settled = Settled(config, self.listener, self.children, self._save_snapshot_soon)
        self._committer = Committer(
            log,
            counters,
            now_s,
            self.catch_up,
            sanitising,
            self.overload,
            self.settled.done,
            self._background,
            tracer,
            cpu_s,
        )
        self._context = self._made_context(make_group, tracer)
        self._tidying = Tidying(
            config, self._rooms, self.catch_up.pasts, self.overload, counters, self._evict, wall_ms, now_s
        )
        bus.attach(self.listener)

    def _made_context(self, make_group: Callable[[], Group], tracer: Tracer | None) -> RoomContext:
        presence = self._remote_presence
        return RoomContext(
            self.config,
            self.rules,
            self.counters,
            self.patch_limits,
            make_group,
            self.wall_ms,
            self.now_s,
            on_work=self._committer.lanes.add,
            on_roster=self._has_roster_due,
            share=None if presence is None else presence.share,
            new_nonce=announcement.new_nonce if tracer is None else tracer.new_nonce,
        )

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Commit, tell presence, tidy up; until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._background.run)
            nursery.start_soon(self._tell_presence)
            nursery.start_soon(self._tidying.run)
            if self._remote_presence is not None:
                await nursery.start(self._remote_presence.run)
            task_status.started()

    async def follow(self, topic: str, listener: TopicListener) -> None:
        """Have the messages of a topic that is no resource given to `listener`; returns when they come."""
        self.listener.topics[topic] = listener
        while True:
            try:
                await self.bus.subscribe(topic)
                return
            except LogUnavailable as error:
                counted(self.counters, error)
                await trio.sleep(FOLLOW_PAUSE_S)

    @property
    def rooms(self) -> Collection[Room]:
        """The rooms that are open."""
        return self._rooms.values()

    def edits_wait_s(self) -> float:
        """For how long an edit that comes now waits for others before it is committed."""
        return self._committer.lanes.wait_s()

    @property
    def busy(self) -> bool:
        """Whether any submission is on its way."""
        return any(room.busy for room in self._rooms.values())

    async def idle(self) -> None:
        """Wait until no submission is on its way."""
        while self.busy:
            await self._committer.next_round()

    async def written(self) -> None:
        """Wait until no submission is on its way, and what they changed is in its calendars' indexes."""
        await self.idle()
        await self.children.written()

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
            transition = self._transitions.get(resource)
            if transition is None:
                return await self._open(resource)
            await transition.done.wait()
            if transition.error is not None:  # whoever tries again waits as long, one after the other
                raise unavailable(transition.error) from transition.error

    async def _open(self, resource: str) -> Room:
        opening = self._transitions[resource] = _Transition()
        self.listener.expect(resource)
        try:
            await self.bus.subscribe(resource)
            loaded = await replay.load(self.log, resource, self.config.log.seq_kept)
            room = Room(resource, self._context, loaded.history)
            if self._remote_presence is not None:
                await self._remote_presence.fill(room)
            self._rooms[resource] = room
        except LogUnavailable as error:
            opening.error = error
            raise counted_unavailable(self.counters, error) from error
        finally:
            if resource not in self._rooms:
                with trio.CancelScope(shield=True):
                    await self.bus.unsubscribe(resource)
            self._end_transition(resource)
            self.listener.opened(resource)
        self.counters.rooms += 1
        self.counters.rooms_opened += 1
        self.children.opened(room)
        return room

    async def at_head(self, resource: str) -> Room | None:
        """The room of a resource as the log has it; one that is open is brought there.

        None: that can't be told now, for the log is away or the room was closed. Raises Refusal UNAVAILABLE.
        """
        known, room = self._rooms.get(resource), await self.open(resource)
        if room is not known:
            return room
        reached = await self.catch_up.reached(room)
        return room if reached and self._rooms.get(resource) is room else None

    def _end_transition(self, resource: str) -> None:
        """A room is open or closed, or couldn't be opened."""
        self._transitions.pop(resource).done.set()

    # ------------------------------------------------------------------------------------- after commits

    def _heard(self, room: Room, announced: Announcement) -> None:
        self._committer.heard(room, announced)

    def _took_changes(self, room: Room, before: Any) -> None:
        """A room took changes from the log. One that is closed by now is looked at when it is opened."""
        if self._rooms.get(room.resource) is room:
            self.children.caught_up(room, before)

    def _began_anew(self, room: Room) -> None:
        """A room took another history, which its summary doesn't know of."""
        if self.settled.note is not None:
            self.settled.note(room)
        self.children.began_anew(room)

    def _save_snapshot_soon(self, room: Room) -> None:
        self._background.start(self._save_snapshot, room.resource, room.epoch, room.version, room.document)

    async def _save_snapshot(self, resource: str, epoch: int, version: int, document: Any) -> None:
        try:
            await self.log.save_snapshot(resource, epoch, Snapshot(version, orjson.dumps(document)))
        except LogUnavailable as error:
            self.counters.log_errors += 1
            logger.warning("no snapshot of %s at %d: %s", resource, version, error)

    async def purge(self, resource: str) -> Room:
        """Erase a resource, be it damaged; its room goes on, empty, in a new epoch.

        Raises Refusal UNAVAILABLE; also where it is erased but can't be opened again yet.
        """
        document = None
        try:
            document = (await self.open(resource)).document
        except Refusal as refusal:
            if not isinstance(refusal.__cause__, LogDamaged):
                raise
        calendars = set[str]()
        looked = await self._calendars_of(resource, document, calendars)
        async with self.children.purging(resource, calendars):
            await self._calendars_of(
                resource, document, calendars, looked
            )  # it may have been moved meanwhile
            try:
                await self.log.purge(resource)
            except LogUnavailable as error:
                if error.outcome == "unknown":
                    self.catch_up.soon(resource)
                raise counted_unavailable(self.counters, error, error.outcome) from error
            damage.forget(resource)
            try:
                with is_done():
                    room = await self.open(resource)
                    await self.catch_up.reopen(room)
            finally:
                self.children.purged(resource, calendars)  # once the room has nothing more to put there
        return room

    async def _calendars_of(self, resource: str, document: Any, found: set[str], after: int = 0) -> int:
        try:
            return await self.past_calendars.find(resource, document, found, after)
        except LogUnavailable as error:
            raise counted_unavailable(self.counters, error) from error

    # --------------------------------------------------------------------------------------- background

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

    async def _evict(self, room: Room) -> None:
        idle_since_s = room.idle_since_s
        if room.version > room.history.snapshot_version:
            await self._save_snapshot(room.resource, room.epoch, room.version, room.document)
        if self._rooms.get(room.resource) is not room or room.idle_since_s != idle_since_s:
            return  # somebody has opened it meanwhile
        if room.subscriber_count or room.busy:
            return
        del self._rooms[room.resource]
        room.roster.let_go()
        self._committer.forget(room)
        self.children.forget(room)
        self.counters.rooms -= 1
        self.counters.rooms_evicted += 1
        self._transitions[room.resource] = _Transition()  # whoever wants the room waits for the bus
        try:
            await self.bus.unsubscribe(room.resource)
        finally:
            self._end_transition(room.resource)
