"""The simulated wire between one client and one node: latency, order, slow readers, sudden ends."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from gateway.ports import Ack, Admission, Connection, UpgradeRequest
from gateway.runtime.metrics import Counters
from gateway.transport.outbox import Outbox
from tests.rooms.parts import Readers
from tests.simulation.cluster import Node

OUTBOX_BYTES = 6_000
LATENCY_S = (0.001, 0.08)


class Link:
    """A connection. The node's side is the port `Connection`; the client awaits `receive` and calls `send`.

    What the node sends waits in a real outbox while the client is `slow`.
    """

    remote = "simulated"

    def __init__(self, rng: random.Random, counters: Counters) -> None:
        self._rng = rng
        self._outbox = Outbox(OUTBOX_BYTES, counters)
        self._wake = trio.Event()
        self._to_client, self._inbox = trio.open_memory_channel[bytes](100_000)
        self._to_node, self._from_client = trio.open_memory_channel[bytes](100_000)
        self._close_code: int | None = None
        self._scope = trio.CancelScope()
        self.groups: dict[Group, None] = {}
        self.slow = False

    # The node's side

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        if self._close_code is None:
            if not self._outbox.push(payload, topic, droppable, ack):
                self.close(4429, "slow")
            self._wake.set()

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.send(payload)

    def close(self, code: int, reason: str) -> None:
        if self._close_code is None:
            self._close_code = code
            self._wake.set()

    # The client's side

    async def receive(self) -> bytes:
        """The next message; trio.EndOfChannel when the connection is gone."""
        return await self._inbox.receive()

    def say(self, payload: bytes) -> None:
        self._to_node.send_nowait(payload)

    def resume_reading(self) -> None:
        self.slow = False
        self._wake.set()

    def cut(self) -> None:
        """The connection ends at once, whatever was on its way."""
        self._scope.cancel()

    async def run(self, node: Node) -> None:
        """Carry messages until either side ends it, or the node dies."""
        admission = node.gate.admit(
            UpgradeRequest("/realtime", {"sec-websocket-protocol": "collab.v1"}, "sim")
        )
        if not isinstance(admission, Admission):
            self._to_client.close()
            return
        self._session = admission.open(self)
        node.connections[self] = None
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_to_node)
                    await self._carry_to_client()
                    nursery.cancel_scope.cancel()
        finally:
            for group in tuple(self.groups):
                group.discard(self)
            self._outbox.discard()
            self._session.closed()
            del node.connections[self]
            self._to_client.close()

    async def _carry_to_node(self) -> None:
        async for payload in self._from_client:
            await trio.sleep(self._rng.uniform(*LATENCY_S))
            if self._close_code is not None:
                return
            work = self._session.receive(payload)
            if work is not None:
                await work

    async def _carry_to_client(self) -> None:
        while True:
            if not self.slow or self._close_code is not None:
                while self._outbox.refill(self._session.resync, self._session.presence_state):
                    payload = self._outbox.pop()
                    assert payload is not None
                    await trio.sleep(self._rng.uniform(*LATENCY_S))
                    self._to_client.send_nowait(payload)
                    if self.slow and self._close_code is None:
                        break
                if self._close_code is not None:
                    return
            self._wake = trio.Event()
            await self._wake.wait()


class Group(Readers):
    """The port `Group` over links, which know their groups."""

    def add(self, connection: Connection) -> None:
        assert isinstance(connection, Link)
        super().add(connection)
        connection.groups[self] = None

    def discard(self, connection: Connection) -> None:
        assert isinstance(connection, Link)
        super().discard(connection)
        connection.groups.pop(self, None)
