"""What was done and refused on this worker, on its way to the store of the audit.

Refusals come as fast as anybody likes to make them, so they are gathered: repetitions become one record that
counts them, and beyond a bound all others together.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import trio

from gateway.config import AuditSettings
from gateway.errors import LogUnavailable
from gateway.ports.audit import DONE, AuditEntry, AuditRecord, AuditSearch, AuditStore
from gateway.runtime.metrics import Counters
from gateway.runtime.outage import Outage

logger = logging.getLogger(__name__)

# So long an act waits to be written; then it goes on, and the record is written later.
RECORD_TIMEOUT_S = 5.0
# A write goes on where nobody waits for it any more. This is longer than the database gives a transaction (60
# seconds for a statement, of which one waits for others): none is begun again while it may succeed.
WRITE_TIMEOUT_S = 180.0
RETRY_S = 1.0
GATHER_S = 10.0
# Records that wait to be written; beyond, new ones are lost, and counted.
WAITING_MAX = 10_000
RETENTION_INTERVAL_S = 3600.0
# At the end: for a write that is under way, which isn't begun again, and for the last one.
END_TIMEOUT_S = 2.0
OTHERS = "others"
DAY_MS = 86_400_000


class Denial(NamedTuple):
    """A refusal, by which repetitions are the same."""

    act: str
    actor: str
    subject: str
    code: str


class AuditTrail:
    """The port `AuditLog`. `run` writes until cancelled."""

    def __init__(
        self,
        node: str,
        store: AuditStore,
        settings: AuditSettings,
        counters: Counters,
        wall_ms: Callable[[], int],
    ) -> None:
        self._node = node
        self._store = store
        self._settings = settings
        self._counters = counters
        self._wall_ms = wall_ms
        self._outage = Outage(logger, "the audit waits to be written", logging.ERROR)
        self._waiting: list[AuditEntry] = []
        self._refused: Counter[Denial] = Counter()
        self._wake = trio.Event()
        self._writing = trio.CancelScope()
        self._written = trio.Event()  # set, and another one, whenever some were
        self._added = self._done = 0
        self._is_ending = False
        self._tried = 0  # the first so many: they may be written, for an answer was lost
        self._given_up = 0  # the first so many of those that wait: their write was under way at the end

    async def record(self, act: str, actor: str, subject: str, result: str = DONE, /, **details: Any) -> None:
        """See the port."""
        self._add(act, actor, subject, result, details)
        await self._settled()

    def note(self, act: str, actor: str, subject: str, result: str = DONE, /, **details: Any) -> None:
        """As `record`, where nobody can wait."""
        self._add(act, actor, subject, result, details)
        self._wake.set()

    def refused(self, act: str, actor: str, subject: str, code: str) -> None:
        """See the port."""
        denial = Denial(act, actor, subject, code)
        if denial not in self._refused and len(self._refused) >= self._settings.refusals_max:
            denial = Denial(OTHERS, OTHERS, OTHERS, OTHERS)
        self._refused[denial] += 1

    async def find(self, wanted: AuditSearch) -> Sequence[AuditRecord]:
        """See the port."""
        self._gather()
        await self._settled()
        return await self._store.find(wanted)

    async def run(self) -> None:
        """Write, and take old records away, until cancelled; what is left then is written at the end."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._retain)
                try:
                    await trio.sleep_forever()
                finally:
                    self._is_ending = True
                    self._writing.deadline = trio.current_time() + END_TIMEOUT_S
        finally:
            self._gather()
            await self._try(END_TIMEOUT_S)

    async def _settled(self) -> None:
        """Wait until what was added is written, but not for long."""
        added = self._added
        with trio.move_on_after(RECORD_TIMEOUT_S):
            while self._done < added:
                self._wake.set()
                await self._written.wait()

    async def _write(self) -> None:
        while True:
            with trio.move_on_after(GATHER_S):
                await self._wake.wait()
            self._wake = trio.Event()
            self._gather()
            if not await self._try(WRITE_TIMEOUT_S):
                await trio.sleep(RETRY_S)
                self._wake.set()

    async def _retain(self) -> None:
        while True:
            since_ms = self._wall_ms() - int(self._settings.kept_days * DAY_MS)
            try:
                count = await self._store.retain(since_ms, self._node, self._wall_ms())
            except LogUnavailable as error:
                logger.warning("old records of the audit stay: %s", error)
            else:
                if count:
                    logger.info("%d records of the audit, older than audit.kept_days, went", count)
            await trio.sleep(RETENTION_INTERVAL_S)

    def _add(self, act: str, actor: str, subject: str, result: str, details: dict[str, Any]) -> None:
        entry = AuditEntry(self._wall_ms(), self._node, act, actor, subject, result, details)
        if len(self._waiting) >= WAITING_MAX:
            self._counters.audit_lost += 1
            logger.critical("the audit can't be written; not recorded: %s", _sentence(entry))
            return
        self._waiting.append(entry.cut())
        self._added += 1
        self._counters.audit_waiting = len(self._waiting)

    def _gather(self) -> None:
        refused, self._refused = self._refused, Counter()
        for denial, times in refused.items():
            self._add(*denial, {"times": times})

    async def _try(self, timeout_s: float) -> bool:
        """Write what waits; whether that succeeded in time, whoever is cancelled meanwhile. What was
        written, or may be yet, isn't written again."""
        first = self._given_up
        taken = self._waiting[first:]
        if not taken:
            return True
        try:
            with trio.fail_after(timeout_s, shield=True) as self._writing:
                records = await self._store.append(taken, max(0, self._tried - first))
        except (LogUnavailable, trio.TooSlowError) as error:
            self._counters.audit_failures += 1
            self._outage.lasts(str(error) or "its store is too slow")
            if isinstance(error, trio.TooSlowError) or error.outcome != "none":
                self._tried = max(self._tried, first + len(taken))
            if self._is_ending and isinstance(error, trio.TooSlowError):
                self._given_up += len(taken)
                logger.critical("%d records of the audit may be missing: nobody knows yet", len(taken))
            return False
        self._outage.over()
        self._done += len(taken)
        self._tried = first
        del self._waiting[first : first + len(taken)]
        self._counters.audit_waiting = len(self._waiting)
        self._counters.audit_records += len(records)
        for record in records:
            _tell(record)
        written, self._written = self._written, trio.Event()
        written.set()
        return True


def _tell(record: AuditRecord) -> None:
    """What a record's digest was is known outside of the store, too."""
    logger.info("audit %d %s: %s", record.number, record.digest, _sentence(record.entry))


def _sentence(entry: AuditEntry) -> str:
    """What happened, for people; who wasn't known has no name."""
    return f"{entry.actor or 'somebody'} did {entry.act} to {entry.subject}: {entry.result}"
