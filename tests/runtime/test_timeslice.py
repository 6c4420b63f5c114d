"""Long work in slices, and whose turn it is among those who have much of it."""

from __future__ import annotations

import trio

from gateway.runtime import timeslice
from gateway.runtime.timeslice import SLICE_S, TURN_S, FairTurns, Slices
from tests.clocks import Clock

MANY = 10
ROUNDS = 50


async def test_between_any_two_turns_everybody_else_runs() -> None:
    turns, taken, between = FairTurns(), [0] * MANY, []

    async def work(number: int) -> None:
        while True:
            await turns.next()
            taken[number] += 1

    async with trio.open_nursery() as nursery:
        for number in range(MANY):
            nursery.start_soon(work, number)
        for _ in range(ROUNDS):
            before = sum(taken)
            await trio.lowlevel.checkpoint()
            between.append(sum(taken) - before)
        nursery.cancel_scope.cancel()
    assert max(between) <= 2, "the loop runs its tasks in any order"
    assert sum(taken) > ROUNDS // 3, "none of them stands still"
    assert max(taken) - min(taken) <= 1, "first come, first served"


async def test_work_of_a_few_is_in_shorter_slices_and_takes_turns() -> None:
    clock = Clock()
    for turns, slice_s in ((None, SLICE_S), (FairTurns(), TURN_S)):
        slices = Slices(clock, turns)
        clock.now_s += slice_s * 0.9
        assert not slices.over
        clock.now_s += slice_s * 0.2
        assert slices.over
        await slices.pause()
        assert not slices.over
        assert abs(slices.worked_s - slice_s * 1.1) < 1e-9


async def test_turns_are_those_of_one_event_loop() -> None:
    assert timeslice.turns() is timeslice.turns()
