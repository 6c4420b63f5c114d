"""More edits than can be committed: those that come are refused; bursts and slow rooms are no overload."""

from __future__ import annotations

import trio

from gateway.hub.overload import BEGUN, PENDING_MIN, WINDOW_MAX_S, WINDOW_S, Overload
from gateway.runtime.metrics import Counters

WAIT_MAX_S = 0.25
PACE = 10_000  # changes a second


class Node:
    """What a committer tells, a batch each 10 ms."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.overload = Overload(self.counters, trio.current_time, WAIT_MAX_S)

    async def goes_on(self, seconds: float, *waited_s: float, batch: int = PACE // 100) -> None:
        """Commit that long; the batches of each 10 ms have waited so long."""
        for _ in range(round(seconds / 0.01)):
            await trio.sleep(0.01)
            self.overload.released(batch)
            for each_s in waited_s:
                self.overload.staged(each_s)


async def test_what_would_wait_too_long_by_the_pace_of_late_is_refused(autojump_clock):
    node = Node()
    await node.goes_on(2 * WINDOW_S, 0.001)
    node.counters.pending_changes = 1_000_000
    assert not node.overload.is_on(), "nobody has waited yet"
    await node.goes_on(2 * WINDOW_S, WAIT_MAX_S)
    assert node.overload.is_on()
    node.counters.pending_changes = int(PACE * WAIT_MAX_S * 0.9)
    assert not node.overload.is_on(), "there is room for it"
    node.counters.pending_changes = int(PACE * WAIT_MAX_S * 1.1)
    assert node.overload.is_on()
    await node.goes_on(2 * WINDOW_S, BEGUN * WAIT_MAX_S * 0.9)
    assert not node.overload.is_on(), "it is over"


async def test_it_is_over_a_second_after_the_last_came(autojump_clock):
    node = Node()
    node.counters.pending_changes = 1_000_000
    await node.goes_on(2 * WINDOW_S, WAIT_MAX_S)
    node.counters.pending_changes = 0
    node.overload.look()
    assert node.overload.has_begun(), "nobody has come for a moment"
    await trio.sleep(WINDOW_MAX_S)
    node.overload.look()
    assert (node.overload.has_begun(), node.counters.overloaded) == (False, 0)


async def test_it_goes_on_while_many_wait_for_a_log_that_hangs(autojump_clock):
    node = Node()
    node.counters.pending_changes = 1_000_000
    await node.goes_on(2 * WINDOW_S, WAIT_MAX_S)
    await trio.sleep(60)
    node.overload.look()
    assert node.overload.has_begun()


async def test_a_room_that_is_slow_alone_is_no_overload(autojump_clock):
    node = Node()
    node.counters.pending_changes = 1_000_000
    await node.goes_on(1.0, 10.0, 0.001)
    assert not node.overload.is_on()


async def test_few_edits_on_a_slow_log_are_no_overload(autojump_clock):
    node = Node()
    node.counters.pending_changes = PENDING_MIN - 1
    await node.goes_on(1.0, 10.0, batch=0)
    assert not node.overload.has_begun()
    assert node.counters.overloaded == 0
    node.counters.pending_changes = PENDING_MIN
    await node.goes_on(1.0, 10.0, batch=0)
    assert node.overload.is_on()
    assert node.counters.overloaded == 1


async def test_an_idle_time_says_nothing_of_the_pace(autojump_clock):
    node = Node()
    node.counters.pending_changes = 1_000_000
    await trio.sleep(60)
    node.overload.staged(10.0)
    assert not node.overload.is_on()


async def test_without_a_bound_edits_wait(autojump_clock):
    node = Node()
    node.overload = Overload(node.counters, trio.current_time, 0.0)
    node.counters.pending_changes = 1_000_000
    await node.goes_on(1.0, 100.0)
    assert not node.overload.is_on()
