"""Workers over one log that loses data."""

from __future__ import annotations

from typing import Any

import trio

from gateway.hub.hub import Hub
from gateway.ports import Batch, Committed, Record
from gateway.redislink.chains import Chains
from gateway.rooms.room import Room
from gateway.rooms.window import entries_of
from gateway.runtime.metrics import Counters
from tests.doubles.bus import MeetingPlace, MemoryBus
from tests.simulation.cluster import CONFIG, EPOCH_START_MS, RULES
from tests.simulation.history import FragileHistory, WatchfulLog
from tests.simulation.network import Group

ROOM = "event:1"


class Cluster:
    """A history, and hubs on it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.history = FragileHistory(EPOCH_START_MS)
        self.counters = Counters()
        self._nursery = nursery
        self._place = MeetingPlace()

    async def room(self, upto: int | None = None) -> tuple[Hub, Room]:
        """A room on a node of its own, which keeps the last `upto` changes (all, for None)."""
        bus, chains = MemoryBus(self._place), Chains()
        log = WatchfulLog(self.history, bus, chains)
        hub = Hub(
            CONFIG,
            log,
            bus,
            RULES,
            self.counters,
            Group,
            wall_ms=lambda: EPOCH_START_MS + 1_000,
            now_s=trio.current_time,
        )
        await self._nursery.start(hub.run)
        room = await hub.open(ROOM)
        if upto is not None:
            room.history.window.trim(upto, 1 << 30)
        return hub, room

    def append(self, *records: Record) -> None:
        epoch, head = self.history.head(ROOM)
        batch = Batch(ROOM, epoch, head, f"nonce-{epoch}-{head}-{records[0].user_id}", records)
        assert self.history.append(batch) == Committed()

    @property
    def records(self) -> list[Record]:
        return list(self.history.read(ROOM, 0, 1000))

    @property
    def document(self) -> Any:
        return entries_of(None, self.records)[-1].after

    @property
    def counted(self) -> tuple[int, int, int]:
        counters = self.counters
        return counters.changes_rescued, counters.changes_folded, counters.changes_lost
