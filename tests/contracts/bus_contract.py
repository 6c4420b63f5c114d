"""What every adapter of the port `Bus` does. A test module subclasses `BusContract` and says how to make it.

`buses(n)` gives the buses of n nodes that reach each other, not attached and not running.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from gateway.ports import Bus
from tests.waiting import PATIENCE_S, unawaited

ROOM = "event:42"


class Inbox:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.gaps: list[str] = []
        self._arrived = trio.Event()

    def on_message(self, resource: str, payload: bytes) -> None:
        self.messages.append((resource, payload))
        self._arrived.set()

    def on_gap(self, resource: str) -> None:
        self.gaps.append(resource)

    async def until(self, number: int) -> None:
        """Wait for so many messages."""
        with trio.fail_after(PATIENCE_S):
            while len(self.messages) < number:
                self._arrived = trio.Event()
                await self._arrived.wait()


class BusContract:
    """See the module's docstring."""

    def buses(self, number: int) -> AbstractAsyncContextManager[Sequence[Bus]]:
        raise NotImplementedError

    @asynccontextmanager
    async def nodes(self, number: int) -> AsyncIterator[tuple[Sequence[Bus], Sequence[Inbox]]]:
        """Buses that run, each with its inbox."""
        async with self.buses(number) as buses, unawaited() as nursery:
            inboxes = [Inbox() for _ in buses]
            for bus, inbox in zip(buses, inboxes, strict=True):
                bus.attach(inbox)
                await nursery.start(bus.run)
            yield buses, inboxes

    async def test_a_message_reaches_the_other_subscribers_and_not_oneself(self) -> None:
        async with self.nodes(3) as (buses, inboxes):
            for bus in buses:
                await bus.subscribe(ROOM)
            buses[0].publish(ROOM, b"hello")
            for inbox in inboxes[1:]:
                await inbox.until(1)
                assert inbox.messages == [(ROOM, b"hello")]
            buses[1].publish(ROOM, b"well")
            await inboxes[0].until(1)
            assert inboxes[0].messages == [(ROOM, b"well")]

    async def test_only_subscribers_of_the_resource_get_it(self) -> None:
        async with self.nodes(2) as (buses, inboxes):
            await buses[1].subscribe("event:1")
            buses[0].publish("event:2", b"no")
            buses[0].publish("event:1", b"yes")
            await inboxes[1].until(1)
            assert inboxes[1].messages == [("event:1", b"yes")]

    async def test_messages_of_one_sender_come_in_order(self) -> None:
        async with self.nodes(2) as (buses, inboxes):
            await buses[1].subscribe(ROOM)
            payloads = [b"%d" % n for n in range(500)]
            for payload in payloads:
                buses[0].publish(ROOM, payload)
            await inboxes[1].until(500)
            assert [payload for _, payload in inboxes[1].messages] == payloads

    async def test_nothing_comes_after_unsubscribe_and_all_after_subscribing_again(self) -> None:
        async with self.nodes(3) as (buses, inboxes):
            await buses[2].subscribe(ROOM)
            await buses[1].subscribe(ROOM)
            await buses[1].subscribe("event:7")
            await buses[1].unsubscribe(ROOM)
            buses[0].publish(ROOM, b"lost")
            buses[0].publish("event:7", b"heard")
            await inboxes[1].until(1)
            await inboxes[2].until(1)  # what was published while nobody listened here has passed
            await buses[1].subscribe(ROOM)
            buses[0].publish(ROOM, b"again")
            await inboxes[1].until(2)
            assert inboxes[1].messages == [("event:7", b"heard"), (ROOM, b"again")]

    async def test_subscribing_twice_hears_once(self) -> None:
        async with self.nodes(2) as (buses, inboxes):
            await buses[1].subscribe(ROOM)
            await buses[1].subscribe(ROOM)
            buses[0].publish(ROOM, b"a")
            buses[0].publish(ROOM, b"b")
            await inboxes[1].until(2)
            assert [payload for _, payload in inboxes[1].messages] == [b"a", b"b"]

    async def test_unsubscribing_what_is_not_subscribed_does_nothing(self) -> None:
        async with self.nodes(2) as (buses, inboxes):
            await buses[1].unsubscribe(ROOM)
            await buses[1].subscribe(ROOM)
            buses[0].publish(ROOM, b"a")
            await inboxes[1].until(1)

    async def test_any_bytes_and_any_name_pass(self) -> None:
        async with self.nodes(2) as (buses, inboxes):
            names = ["event:é", "event:日本:{p1}", "event:a b\n", "event:*"]
            payloads = [bytes(range(256)), b"", b"x" * 300_000, b"\r\n$5\r\n"]
            for name, payload in zip(names, payloads, strict=True):
                await buses[1].subscribe(name)
                buses[0].publish(name, payload)
            await inboxes[1].until(4)
            assert sorted(inboxes[1].messages) == sorted(zip(names, payloads, strict=True))

    async def test_a_node_that_ends_disturbs_nobody(self) -> None:
        async with self.buses(2) as buses, unawaited() as nursery:
            inbox = Inbox()
            buses[0].attach(inbox)
            buses[1].attach(Inbox())
            await nursery.start(buses[0].run)
            await buses[0].subscribe(ROOM)
            async with unawaited() as other:
                await other.start(buses[1].run)
                await buses[1].subscribe(ROOM)
                buses[1].publish(ROOM, b"last words")
                await inbox.until(1)
            buses[0].publish(ROOM, b"to nobody")
            assert inbox.messages == [(ROOM, b"last words")]
