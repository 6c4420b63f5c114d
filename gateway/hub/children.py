"""The events of each calendar as summaries: an index that is a resource of the log itself.

The index of calendar C is the hidden resource `children:C`, an object with an item for each event. A worker
that finds an event's summary changed writes it there by an ordinary change, so that it is ordered, kept and
told to every node as all changes are. It is late by one append; what a crash left out is made up for when
the event is opened again. An event that is purged is taken out of the index first; then the index begins
anew, so that its history has nothing of the event either.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from gateway import ot
from gateway.errors import LogDamaged, Refusal
from gateway.hub.child_items import (
    CHILD,
    Items,
    changes,
    differences,
    is_shown_otherwise,
    parent_of,
    parents_in,
)
from gateway.hub.doubts import AT_ONCE_MAX, Doubts
from gateway.hub.index_rules import INDEX
from gateway.ports import Record
from gateway.ports.log import GATEWAY_USER_ID
from gateway.rooms.room import Room
from gateway.rooms.waiter import commit
from gateway.runtime.background import Background
from gateway.runtime.timeslice import Slices

logger = logging.getLogger(__name__)

# Between tries; twice as long each time where an index refuses for good.
RETRY_MIN_S, RETRY_MAX_S = 1.0, 16.0
# By then who purged an index has put there what stays.
LOOK_AGAIN_S = 1.0
# A purge waits for so long until calendars don't show its event any more.
HIDE_MAX_S = 1.0
# So many events are brought up to date, or taken out, by one change.
TOGETHER_MAX = 100
# An event that an index refuses by another code would be refused again.
AGAIN = ("UNAVAILABLE", "CONFLICT", "VERSION_TOO_OLD")

Tell = Callable[[Items, Items], None]
"""Takes the items that came or changed, and those that went."""


@dataclass(slots=True)
class Due:
    """What an index is late by: events that may have changed, and ids of those that were purged.

    `kept` are the items of an index that begins anew, until they are written.
    """

    events: dict[str, Room] = field(default_factory=dict)  # by id: one that is opened again is another room
    purged: set[str] = field(default_factory=set)
    kept: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.events or self.purged)

    def try_again(self, failed: Due) -> None:
        """What was due before this wasn't done."""
        self.events = failed.events | self.events
        self.purged |= failed.purged
        self.kept = failed.kept


class Watched:
    """An index that is looked at: what was told of it last, and to whom it is told."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.items: Items = room.document or {}
        self.tells: dict[Tell, None] = {}

    def changed(self) -> None:
        """Tell what the index's newest change did; where it begins anew, the change that follows."""
        if self.room.document is None:
            return
        before = self.items
        self.items = self.room.document
        news, gone = changes(before, self.items)
        if news or gone:
            for tell in list(self.tells):
                tell(news, gone)


