"""The bus in memory: the contract, and what happens when a node leaves too much unread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from gateway.bus.local import MESSAGES_MAX, LocalBus, LocalHub
from gateway.ports import Bus
from tests.contracts.bus_contract import ROOM, BusContract, Inbox


class TestLocalBus(BusContract):
    @asynccontextmanager
    async def buses(self, number: int) -> AsyncIterator[Sequence[Bus]]:
        hub = LocalHub()
        yield [LocalBus(hub) for _ in range(number)]


async def test_a_node_that_leaves_too_much_unread_is_told_of_a_gap() -> None:
    hub = LocalHub()
    sender, reader, inbox = LocalBus(hub), LocalBus(hub), Inbox()
    reader.attach(inbox)
    await reader.subscribe(ROOM)
    for _ in range(MESSAGES_MAX + 1):
        sender.publish(ROOM, b"")
    async with trio.open_nursery() as nursery:
        await nursery.start(reader.run)
        await inbox.until(MESSAGES_MAX)
        nursery.cancel_scope.cancel()
    assert inbox.gaps == [None]
    assert len(inbox.messages) == MESSAGES_MAX


async def test_a_lone_bus_needs_no_hub() -> None:
    bus = LocalBus()
    await bus.subscribe(ROOM)
    bus.publish(ROOM, b"to nobody")
