"""When a lane begins its next append."""

from __future__ import annotations

import pytest
import trio

from gateway.hub.pace import APPENDS, INTERVAL_MAX_S, ROOMS_BUSY, Pace

INTERVAL_S = 0.01


async def waited_s(interval_s: float, rooms: int, append_s: float) -> float:
    """From one append's beginning to the next one's, after many that carried so many rooms."""
    pace = Pace(interval_s)
    for _ in range(100):
        pace.carried(rooms)
    await pace.wait(append_s)
    began_s = trio.current_time()
    await pace.wait(append_s)
    return trio.current_time() - began_s


@pytest.mark.parametrize(
    ("interval_s", "rooms", "append_s", "expected_s"),
    [
        (0.0, 100, 0.1, 0.0),  # a log without a pace
        (INTERVAL_S, 1, 0.1, 0.0),  # nothing to gather with
        (INTERVAL_S, 100, 0.001, INTERVAL_S),
        (INTERVAL_S, 100, 0.01, APPENDS * 0.01),
        (INTERVAL_S, 100, 1.0, INTERVAL_MAX_S),
        (INTERVAL_S, 1 + ROOMS_BUSY // 2, 1.0, INTERVAL_MAX_S / 2),
    ],
)
async def test_the_fuller_and_slower_appends_are_the_longer_the_next_one_gathers(
    autojump_clock, interval_s, rooms, append_s, expected_s
):
    assert await waited_s(interval_s, rooms, append_s) == pytest.approx(expected_s)


async def test_who_comes_late_waits_for_nothing(autojump_clock):
    pace = Pace(INTERVAL_S)
    for _ in range(100):
        pace.carried(100)
    await pace.wait(1.0)
    await trio.sleep(INTERVAL_MAX_S)
    began_s = trio.current_time()
    await pace.wait(1.0)
    assert trio.current_time() == began_s
