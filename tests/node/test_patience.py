"""How long the start waits for servers that are away, and what is told meanwhile."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from gateway.errors import LogUnavailable, StoreAway
from gateway.node.patience import Patience


async def test_a_wait_tells_each_few_seconds_how_long_it_has_lasted_and_ends(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    tries_s: list[float] = []

    async def refused() -> None:
        tries_s.append(trio.current_time())
        raise LogUnavailable("redis one can't be reached", "none")

    with pytest.raises(StoreAway, match=r"one can't be reached; .* 60 s: server\.start_wait_max_s"):
        await Patience(60.0).reached(refused, "Redis")
    assert tries_s[-1] - tries_s[0] == 60
    assert max(later - before for before, later in pairwise(tries_s)) <= 5
    assert caplog.messages[0].startswith(
        "waiting for Redis, 0 s into the start: redis one can't be reached. Next try"
    )
    assert len(caplog.messages) == len(tries_s) - 1


async def test_servers_that_are_away_one_after_the_other_share_what_the_start_waits(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    began_s = trio.current_time()

    async def back_soon() -> None:
        if trio.current_time() < began_s + 50:
            raise LogUnavailable("postgres can't be reached", "none")

    async def refused() -> None:
        raise LogUnavailable("redis one can't be reached", "none")

    patience = Patience(60.0)
    await patience.reached(back_soon, "PostgreSQL")
    caplog.clear()
    with pytest.raises(StoreAway, match="one can't be reached"):
        await patience.reached(refused, "Redis")
    assert trio.current_time() - began_s == 60
    assert re.match("waiting for Redis, 5[0-5] s into the start", caplog.messages[0])


async def test_who_may_not_wait_tries_once(autojump_clock: MockClock) -> None:
    tries_s: list[float] = []

    async def refused() -> None:
        tries_s.append(trio.current_time())
        raise LogUnavailable("redis one can't be reached", "none")

    with pytest.raises(StoreAway, match="--no-wait"):
        await Patience(0.0).reached(refused, "Redis")
    assert len(tries_s) == 1
