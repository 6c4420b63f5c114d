"""The bus in memory keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.ports import Bus
from tests.contracts.bus_contract import BusContract
from tests.doubles.bus import MeetingPlace, MemoryBus


class TestMemoryBus(BusContract):
    @asynccontextmanager
    async def buses(self, number: int) -> AsyncIterator[Sequence[Bus]]:
        place = MeetingPlace()
        yield [MemoryBus(place) for _ in range(number)]
