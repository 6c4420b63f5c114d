"""What an address may do in a worker before anybody signs in there."""

from __future__ import annotations

import pytest
import trio

from gateway.config import LimitsSettings
from gateway.sessions.cpu_queue import TURN_PAUSES, TURN_S
from gateway.sessions.visitors import Visitors


async def turns(visitors: Visitors, remote: str, number: int) -> float:
    """For how long so many requests from there wait."""
    began_s = trio.current_time()
    for _ in range(number):
        await visitors.turn(remote)
    return trio.current_time() - began_s


async def test_strangers_of_an_address_that_took_much_cpu_take_turns_with_all_such(autojump_clock):
    visitors = Visitors(LimitsSettings(), trio.current_time)
    for remote in ("6.6.6.6:1", "[2001:db8::1]:1"):
        assert await turns(visitors, remote, 100) == 0
        visitors.spend_cpu(remote, 0.3)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns, visitors, "6.6.6.6:2", 50)  # whatever the port
        nursery.start_soon(turns, visitors, "[2001:db8::2]:1", 50)  # a network has as many as it likes
        assert await turns(visitors, "7.7.7.7:1", 100) == 0
    assert trio.current_time() - began_s == pytest.approx(100 * TURN_S * TURN_PAUSES, rel=0.1)
    await trio.sleep(30)
    assert await turns(visitors, "6.6.6.6:1", 10) == 0


async def test_where_users_have_no_share_of_cpu_strangers_have_none(autojump_clock):
    visitors = Visitors(LimitsSettings(user_cpu_share=1), trio.current_time)
    visitors.spend_cpu("6.6.6.6:1", 100)
    assert await turns(visitors, "6.6.6.6:1", 10) == 0
