"""A backend for a node whose log a test has in its hands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from gateway.bus.lone import LoneBus
from gateway.ports import Leases, OpLog, RateStore
from gateway.ports.retention import HistoryKeeper
from gateway.ports.search import SearchIndex
from gateway.ports.shared import SecretStore
from gateway.ports.summaries import Summaries
from gateway.runtime.metrics import Counters
from tests.doubles.audit import MemoryAudit
from tests.doubles.values import MemoryValues


class MemoryBackend:
    """The log that is given, the rest in memory or not there at all."""

    leases: Leases | None = None
    rates: RateStore | None = None
    secrets: SecretStore | None = None
    summaries: Summaries | None = None
    search: SearchIndex | None = None
    keeper: HistoryKeeper | None = None
    problems: Sequence[str] = ()

    def __init__(self, log: OpLog) -> None:
        self.log = log
        self.bus = LoneBus()
        self.flags = MemoryValues()
        self.revocations = MemoryValues()
        self.audit = MemoryAudit()
        self._stop = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await self._stop.wait()

    async def reached(self, work: Callable[[], Awaitable[None]]) -> None:
        await work()

    def stop(self) -> None:
        self._stop.set()

    async def check(self) -> None:
        await self.log.open("event:readyz")

    def measure(self, counters: Counters) -> None:
        pass

    async def watch(self, counters: Counters) -> None:
        pass