class Children:
    """Keeps indexes up to date, in the background, and tells who looks at them."""

    def __init__(
        self,
        open_room: Callable[[str], Awaitable[Room]],
        purge_room: Callable[[str], Awaitable[Room]],
        at_head: Callable[[str], Awaitable[Room | None]],
        now_s: Callable[[], float],
        background: Background,
    ) -> None:
        self._open = open_room
        self._purge = purge_room
        self._at_head = at_head
        self._now_s = now_s
        self._background = background
        self.parents: dict[Room, str | None] = {}  # as they were last looked at
        self._due: dict[str, Due] = {}  # by calendar
        self._nothing_due = trio.Event()
        self._nothing_due.set()
        self._doubts = Doubts(self._compared, background)
        self._unanswered: dict[str, Collection[str]] = {}  # purges of events: the calendars that show those
        self._damaged: set[str] = set()  # calendars whose indexes are
        self._watched: dict[str, Watched] = {}

    # ------------------------------------------------------------------------------------- keeping

    def opened(self, room: Room) -> None:
        """A room was opened: a crash may have left it out where it is, or was as far as its window tells."""
        if room.type == CHILD:
            history = room.history
            self._look(room, {parent_of(kept.before) for kept in history.since(history.start)})

    def look(self, room: Room, before: Any) -> None:
        """An append of a room was answered: its event may have another summary, or parent.

        `before` is the document that the append was made on: other workers may have moved the event since
        this one looked. Who takes an event out of a calendar looks at that one, so those between are theirs.
        """
        if room.type == CHILD:
            self._look(room, {self.parents.get(room), parent_of(before)})

    def caught_up(self, room: Room, before: Any) -> None:
        """A room took changes from the log: they may be of an append that nobody waited for any more."""
        if room.type == CHILD and is_shown_otherwise(before, room.document):
            self.look(room, before)

    def doubt(self, room: Room, before: Any, records: Sequence[Record]) -> None:
        """Nobody knows if an append of an event is stored: its calendars are looked at once the log tells."""
        calendars = {self.parents.get(room), parent_of(before)}
        for record in records:
            calendars.update(parents_in(record.body))
        for calendar in calendars - {None}:
            self._doubts.add(str(calendar), (room.id,))

    def _look(self, room: Room, known: set[str | None]) -> None:
        parent = parent_of(room.document)
        calendars = (known | {parent}) - {None}
        if calendars:
            self.parents[room] = parent
        for calendar in calendars:
            self._index_soon(str(calendar)).events[room.id] = room

    async def written(self) -> None:
        """Wait until no index is late."""
        await self._nothing_due.wait()

    @asynccontextmanager
    async def purging(self, resource: str, calendars: Collection[str]) -> AsyncIterator[None]:
        """Meanwhile an event is purged: these calendars show it no more, even where a crash ends it halfway.

        An index that can't be written holds it up for `HIDE_MAX_S` at most: `purged` takes it out there.
        Where the event stays after all it is shown again.
        """
        name = resource.removeprefix(f"{CHILD}:")
        self._unanswered.pop(name, None)
        try:
            await self._hide(name, calendars)
            yield
        except BaseException as error:
            for calendar in calendars:  # also where it isn't shown: nobody may know if it was purged
                self._doubts.add(calendar, (name,))
            if not (isinstance(error, Refusal) and error.details.get("outcome") == "none"):
                self._unanswered[name] = calendars
            raise

    async def _hide(self, name: str, calendars: Collection[str]) -> None:
        """Take an event out of the indexes that can be written now."""
        places = trio.Semaphore(AT_ONCE_MAX)

        async def hide(calendar: str) -> None:
            async with places:
                with suppress(Refusal):
                    await self._take_out(await self._open(f"{INDEX}:{calendar}"), {name})

        with trio.move_on_after(HIDE_MAX_S):
            async with trio.open_nursery() as nursery:
                for calendar in calendars:
                    nursery.start_soon(hide, calendar)

    def purged(self, resource: str, calendars: Collection[str]) -> None:
        """An event was purged: nothing of it stays in the indexes of these calendars."""
        for calendar in calendars:
            self._index_soon(calendar).purged.add(resource.removeprefix(f"{CHILD}:"))

    def began_anew(self, room: Room) -> None:
        """A room has another history. What an index was told while another worker purged it is lost.

        A purge that nobody answered may have landed now, when its event was shown again.
        """
        if room.type == INDEX:
            self._background.start(self._look_again, room)
        elif room.type == CHILD:
            for calendar in self._unanswered.pop(room.id, ()):
                self._doubts.add(calendar, (room.id,))

    async def _look_again(self, index: Room) -> None:
        """Have an index compared with the events that are open here and say something else."""
        await trio.sleep(LOOK_AGAIN_S)
        slices = Slices(self._now_s)
        for event in list(self.parents):
            if slices.over:
                await slices.pause()
            if event in self.parents and differences(index.id, event, index.document or {}):
                self._doubts.add(index.id, (event.id,))

    async def _compared(self, calendar: str, name: str) -> bool:
        """Compare an index with an event; False: the log is away. What is damaged stays as it is."""
        try:
            index = await self._open(f"{INDEX}:{calendar}")
            event = await self._at_head(f"{CHILD}:{name}")  # one that was purged must not come back
        except Refusal as refusal:
            return isinstance(refusal.__cause__, LogDamaged)
        if index.busy:  # what is on its way there may be of another opinion
            return False
        if event is not None:  # even where they agree: what is on its way there may be older
            self._say_again(index, event)
        return event is not None

    def _say_again(self, index: Room, event: Room) -> None:
        """Have an index brought up to date with an event. What was purged may be in its history again."""
        said = (index.document or {}).get(event.id)
        if event.version:  # also where the log says that it is
            self._look(event, {index.id})
        if not event.version or (said is not None and said.get("epoch", 0) < event.epoch):
            self.purged(event.resource, (index.id,))

    def forget(self, room: Room) -> None:
        """A room is evicted."""
        self.parents.pop(room, None)
        self._unanswered.pop(room.id, None)

    def _index_soon(self, calendar: str) -> Due:
        """Have an index brought up to date with what is put into the answer."""
        due = self._due.get(calendar)
        if due is None:
            due = self._due[calendar] = Due()
            if self._nothing_due.is_set():
                self._nothing_due = trio.Event()
            self._background.start(self._index, calendar)
        return due

    async def _index(self, calendar: str) -> None:
        """Bring the index of a calendar up to date with what is due, several events by one change."""
        pause_s = RETRY_MIN_S
        while due := self._due[calendar]:
            later = self._due[calendar] = Due()
            try:
                await self._erase(calendar, due)
                await self._write(calendar, list(due.events.values()))
                self._damaged.discard(calendar)
                pause_s = RETRY_MIN_S
            except Refusal as refusal:
                if isinstance(refusal.__cause__, LogDamaged):
                    self._pass_over(calendar, refusal.__cause__)
                    continue
                why = refusal.__cause__ or refusal.message
                logger.warning("the index of calendar %s isn't up to date: %s", calendar, why)
                if due.purged or refusal.code in AGAIN:  # what was purged is never left there
                    later.try_again(due)
                    await trio.sleep(pause_s)
                    pause_s = RETRY_MIN_S if refusal.code in AGAIN else min(2 * pause_s, RETRY_MAX_S)
        del self._due[calendar]
        if not self._due:
            self._nothing_due.set()

    def _pass_over(self, calendar: str, damage: LogDamaged) -> None:
        """A damaged index stays as it is, which is told once."""
        if calendar not in self._damaged:
            self._damaged.add(calendar)
            logger.error("the index of calendar %s stays as it is: %s", calendar, damage)

    async def _erase(self, calendar: str, due: Due) -> None:
        """Have the index begin anew without events that were purged.

        They are taken out first: a log that refuses changes, as where it is full, keeps the index it has.
        """
        if not due.purged:
            return
        room = await self._open(f"{INDEX}:{calendar}")
        if due.kept is None and not room.version:
            return
        await self._take_out(room, due.purged)
        began_s, tried = self._now_s(), due.kept is not None
        items = (due.kept or {}) | (room.document or {})
        due.kept = {name: item for name, item in items.items() if name not in due.purged}
        if room.version:
            room = await self._purge(room.resource)
        await self._commit(room, [{"op": "add", "path": "", "value": due.kept}])
        if tried or self._now_s() - began_s > LOOK_AGAIN_S:  # others have compared without them
            self._doubts.add(calendar, due.kept)
        due.purged, due.kept = set(), None

    async def _take_out(self, index: Room, names: Collection[str]) -> None:
        """Remove the items of events, whatever they are by now, in portions; raises Refusal."""
        known = index.document or {}
        shown = [name for name in names if name in known]
        with index.kept():
            for first in range(0, len(shown), TOGETHER_MAX):
                items, portion = index.document or {}, shown[first : first + TOGETHER_MAX]
                patch = [{"op": "remove", "path": ot.pointer((name,))} for name in portion if name in items]
                if patch:
                    await self._commit(index, patch)

    async def _write(self, calendar: str, events: Sequence[Room]) -> None:
        for first in range(0, len(events), TOGETHER_MAX):
            index = await self._open(f"{INDEX}:{calendar}")
            items, before = index.document or {}, index.version
            patch: ot.Patch = []
            added = []
            for event in events[first : first + TOGETHER_MAX]:
                different = differences(calendar, event, items)
                patch += different
                if different and event.id not in items:
                    added.append(event)
            if patch:
                if index.document is None:
                    patch.insert(0, {"op": "add", "path": "", "value": {}})
                alone = await self._commit(index, patch) == before + 1
                self._doubt_added(calendar, added, alone)

    def _doubt_added(self, calendar: str, events: Sequence[Room], alone: bool) -> None:
        """What was added has no guard: others may have written at once, or nobody here heard of its end."""
        doubtful = [event.id for event in events if not alone or event not in self.parents]
        if doubtful:
            self._doubts.add(calendar, doubtful)

    async def _commit(self, room: Room, patch: ot.Patch) -> int:
        """Change an index; its new version, or raises Refusal."""
        return await commit(room, GATEWAY_USER_ID, INDEX, patch, self._now_s())

    # ------------------------------------------------------------------------------------- watching

    async def watch(self, calendar: str, tell: Tell) -> Items:
        """The items of a calendar; from now on `tell` hears of what becomes of them."""
        room = await self._open(f"{INDEX}:{calendar}")
        watched = self._watched.get(calendar)
        if watched is None:
            watched = self._watched[calendar] = Watched(room)
            room.audience.watchers.append(watched.changed)
        watched.tells[tell] = None
        return watched.items

    def items(self, calendar: str) -> Items:
        """The items of a calendar that is watched, as they are now."""
        return self._watched[calendar].items

    def unwatch(self, calendar: str, tell: Tell) -> None:
        """`tell` hears no more."""
        watched = self._watched[calendar]
        del watched.tells[tell]
        if not watched.tells:
            del self._watched[calendar]
            watched.room.audience.watchers.remove(watched.changed)
