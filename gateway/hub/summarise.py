"""Keeps the index of summaries up to date: what rooms committed, a moment later and all at once.

A room that changes ten times a second is written once for all of them. What a crash kept from being written
is found by comparing with the log at the next start.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import trio

from gateway.errors import IndexLost, LogDamaged, LogError, Refusal
from gateway.hub.child_items import parent_of
from gateway.ports.summaries import Listing, Summaries, Summary
from gateway.rooms.room import Room
from gateway.runtime.outage import Outage
from gateway.runtime.timeslice import Slices

logger = logging.getLogger(__name__)

# Writing takes at most such a share of the time.
WRITING_SHARE_MAX = 0.05
RETRY_S = 1.0
# So many changed resources wait to be written; beyond, the index is compared with the log again.
CHANGED_MAX = 10_000
END_TIMEOUT_S = 2.0
# Resources that are read again at once, where the index is behind.
BEHIND_MAX = 200
INDEXING_TIMEOUT_S = 10.0
# Damaged resources that are passed over; beyond, the first of them is tried again.
DAMAGED_MAX = 10_000
TITLE_LENGTH_MAX = 500
TIME_LENGTH_MAX = 64


class Summariser:
    """Between the rooms of a worker and the index. `open_room` opens one; `run` is its task."""

    def __init__(self, summaries: Summaries, open_room: Callable[[str], Awaitable[Room]]) -> None:
        self._summaries = summaries
        self._open_room = open_room
        self._changed: dict[str, Room] = {}
        self._damaged: dict[str, None] = {}  # in the order in which they were found
        self._wake = trio.Event()
        self._complete = trio.Event()  # once the index has all that the log had when it was compared
        self._losses = 0  # how often the index was lost, or what it lacks too much to be noted
        self._fell_behind = trio.Event()
        self._writing = trio.Lock()
        self._outage = Outage(logger, "summaries wait to be written")

    def note(self, room: Room) -> None:
        """The room has committed something."""
        if len(self._changed) >= CHANGED_MAX and room.resource not in self._changed:
            self._compare_again()
            return
        if not self._changed:
            self._wake.set()
        self._changed[room.resource] = room

    def _compare_again(self) -> None:
        """The index isn't complete until it was compared with the log again."""
        self._losses += 1
        if self._complete.is_set():
            self._complete = trio.Event()
        self._fell_behind.set()

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow)
                nursery.start_soon(self._write)
        finally:
            with trio.move_on_after(END_TIMEOUT_S, shield=True):
                await self._written()

    async def _write(self) -> None:
        gather_s = pause_s = self._summaries.gather_s
        while True:
            await self._wake.wait()
            await trio.sleep(pause_s)
            self._wake = trio.Event()
            pause_s = max(gather_s, await self._written() / WRITING_SHARE_MAX)

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """A page of the index, with all that this worker has committed; raises Refusal, LogUnavailable."""
        with trio.move_on_after(INDEXING_TIMEOUT_S):
            await self._complete.wait()
        if not self._complete.is_set():
            text = "The list is being made from the log; try again in a moment."
            raise Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=int(RETRY_S * 1000))
        await self._store()
        with self._losses_noticed():
            return await self._summaries.listed(wanted)

    @contextmanager
    def _losses_noticed(self) -> Iterator[None]:
        """Where the index was lost, it is compared with the log again."""
        try:
            yield
        except IndexLost:
            self._compare_again()
            raise

    async def _written(self) -> float:
        """Write, again and again until it is done; how long that which was done took, in seconds."""
        while True:
            try:
                took_s = await self._store()
            except LogError as error:
                self._outage.lasts(str(error))
                await trio.sleep(RETRY_S)
            else:
                self._outage.over()
                return took_s

    async def _store(self) -> float:
        """Write what was noted; how long that took, in seconds, but for pauses while it was made ready."""
        async with self._writing:
            changed, self._changed = self._changed, {}
            if not changed:
                return 0.0
            slices, made = Slices(trio.current_time), list[Summary]()
            try:
                for room in changed.values():
                    made.append(summary_of(room))
                    if slices.over:
                        await slices.pause()
                with self._losses_noticed():
                    await self._summaries.store(made)
            except BaseException:
                self._put_back(changed)
                raise
            return slices.worked_s

    def _put_back(self, changed: dict[str, Room]) -> None:
        """What couldn't be written waits again, with what came meanwhile."""
        waiting = {**changed, **self._changed}
        if len(waiting) > CHANGED_MAX:
            self._compare_again()
        self._changed = dict(islice(waiting.items(), CHANGED_MAX))

    async def _follow(self) -> None:
        """Bring the index to where the log is, and where others write it too, keep it there."""
        outage = Outage(logger, "the index of summaries is behind")
        while True:
            losses = self._losses
            try:
                with self._losses_noticed():
                    behind = await self._summaries.behind(BEHIND_MAX, self._damaged)
                read = [name for name in behind.names if await self._read(name)]
                await self._store()
            except (LogError, Refusal) as error:
                outage.lasts(str(error))
                await trio.sleep(RETRY_S)
                continue
            outage.over()
            if behind.is_all:
                if losses == self._losses:
                    self._complete.set()
                interval_s = self._summaries.follow_interval_s
                with trio.move_on_after(math.inf if interval_s is None else interval_s):
                    await self._fell_behind.wait()
                self._fell_behind = trio.Event()
            elif not read:
                await trio.sleep(RETRY_S)  # others are at it, or all of it is damaged

    async def _read(self, name: str) -> bool:
        """Note what is to be written. A resource whose history is damaged keeps no other out of the lists.

        It is told once, and passed over until the node starts again.
        """
        try:
            self.note(await self._open_room(name))
        except Refusal as refusal:
            if not isinstance(refusal.__cause__, LogDamaged):
                raise
            logger.error("%s stays as it is in lists: %s", name, refusal.__cause__)
            self._pass_over(name)
            return False
        return True

    def _pass_over(self, name: str) -> None:
        if len(self._damaged) >= DAMAGED_MAX:
            del self._damaged[next(iter(self._damaged))]
        self._damaged[name] = None


def summary_of(room: Room) -> Summary:
    """What is shown of a room's document."""
    history, document = room.history, room.document
    if not isinstance(document, dict):
        return Summary(room.type, room.id, history.epoch, history.version, document is None)
    title = _text(document, "title")
    title = None if title is None else title[:TITLE_LENGTH_MAX]
    start, end = _time(document, "start_time"), _time(document, "end_time")
    return Summary(
        room.type, room.id, history.epoch, history.version, False, parent_of(document), title, start, end,
        instant_ms(start), instant_ms(end),
    )  # fmt: skip


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _time(document: dict[str, Any], name: str) -> str | None:
    text = _text(document, name)
    return None if text is None or len(text) > TIME_LENGTH_MAX else text


def instant_ms(text: str | None) -> int | None:
    """Unix ms of an RFC 3339 time; None for what isn't one. Without an offset it is taken as UTC."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp() * 1000)
