"""Whose turn it is to append, by the mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from gateway.hub.lane import YIELD_APPENDS, YIELD_MAX_S, Lane
from gateway.hub.turn import INTERVAL_YIELDS
from gateway.ports import Pacing
from gateway.rooms.room import Room
from tests.hub.recovered import Cluster

APPEND_S = 0.01
YIELD_S = APPEND_S * YIELD_APPENDS


@asynccontextmanager
async def rooms(number: int) -> AsyncIterator[Sequence[Room]]:
    async with trio.open_nursery() as nursery:
        hub, _ = await Cluster(nursery).room()
        yield [await hub.open(f"event:lane-{n}") for n in range(number)]
        nursery.cancel_scope.cancel()


def used_lane(append_s: float = APPEND_S) -> Lane:
    """A lane whose appends usually take so long."""
    lane = Lane(Pacing())
    for _ in range(100):
        lane.appended(append_s)
    return lane


def hear_often(lane: Lane, room: Room) -> None:
    """Others have changed the room again and again."""
    for _ in range(20):
        lane.heard(room)


async def seconds_until(lane: Lane, room: Room) -> float:
    """How long until it's the room's turn."""
    began_s = trio.current_time()
    await lane.wait()
    assert lane.pop() is room
    return trio.current_time() - began_s


async def test_rooms_come_in_the_order_in_which_they_asked_and_once(autojump_clock):
    async with rooms(3) as (one, two, three):
        lane = used_lane()
        for room in (two, one, two, three):
            lane.add(room)
        await lane.wait()
        assert [lane.pop() for _ in range(4)] == [two, one, three, None]


@pytest.mark.parametrize(("ready", "waits_s"), [(1, 1.0), (2, 1.0), (3, 0.1), (4, 0.1)])
async def test_a_lane_gathers_until_its_time_or_until_it_is_full(autojump_clock, ready, waits_s):
    async with rooms(5) as found, trio.open_nursery() as nursery:
        lane = Lane(Pacing(1.0, full=3))
        lane.carried(100, 0)  # many come
        lane.add(found[0])
        await lane.wait()
        lane.pop()
        lane.carried(100, 0)
        began_s = trio.current_time()

        async def come() -> None:
            for room in found[:ready]:
                lane.add(room)
                await trio.sleep(0.05)

        nursery.start_soon(come)
        await lane.wait()
        assert trio.current_time() - began_s == pytest.approx(waits_s)


async def test_a_lane_says_for_how_long_it_gathers(autojump_clock):
    async with rooms(2) as found:
        lane = Lane(Pacing(1.0))
        assert lane.wait_s() == 0
        lane.add(found[0])
        await lane.wait()
        began_s = trio.current_time()
        lane.pop()
        lane.carried(100, 0)  # many come
        lane.add(found[1])
        assert lane.wait_s() == pytest.approx(1.0)
        await trio.sleep(0.6)
        assert lane.wait_s() == pytest.approx(0.4)
        await lane.wait()
        assert trio.current_time() - began_s == pytest.approx(1.0)
        assert lane.wait_s() == 0


async def test_rooms_that_came_while_an_append_was_prepared_fill_no_later_one(
    autojump_clock,
):
    async with rooms(4) as found:
        lane = Lane(Pacing(1.0, full=3))
        lane.carried(100, 0)
        lane.add(found[0])
        await lane.wait()
        for room in found[1:]:
            lane.add(room)
        while lane.pop() is not None:
            pass
        lane.carried(100, 0)
        lane.add(found[0])
        began_s = trio.current_time()
        await lane.wait()
        assert trio.current_time() - began_s == pytest.approx(1.0)


async def test_a_room_that_nobody_else_changes_is_never_left_to_others(autojump_clock):
    async with rooms(1) as (room,):
        lane = used_lane()
        lane.committed(room)
        lane.add(room)
        assert await seconds_until(lane, room) == 0


@pytest.mark.parametrize(("append_s", "expected_s"), [(APPEND_S, YIELD_S), (5.0, YIELD_MAX_S)])
async def test_a_room_that_others_change_is_left_to_them_for_a_while(autojump_clock, append_s, expected_s):
    async with rooms(1) as (room,):
        lane = used_lane(append_s)
        hear_often(lane, room)
        lane.committed(room)
        lane.add(room)
        assert lane.pop() is None
        assert abs(await seconds_until(lane, room) - expected_s) < 1e-6


async def test_a_change_of_the_others_ends_the_wait(autojump_clock):
    async with rooms(1) as (room,), trio.open_nursery() as nursery:
        lane = used_lane()
        hear_often(lane, room)
        lane.committed(room)
        lane.add(room)

        async def be_heard() -> None:
            await trio.sleep(YIELD_S / 4)
            lane.heard(room)

        nursery.start_soon(be_heard)
        assert abs(await seconds_until(lane, room) - YIELD_S / 4) < 1e-6


async def test_a_room_that_got_more_to_append_during_its_append_is_left_to_others_too(autojump_clock):
    async with rooms(2) as (room, other):
        lane = used_lane()
        hear_often(lane, room)
        lane.add(room)
        lane.add(other)
        lane.committed(room)
        assert await seconds_until(lane, other) == 0
        assert abs(await seconds_until(lane, room) - YIELD_S) < 1e-6


async def test_a_room_that_others_changed_long_ago_is_not_left_to_them(autojump_clock):
    async with rooms(1) as (room,):
        lane = used_lane()
        hear_often(lane, room)
        await trio.sleep(INTERVAL_YIELDS * YIELD_S)
        lane.committed(room)
        lane.add(room)
        assert await seconds_until(lane, room) == 0


async def test_a_room_whose_wait_is_over_is_popped_once_however_often_it_asks(autojump_clock):
    async with rooms(1) as (room,):
        lane = used_lane()
        hear_often(lane, room)
        lane.committed(room)
        lane.add(room)
        await trio.sleep(2 * YIELD_S)
        lane.add(room)
        await lane.wait()
        assert [lane.pop(), lane.pop()] == [room, None]


async def test_others_who_change_a_room_now_and_then_are_not_waited_for(autojump_clock):
    async with rooms(1) as (room,):
        lane = used_lane()
        for _ in range(20):
            await trio.sleep(2 * INTERVAL_YIELDS * YIELD_S)
            lane.heard(room)
        lane.committed(room)
        lane.add(room)
        assert await seconds_until(lane, room) == 0
