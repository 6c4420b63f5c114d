"""The clocks that a node reads."""

from __future__ import annotations

import time

import trio
from trio.testing import MockClock

from gateway.runtime.clock import LoopClock, SteadyClock


def test_a_loop_with_the_steady_clock_sleeps_and_keeps_deadlines() -> None:
    async def main() -> None:
        before_s = time.perf_counter()
        assert before_s <= trio.current_time() <= time.perf_counter()
        await trio.sleep(0.02)
        assert trio.current_time() - before_s >= 0.02
        with trio.move_on_after(0.02) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main, clock=SteadyClock())


def test_the_loops_clock_is_trios_whichever_that_is() -> None:
    async def main(now_s: LoopClock) -> None:
        began_s = now_s()
        assert began_s <= trio.current_time()
        await trio.sleep(3600)
        assert began_s + 3600 <= now_s() <= trio.current_time()

    trio.run(main, LoopClock(), clock=MockClock(autojump_threshold=0))


def test_each_loop_has_its_own() -> None:
    async def first_read() -> float:
        return LoopClock()() - trio.current_time()

    for clock in (None, SteadyClock(), MockClock()):
        assert abs(trio.run(first_read, clock=clock)) < 1.0
