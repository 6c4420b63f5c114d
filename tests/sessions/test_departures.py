"""Sessions that end and leave many rooms: in turns, and nobody meets half of it."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import trio

from gateway.runtime import close_codes
from gateway.sessions.departures import AT_ONCE
from tests.sessions.parts import Client, Desk, desk, one

ROOMS = [str(number) for number in range(100)]
ALL = [{"resource": "event", "resource_id": ident} for ident in ROOMS]


async def in_all_rooms(found: Desk, name: str) -> Client:
    """A client of every room; from now on each look at the clock takes a third of a turn."""
    client = await found.client(name)
    await client.say("SUBSCRIBE", resources=ALL)
    client.reader.take()
    found.worker.look_s = 0.0004
    return client


async def left_by_turns(found: Desk, most: int = 0) -> list[int]:
    """How many subscriptions there are after each turn, until there are so many."""
    counts = [found.counters.subscriptions]
    while found.counters.subscriptions > most:
        await trio.lowlevel.checkpoint()
        if found.counters.subscriptions != counts[-1]:
            counts.append(found.counters.subscriptions)
    return counts


async def test_who_was_in_many_rooms_leaves_them_in_turns(autojump_clock):
    async with desk() as found:
        ann = await in_all_rooms(found, "ann")
        ann.leave()
        assert (ann.session.has_ended, len(ann.session.subscriptions)) == (True, 0)
        counts = await left_by_turns(found)
        assert counts[0] == len(ROOMS)
        assert max(before - after for before, after in pairwise(counts)) <= 3
        assert all(found.room(ident).subscriber_count == 0 for ident in ROOMS)
        assert found.counters.presences == 0


async def test_few_rooms_are_left_at_once(autojump_clock):
    async with desk() as found:
        ann = await found.client("ann")
        await ann.say("SUBSCRIBE", resources=ALL[:AT_ONCE])
        ann.leave()
        assert found.counters.subscriptions == 0


async def test_who_comes_back_does_not_meet_himself(autojump_clock):
    async with desk() as found:
        bob = await found.client("bob")
        await bob.subscribe("0")
        await in_all_rooms(found, "ann")
        bob.reader.take()
        back = await found.client("ann")  # it takes the place of the other connection
        assert found.counters.subscriptions > 1
        said = await back.subscribe("0")
        assert found.room("0").subscriber_count == 2
        sessions = {entry["session_id"] for entry in one(said, "PRESENCE_STATE")["presences"]}
        assert sessions == {bob.session.id, back.session.id}
        assert bob.reader.kinds() == ["PRESENCE_LEAVE", "PRESENCE_JOIN"]
        assert (await left_by_turns(found, 2))[-1] == 2
        assert found.room("0").subscriber_count == 2
        assert bob.reader.kinds() == []


async def test_a_subscription_under_way_does_not_begin_any_more(autojump_clock):
    async with desk() as found, trio.open_nursery() as nursery:
        ann = await found.client("ann")
        found.worker.log.hold_opens()
        nursery.start_soon(partial(ann.say, "SUBSCRIBE", resources=ALL))
        await trio.testing.wait_all_tasks_blocked()
        ann.session.close(close_codes.REPLACED, "replaced")
        found.worker.log.opens.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (found.counters.subscriptions, len(ann.session.subscriptions)) == (0, 0)


async def test_who_is_about_to_leave_does_not_turn_visible(autojump_clock):
    async with desk() as found:
        ann = await in_all_rooms(found, "ann")
        bob = await found.client("bob")
        await bob.subscribe("0")
        for visible in (False, True):  # the second turn waits
            await ann.say("PRESENCE_UPDATE", resource_id="0", visible=visible)
        bob.reader.take()
        ann.leave()
        roster = found.room("0").roster
        roster.tick(found.room("0").wall_ms() + 60_000)
        assert bob.reader.kinds() == []


async def test_a_node_ends_when_all_have_left(autojump_clock):
    async with desk() as found:
        ann = await in_all_rooms(found, "ann")
        left = []

        async def end() -> None:
            await found.endpoint.drain()
            left.append(found.counters.subscriptions)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            while ann.reader.closed_with is None:
                await trio.lowlevel.checkpoint()
            ann.leave()
            assert found.counters.subscriptions
        assert left == [0]
