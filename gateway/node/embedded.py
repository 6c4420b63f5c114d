"""The backend of a lone worker: all that it keeps is in its data directory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from gateway.bus.lone import LoneBus
from gateway.config import Config
from gateway.log import backup_series
from gateway.log.search.embedded import INDEX, SqliteSearch
from gateway.log.sqlite.audit import SqliteAudit
from gateway.log.sqlite.log import SqliteLog
from gateway.log.sqlite.summaries import SqliteSummaries
from gateway.log.values_file import ValuesFile
from gateway.node.searching import IndexProcess
from gateway.node.troubles import behind, damaged
from gateway.ports import Leases, RateStore
from gateway.ports.shared import SecretStore
from gateway.runtime.metrics import Counters
from gateway.wire.checksum import damage

FLAGS_FILE = "flags.json"
REVOCATIONS_FILE = "revocations.json"
WATCH_INTERVAL_S = 5.0


class EmbeddedBackend:
    """SQLite, and nobody else to tell. Raises what `SqliteLog` does."""

    leases: Leases | None = None
    rates: RateStore | None = None
    secrets: SecretStore | None = None

    def __init__(self, config: Config) -> None:
        self._directory = directory = Path(config.server.data_dir)
        self.log = self.keeper = SqliteLog(directory)
        self.bus = LoneBus()
        self.summaries = SqliteSummaries(directory)
        self.flags = ValuesFile(directory / FLAGS_FILE)
        self.revocations = ValuesFile(directory / REVOCATIONS_FILE)
        self.audit = SqliteAudit(directory)
        searched = config.search.enabled
        self.search = SqliteSearch(directory / INDEX) if searched else None
        self._indexing = IndexProcess(config.server.data_dir) if searched else None
        self._stop = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """See the port."""
        async with trio.open_nursery() as nursery:
            if self._indexing is not None:
                nursery.start_soon(self._indexing.run)
            try:
                task_status.started()
                with trio.CancelScope(shield=True):  # the log outlives who uses it
                    await self._stop.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await self._close()

    async def _close(self) -> None:
        """The log last: who is the last to close it leaves nothing but the database behind."""
        if self._indexing is not None:
            await self._indexing.stop()
        if self.search is not None:
            await self.search.aclose()
        await self.summaries.aclose()
        await self.audit.aclose()
        await self.log.aclose()

    async def reached(self, work: Callable[[], Awaitable[None]]) -> None:
        """Nothing of it is ever away."""
        await work()

    def stop(self) -> None:
        """See the port."""
        self._stop.set()

    async def check(self) -> None:
        """See the port."""
        await self.log.check()

    def measure(self, counters: Counters) -> None:
        """See the port."""
        counters.log_unwritable = int(bool(self.log.trouble))
        counters.log_damaged = damage.met
        if self._indexing is not None:
            self._indexing.measure(counters)

    @property
    def problems(self) -> Sequence[str]:
        """See the port."""
        refused = [f"edits are refused: {self.log.trouble}"] if self.log.trouble else []
        return [*refused, *([] if self._indexing is None else behind(self._indexing.trouble)), *damaged()]

    async def watch(self, counters: Counters) -> None:
        """There are no servers, but perhaps backups."""
        while True:
            age_s = await trio.to_thread.run_sync(backup_series.age_s, self._directory)
            counters.backup_age_seconds = age_s
            await trio.sleep(WATCH_INTERVAL_S)
