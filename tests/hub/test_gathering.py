"""For how long the embedded log's lanes gather changes."""

from __future__ import annotations

import pytest
import trio

from gateway.hub.gathering import Gathering

INTERVAL_S = 0.01


async def appends_a_second(
    rooms_a_second: float, append_s: float = 0.001, interval_s: float = INTERVAL_S
) -> float:
    """How many appends a lane begins, to which so many rooms a second have something to append."""
    gathering = Gathering(interval_s)
    began_s = last_s = trio.current_time()
    appends, waiting = 0, 0.0
    while trio.current_time() < began_s + 5:
        if waiting < 1:
            await trio.sleep((1 - waiting) / rooms_a_second)
        await gathering.wait(append_s)
        waiting += rooms_a_second * (trio.current_time() - last_s)
        last_s = trio.current_time()
        gathering.carried(int(waiting))
        waiting -= int(waiting)
        appends += 1
        await trio.sleep(append_s)
    return appends / 5


@pytest.mark.parametrize("rate", [1, 20, 90])
async def test_where_few_come_each_is_appended_at_once(autojump_clock, rate):
    assert await appends_a_second(rate) == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("rate", [1000, 2000, 10_000])
async def test_where_many_come_they_gather_for_the_interval(autojump_clock, rate):
    assert await appends_a_second(rate) == pytest.approx(1 / INTERVAL_S, rel=0.1)


async def test_more_that_come_are_never_more_appends_than_the_interval_allows(autojump_clock):
    rates = [await appends_a_second(rate) for rate in (150, 250, 350)]
    assert max(rates) < 350
    assert all(found > 1 / INTERVAL_S - 1 for found in rates)


async def test_appends_that_take_as_long_gather_by_themselves(autojump_clock):
    gathering = Gathering(INTERVAL_S)
    for _ in range(20):
        gathering.carried(100)
        await gathering.wait(INTERVAL_S)
        await trio.sleep(0.8 * INTERVAL_S)
        began_s = trio.current_time()
        await gathering.wait(INTERVAL_S)
        assert trio.current_time() == began_s
        await trio.sleep(0.8 * INTERVAL_S)


async def test_a_log_that_is_not_to_be_held_back_is_not(autojump_clock):
    gathering = Gathering(0.0)
    for _ in range(20):
        gathering.carried(100)
        await gathering.wait(0.001)
    assert trio.current_time() == 0.0
