"""The bus of a node without others."""

from __future__ import annotations

import trio
import trio.testing

from gateway.bus.lone import LoneBus
from gateway.ports import Bus
from tests.contracts.bus_contract import ROOM, Inbox


async def test_nobody_is_heard_and_it_serves_until_it_is_cancelled() -> None:
    bus: Bus = LoneBus()
    inbox = Inbox()
    bus.attach(inbox)
    async with trio.open_nursery() as nursery:
        await nursery.start(bus.run)
        await bus.subscribe(ROOM)
        bus.publish(ROOM, b"to nobody")
        await bus.unsubscribe(ROOM)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        nursery.cancel_scope.cancel()
    assert not inbox.messages
    assert not inbox.gaps


async def test_whoever_waits_for_a_subscription_can_be_cancelled() -> None:
    bus = LoneBus()
    for wait in (bus.subscribe, bus.unsubscribe):
        with trio.move_on_after(0) as scope:
            await wait(ROOM)
        assert scope.cancelled_caught
