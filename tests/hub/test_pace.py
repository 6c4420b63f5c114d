"""For how long a lane gathers what comes before its next append."""

from __future__ import annotations

import pytest
import trio

from gateway.hub.pace import INTERVAL_MAX_S, Pace
from gateway.ports import Pacing

INTERVAL_S, APPENDS = 0.01, 4
LOCAL, REMOTE = Pacing(INTERVAL_S), Pacing(INTERVAL_S, APPENDS)
BOTH = pytest.mark.parametrize("pacing", [LOCAL, REMOTE])


async def appends_a_second(
    pacing: Pacing, rooms_a_second: float, append_s: float = 0.001, again: float = 1.0
) -> float:
    """How many appends a lane begins, to which so many rooms a second have something to append.

    `again`: the share of them that changed shortly before.
    """
    pace = Pace(pacing)
    began_s = last_s = trio.current_time()
    appends, waiting = 0, 0.0
    while trio.current_time() < began_s + 5:
        if waiting < 1:
            await trio.sleep((1 - waiting) / rooms_a_second)
        await pace.wait(trio.Event())
        waiting += rooms_a_second * (trio.current_time() - last_s)
        last_s = trio.current_time()
        pace.carried(int(waiting), round(again * int(waiting)), append_s)
        waiting -= int(waiting)
        appends += 1
        await trio.sleep(append_s)
    return appends / 5


@BOTH
@pytest.mark.parametrize("rate", [1, 20, 90])
async def test_where_few_come_each_is_appended_at_once(autojump_clock, pacing, rate):
    assert await appends_a_second(pacing, rate) == pytest.approx(rate, rel=0.1)


@BOTH
@pytest.mark.parametrize("rate", [1000, 2000, 10_000])
async def test_where_many_come_they_gather_for_the_interval(autojump_clock, pacing, rate):
    assert await appends_a_second(pacing, rate) == pytest.approx(1 / INTERVAL_S, rel=0.1)


async def test_more_that_come_are_never_more_appends_than_the_interval_allows(autojump_clock):
    rates = [await appends_a_second(LOCAL, rate) for rate in (150, 250, 350)]
    assert max(rates) < 350
    assert all(found > 1 / INTERVAL_S - 1 for found in rates)


@pytest.mark.parametrize(("append_s", "interval_s"), [(0.005, APPENDS * 0.005), (0.030, INTERVAL_MAX_S)])
async def test_slow_round_trips_are_held_back_by_what_they_take(autojump_clock, append_s, interval_s):
    assert await appends_a_second(REMOTE, 2000, append_s) == pytest.approx(1 / interval_s, rel=0.1)


@pytest.mark.parametrize(("again", "interval_s"), [(0.0, INTERVAL_S), (0.1, INTERVAL_S), (0.5, 0.020)])
async def test_slow_appends_wait_as_far_as_changes_would_go_together(autojump_clock, again, interval_s):
    found = await appends_a_second(REMOTE, 2000, 0.010, again)
    assert found == pytest.approx(1 / interval_s, rel=0.1)


async def test_appends_that_take_as_long_gather_by_themselves(autojump_clock):
    pace = Pace(LOCAL)
    for _ in range(20):
        await pace.wait(trio.Event())
        pace.carried(100, 100, INTERVAL_S)
        await trio.sleep(0.8 * INTERVAL_S)
        began_s = trio.current_time()
        await pace.wait(trio.Event())
        assert trio.current_time() == began_s
        pace.carried(100, 100, INTERVAL_S)
        await trio.sleep(0.8 * INTERVAL_S)


async def test_what_an_append_left_is_not_held_back(autojump_clock):
    pace = Pace(LOCAL)
    pace.carried(100, 100, 0.001, more=True)
    assert pace.wait_s() == 0
    await pace.wait(trio.Event())
    pace.carried(100, 100, 0.001, more=True)
    began_s = trio.current_time()
    await pace.wait(trio.Event())
    assert trio.current_time() == began_s
    pace.carried(100, 100, 0.001)
    assert pace.wait_s() == pytest.approx(INTERVAL_S)
    await pace.wait(trio.Event())
    assert trio.current_time() == pytest.approx(began_s + INTERVAL_S)
    assert pace.wait_s() == 0


async def test_a_log_that_is_not_to_be_held_back_is_not(autojump_clock):
    pace = Pace(Pacing())
    for _ in range(20):
        pace.carried(100, 100, 0.001)
        await pace.wait(trio.Event())
    assert trio.current_time() == 0.0
