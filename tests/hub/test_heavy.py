"""Rooms whose edits are dear to stage leave the loop to the others, however many a user fills."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing

from gateway.hub.committer import Committer
from gateway.hub.heavy import BATCH_S, PAUSES, HeavyRooms
from gateway.hub.overload import Overload
from gateway.ports import Pacing
from gateway.runtime.background import Background
from gateway.runtime.metrics import Counters
from tests.waiting import unawaited, until

HEAVY_S = 0.020
SECONDS = 12.0


class Work:
    """Time that passes only by work: Trio's clock, and what was worked on top of it."""

    def __init__(self) -> None:
        self.worked_s = 0.0

    def now_s(self) -> float:
        return trio.current_time() + self.worked_s

    def cpu_s(self) -> float:
        return self.worked_s


class Room:
    """A room that always has more to stage; each batch takes so long, and all of it is refused."""

    unsanitised = ()
    history = SimpleNamespace(changed_ms=0)

    def __init__(self, name: str, work: Work, cost_s: float) -> None:
        self.resource = name
        self.staged = 0
        self._work = work
        self._cost_s = cost_s

    def prepare(self) -> None:
        self.staged += 1
        self._work.worked_s += self._cost_s


class Lanes:
    """What a committer asks of a log before it appends anything."""

    pacing = Pacing()

    def lane(self, resource: str) -> int:
        return len(resource) % 2


def parts(now_s: Callable[[], float]) -> tuple[Any, ...]:
    """What a committer is made of."""
    counters = Counters()
    return Lanes(), counters, now_s, None, None, Overload(counters, now_s, 0.0)


async def test_one_users_dear_edits_in_many_rooms_get_a_part_of_the_loop(autojump_clock):
    work = Work()
    background = Background()
    committer = Committer(*parts(trio.current_time), lambda room, batch: None, background, cpu_s=work.cpu_s)
    heavy = [Room("x" * (n + 1), work, HEAVY_S) for n in range(5)]
    light = Room("light", work, 0.0001)

    async def ask(room: Room) -> None:
        while True:
            committer.lanes.add(room)
            await trio.sleep(0.002)

    async with unawaited() as nursery:
        await nursery.start(background.run)
        began_s = work.now_s()
        for room in (*heavy, light):
            nursery.start_soon(ask, room)
        await until(lambda: work.now_s() - began_s >= SECONDS, within_s=math.inf)  # of work
        took_s = work.now_s() - began_s
    once = len(heavy) * HEAVY_S  # that a room is heavy shows by its first batch
    spent_s = sum(room.staged for room in heavy) * HEAVY_S
    assert once < spent_s <= once + (took_s - once) / (1 + PAUSES) / 8 + 2 * HEAVY_S
    assert light.staged > (took_s - spent_s) / 0.002 / 2, "it waits for nobody"
    assert all(room.staged > 1 for room in heavy), [room.staged for room in heavy]


async def test_time_that_another_process_took_is_nobodys_work(autojump_clock):
    interrupted = Work()
    background = Background()
    committer = Committer(*parts(interrupted.now_s), lambda room, batch: None, background, cpu_s=lambda: 0.0)
    room = Room("light", interrupted, HEAVY_S)  # by the clock on the wall
    async with unawaited() as nursery:
        await nursery.start(background.run)
        for number in range(10):
            committer.lanes.add(room)
            await trio.testing.wait_all_tasks_blocked()
            assert room.staged == number + 1, "it isn't postponed"


async def test_many_cheap_edits_of_one_batch_are_not_heavy(autojump_clock):
    found = HeavyRooms(trio.current_time)
    room = Room("r", Work(), 0.0)
    found.staged(room, 0.060, 1000)
    assert found.wait_s(room) == 0
    found.staged(room, BATCH_S * 2, 1)
    assert found.wait_s(room) > 0
    await trio.sleep(found.wait_s(room))
    assert found.wait_s(room) == 0
    found.staged(room, 0.0001, 1)  # what came next was cheap
    found.staged(Room("other", Work(), 0.0), BATCH_S * 2, 1)
    assert found.wait_s(room) == 0
    found.forget(room)
    found.staged(room, BATCH_S * 2, 0)
    assert found.wait_s(room) > 0, "what is refused was work too"
