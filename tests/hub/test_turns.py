"""Two workers whose editors change one room: what turns cost and save, by the mock clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
import trio

from gateway import ot
from gateway.hub.hub import Hub
from gateway.ports import Batch, Outcome, Reserved
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.runtime.metrics import Counters
from tests.doubles.bus import MeetingPlace, MemoryBus
from tests.doubles.log import MemoryHistory, MemoryLog
from tests.simulation.cluster import CONFIG, EPOCH_START_MS, RULES
from tests.simulation.network import Group
from tests.waiting import unawaited

ROOM = "event:1"
FIRST = [{"op": "add", "path": "", "value": {"title": "T", "description": "", "tags": []}}]
DELAY_S = 0.002
CHANCE = random.Random(1)


def about(seconds: float) -> float:
    """Not always the same time, or two workers may be in step for ever."""
    return seconds * CHANCE.uniform(0.5, 1.5)


class LateBus(MemoryBus):
    """Announcements take their time."""

    nursery: trio.Nursery

    def post(self, resource: str, payload: bytes) -> None:
        self.nursery.start_soon(self._post_later, resource, payload)

    async def _post_later(self, resource: str, payload: bytes) -> None:
        await trio.sleep(about(DELAY_S / 2))
        super().post(resource, payload)


class DistantLog(MemoryLog):
    """Requests and replies take their time; what is appended is announced in between, as Redis does."""

    reply_s = DELAY_S

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        await trio.sleep(about(DELAY_S))
        outcomes = [self._append(batch) for batch in batches]
        await trio.sleep(about(self.reply_s))
        return outcomes


class ReservingLog(DistantLog):
    """Keeps the room for another node, once."""

    reserved_s = 0.0
    appends = 0

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        self.appends += 1
        if self.reserved_s:
            await trio.sleep(DELAY_S)
            reserved_s, self.reserved_s = self.reserved_s, 0.0
            return [Reserved(reserved_s)] * len(batches)
        return await super().append(batches)


class Editor:
    """Who replaces the title again and again; `waits_s` has how long each change took."""

    connection = None
    extended = False

    def __init__(self, hub: Hub, room: Room, name: str, pause_s: float = 0.0) -> None:
        self.waits_s: list[float] = []
        self._hub, self._room, self._name, self._pause_s = hub, room, name, pause_s
        self._committed = trio.Event()

    def worked(self, units: int) -> None:
        pass

    def committed(self, submission: Submission, version: int) -> None:
        self.waits_s.append(trio.current_time() - submission.arrived_s)
        self._committed.set()

    def refused(self, submission: Submission, refusal: Exception) -> None:
        raise AssertionError(refusal)

    async def edit(self) -> None:
        while True:
            title = f"{self._name} {len(self.waits_s)}"
            await self.submit([{"op": "replace", "path": "/title", "value": title}])
            await trio.sleep(self._pause_s)

    async def submit(self, patch: list[dict[str, Any]]) -> None:
        room, self._committed = self._room, trio.Event()
        operations = ot.lower(room.document, patch, RULES.strategies(room.type), self._hub.patch_limits)
        who = (self, self._name, "c", f"{self._name}-{len(self.waits_s)}")
        room.submit(Submission(*who, room.version, patch, operations, trio.current_time(), 10))
        await self._committed.wait()


class Workers:
    """Two workers on one log, and the room on both."""

    def __init__(self) -> None:
        self.counters = (Counters(), Counters())
        self.editors: list[list[Editor]] = [[], []]

    async def run(self, editors: Sequence[tuple[int, float]], reply_s: float = DELAY_S) -> None:
        """So many editors on each worker, with their pause, for ten seconds."""
        place = MeetingPlace()
        history = MemoryHistory(EPOCH_START_MS, lambda: EPOCH_START_MS)
        async with unawaited() as nursery:
            for worker, (number, pause_s) in enumerate(editors):
                bus = LateBus(place)
                bus.nursery = nursery
                log = DistantLog(history, bus)
                log.reply_s = reply_s
                shared = (RULES, self.counters[worker], Group, lambda: EPOCH_START_MS, trio.current_time)
                hub = Hub(CONFIG, log, bus, *shared)
                await nursery.start(bus.run)
                await nursery.start(hub.run)
                room = await hub.open(ROOM)
                names = [f"{worker}-{n}" for n in range(number)]
                self.editors[worker] = [Editor(hub, room, name, pause_s) for name in names]
                if worker == 0:
                    await self.editors[0][0].submit(FIRST)
            for editor in self.editors[0] + self.editors[1]:
                nursery.start_soon(editor.edit)
            await trio.sleep(10)

    def mean_wait_s(self, worker: int) -> float:
        return fmean(wait_s for editor in self.editors[worker] for wait_s in editor.waits_s)

    @property
    def stale_share(self) -> float:
        batches = sum(counters.batches for counters in self.counters)
        return sum(counters.batches_stale for counters in self.counters) / batches


@pytest.mark.parametrize("reply_s", [DELAY_S, 6 * DELAY_S])
async def test_workers_alternate_and_few_appends_are_refused(autojump_clock, reply_s):
    workers = Workers()
    await workers.run([(5, 0.0), (5, 0.0)], reply_s)
    assert workers.stale_share < 0.05
    for worker in (0, 1):
        # No edit waits for more than the turn before its own, however late that one's answer is.
        assert workers.mean_wait_s(worker) < 2 * (DELAY_S + reply_s)


async def test_a_busy_worker_hardly_waits_for_one_that_seldom_changes_the_room(autojump_clock):
    workers = Workers()
    await workers.run([(10, 0.0), (1, 0.2)])
    assert workers.mean_wait_s(0) < 1.2 * 2 * DELAY_S
    assert workers.mean_wait_s(1) < 8 * 2 * DELAY_S


async def test_a_reserved_room_is_appended_to_when_the_reservation_is_over(autojump_clock):
    bus = MemoryBus(MeetingPlace())
    log = ReservingLog(MemoryHistory(EPOCH_START_MS, lambda: EPOCH_START_MS), bus)
    hub = Hub(CONFIG, log, bus, RULES, Counters(), Group, lambda: EPOCH_START_MS, trio.current_time)
    async with unawaited() as nursery:
        await nursery.start(bus.run)
        await nursery.start(hub.run)
        room = await hub.open(ROOM)
        editor, other = Editor(hub, room, "0"), Editor(hub, room, "1")
        await editor.submit(FIRST)
        log.appends, log.reserved_s = 0, 0.1
        async with trio.open_nursery() as editing:
            editing.start_soon(editor.submit, [{"op": "replace", "path": "/title", "value": "late"}])
            await trio.sleep(DELAY_S / 4)
            assert room.appending, "the other edit comes while an append is under way"
            editing.start_soon(other.submit, [{"op": "replace", "path": "/title", "value": "later"}])
        assert 0.1 <= editor.waits_s[-1] < 0.1 + 4 * DELAY_S
        assert log.appends == 2
