"""A bus in memory, for several nodes in one process."""

from __future__ import annotations

from collections import deque

import trio

from gateway.ports import BusListener


class MeetingPlace:
    """Where the buses of one process meet: the subscribers of each resource."""

    def __init__(self) -> None:
        self._subscribers: dict[str, dict[MemoryBus, None]] = {}  # in order, for simulations

    def add(self, resource: str, bus: MemoryBus) -> None:
        self._subscribers.setdefault(resource, {})[bus] = None

    def discard(self, resource: str, bus: MemoryBus) -> None:
        subscribers = self._subscribers.get(resource, {})
        subscribers.pop(bus, None)
        if not subscribers:
            self._subscribers.pop(resource, None)

    def publish(self, resource: str, payload: bytes, source: MemoryBus) -> None:
        for bus in self._subscribers.get(resource, ()):
            if bus is not source:
                bus.post(resource, payload)


class MemoryBus:
    """The port `Bus` of one node. `run` delivers messages, in the order of publishing."""

    def __init__(self, place: MeetingPlace) -> None:
        self._place = place
        self._listener: BusListener | None = None
        self._resources: set[str] = set()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._arrived = trio.Event()

    def attach(self, listener: BusListener) -> None:
        self._listener = listener

    async def subscribe(self, resource: str) -> None:
        await trio.lowlevel.checkpoint()
        self._resources.add(resource)
        self._place.add(resource, self)

    async def unsubscribe(self, resource: str) -> None:
        await trio.lowlevel.checkpoint()
        self._resources.discard(resource)
        self._place.discard(resource, self)

    def publish(self, resource: str, payload: bytes) -> None:
        self._place.publish(resource, payload, self)

    def post(self, resource: str, payload: bytes) -> None:
        """Called by the meeting place: a message of another node."""
        self._waiting.append((resource, payload))
        self._arrived.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            while True:
                await self._arrived.wait()
                self._arrived = trio.Event()
                self._deliver()
        finally:
            for resource in self._resources:
                self._place.discard(resource, self)

    def _deliver(self) -> None:
        assert self._listener is not None, "attach a listener before the bus runs"
        while self._waiting:
            resource, payload = self._waiting.popleft()
            if resource in self._resources:
                self._listener.on_message(resource, payload)
