"""How long the start waits for servers that are away, and what is told meanwhile."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from gateway.errors import LogUnavailable, StoreAway
from gateway.node import patience


async def test_a_wait_tells_each_few_seconds_how_long_it_has_lasted_and_ends(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    tries_s: list[float] = []

    async def refused() -> None:
        tries_s.append(trio.current_time())
        raise LogUnavailable("redis one can't be reached", "none")

    with pytest.raises(StoreAway, match=r"one can't be reached; .* 60 s: server\.start_wait_max_s"):
        await patience.reached(refused, "Redis", 60.0)
    assert tries_s[-1] - tries_s[0] == 60
    assert max(later - before for before, later in pairwise(tries_s)) <= 5
    assert caplog.messages[0].startswith(
        "waiting for Redis, for 0 s now: redis one can't be reached. Next try"
    )
    assert len(caplog.messages) == len(tries_s) - 1


async def test_who_may_not_wait_tries_once(autojump_clock: MockClock) -> None:
    tries_s: list[float] = []

    async def refused() -> None:
        tries_s.append(trio.current_time())
        raise LogUnavailable("redis one can't be reached", "none")

    with pytest.raises(StoreAway, match="--no-wait"):
        await patience.reached(refused, "Redis", 0.0)
    assert len(tries_s) == 1
