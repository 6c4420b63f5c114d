"""The backend of a worker in a cluster: Redis servers, and what is behind them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from gateway.bus.redis import RedisBus
from gateway.bus.redis_presence import RedisPresence
from gateway.bus.redis_rates import RedisRates
from gateway.bus.redis_secrets import RedisSecrets
from gateway.bus.redis_values import RedisValues
from gateway.config import Config, SearchSettings, extras
from gateway.errors import LogUnavailable
from gateway.log.archive import Archiver
from gateway.log.cluster import backup_note
from gateway.log.cluster.history import ClusterHistory
from gateway.log.postgres.archive import PostgresArchive, dsn_of
from gateway.log.postgres.audit import PostgresAudit
from gateway.log.postgres.summaries import PostgresSummaries
from gateway.log.redis.log import RedisLog
from gateway.log.redis.outboxes import RedisOutbox
from gateway.log.search.cluster import ClusterIndexing
from gateway.log.search.opensearch import OpenSearchIndex, Rest
from gateway.log.sqlite.audit import SqliteAudit
from gateway.log.sqlite.log import make_directory
from gateway.node.patience import Patience
from gateway.node.troubles import behind, damaged
from gateway.ports.audit import AuditStore
from gateway.ports.retention import HistoryKeeper
from gateway.ports.search import SearchIndex
from gateway.redislink.address import Address
from gateway.redislink.facts import ServerFacts, gather
from gateway.redislink.keys import FLAGS_KEY, REVOCATIONS_KEY
from gateway.redislink.link import pack
from gateway.redislink.memory import MemoryWatch
from gateway.redislink.shards import Call, Shards
from gateway.runtime.logs import ONCE_A_NODE
from gateway.runtime.metrics import Counters
from gateway.wire.checksum import damage

logger = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 1.0
STORE_AWAY = (
    ". Edits of what Redis holds go on; what it doesn't hold, new resources among it, can't be opened"
)
# INFO costs a server some tens of microseconds.
WATCH_INTERVAL_S = 5.0
# What is told of each Redis server.
LEVELS: Mapping[str, Callable[[ServerFacts], float]] = {
    "redis_memory_bytes": lambda known: known.memory_bytes,
    "redis_memory_limit_bytes": lambda known: known.memory_limit_bytes,
    "redis_unbounded": lambda known: int(not known.bounded),
    "redis_evicted_keys": lambda known: known.evicted_keys,
    "redis_replicas": lambda known: known.replicas,
    "redis_replica_lag_bytes": lambda known: known.replica_lag_bytes,
    "redis_persistence_failing": lambda known: int(not known.persistence_ok),
    "redis_answer_seconds": lambda known: known.answer_s,
}


def _update(levels: dict[str, float], found: Mapping[str, float], serving: Set[str]) -> None:
    """Take what was found; of a server that serves no more, nothing is told."""
    levels.update(found)
    for name in levels.keys() - serving:
        del levels[name]


def rest_of(settings: SearchSettings) -> Rest:
    """The search server; raises ConfigError."""
    extras.SEARCH.require()
    from gateway.log.search.rest import HttpRest

    return HttpRest(settings)


def _audit_in(data_dir: str) -> AuditStore:
    """The audit of a node without an archive, which may keep nothing else there. Raises ConfigError."""
    with suppress(OSError):  # each use of the audit tells it
        make_directory(Path(data_dir))
    return SqliteAudit(data_dir)


class ClusterBackend:
    """Redis servers, and the archive behind them where there is one."""

    def __init__(self, config: Config, name: str) -> None:
        self._shards = Shards(config.redis)
        self._archive = PostgresArchive(dsn_of(config.postgres)) if config.postgres.dsn else None
        self._memory = MemoryWatch(self._shards, config.redis.evict_memory_percent)
        self._outbox = RedisOutbox(self._shards, config, self._memory.pressed)
        self.summaries = PostgresSummaries(self._archive) if self._archive else None
        self._archiver = None if self._archive is None else Archiver(self._outbox, self._archive)
        self._stop = trio.Event()
        self.bus = RedisBus(self._shards)
        self.log = RedisLog(self._shards, config, self._archive)
        self.log.on_full = self._memory.refused
        self.leases = RedisPresence(self._shards, name)
        self.rates = RedisRates(self._shards)
        self.flags = RedisValues(self._shards, FLAGS_KEY)
        self.revocations = RedisValues(self._shards, REVOCATIONS_KEY)
        self.secrets = RedisSecrets(self._shards)
        self.audit = PostgresAudit(self._archive) if self._archive else _audit_in(config.server.data_dir)
        self._rest: Rest | None = None
        self._indexing: ClusterIndexing | None = None
        self.search: SearchIndex | None = None
        if config.search.url and config.search.enabled and self._archive is not None:
            self._rest = rest_of(config.search)
            self.search = OpenSearchIndex(self._rest, config.search.index)
            self._indexing = ClusterIndexing(self._archive, self._rest, config.search.index)
        self.keeper: HistoryKeeper | None = None
        if self._archive is not None:
            self.keeper = ClusterHistory(self.log, self._archive, self._indexing)
        self._history_versions = config.redis.history_versions
        self._patience = Patience(config.server.start_wait_max_s if config.server.start_wait else 0.0)
        self._warned: set[str] = set()  # servers, by name

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """See the port."""
        try:
            if self._archive is not None:
                await self._patience.reached(self._archive.verify, "PostgreSQL")
            async with trio.open_nursery() as servers:
                await self.reached(partial(servers.start, self._shards.run))
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._memory.run)
                    await self._start_archiving(nursery)
                    if self._indexing is not None:
                        nursery.start_soon(self._indexing.run)
                    task_status.started()
                    await self._stop.wait()
                    nursery.cancel_scope.cancel()
                servers.cancel_scope.cancel()
        finally:
            await self.audit.aclose()
            if self._rest is not None:
                await self._rest.aclose()
            if self._archive is not None:
                await self._archive.aclose()

    async def _start_archiving(self, nursery: trio.Nursery) -> None:
        if self._archiver is None or self._archive is None:
            logger.info(
                "no archive (--postgres): history is what Redis keeps, about the last %d changes of a "
                "resource (redis.history_versions); no resource ever leaves Redis",
                self._history_versions,
                extra=ONCE_A_NODE,
            )
            return
        await nursery.start(self._archiver.run)
        await nursery.start(self._outbox.run_evictions, self._archive)

    async def reached(self, work: Callable[[], Awaitable[None]]) -> None:
        """See the port."""
        await self._patience.reached(work, "Redis")

    def stop(self) -> None:
        """See the port."""
        self._stop.set()

    async def check(self) -> None:
        """Raise LogUnavailable when no Redis server answers: with some of them, part of the edits goes on."""
        calls = [Call(partition, pack((b"PING",))) for partition in self._shards.first_partitions().values()]
        replies = await self._shards.calls(calls, timeout_s=CHECK_TIMEOUT_S)
        if all(isinstance(reply, Exception) for reply in replies):
            raise LogUnavailable(f"no Redis server answers: {replies[0]}", "none")

    def measure(self, counters: Counters) -> None:
        """See the port."""
        counters.bus_lost = self.bus.messages_lost
        counters.reservations = self.log.reservations
        counters.redis_unreachable = len(self._shards.away)
        counters.log_unwritable = int(bool(self._memory.full))
        counters.log_damaged = damage.met
        if self._archiver is not None:
            numbers = self._archiver.numbers
            counters.archive_changes = numbers.changes
            counters.archive_failures = numbers.failures
            counters.archive_gaps = numbers.gaps
            counters.archive_waiting = numbers.waiting
            counters.archive_blocked = len(numbers.blocked)
            counters.archive_lag_seconds = self._archiver.lag_ms / 1000
        if self._indexing is not None:
            counters.search_changes = self._indexing.changes
            counters.search_failures = self._indexing.failures
            counters.search_lag_seconds = self._indexing.lag_s

    @property
    def problems(self) -> Sequence[str]:
        """See the port."""
        if self._patience.awaited:
            return [self._patience.awaited]
        found = [
            *(
                f"redis {name} is out of reach: edits of its resources are refused"
                for name in self._shards.away
            ),
            *(self._full(address) for address in self._memory.full),
            *damaged(),
        ]
        if self._archiver is not None and self._archiver.numbers.trouble:
            waits = f"the archive waits: {self._archiver.numbers.trouble}"
            found.append(waits + (STORE_AWAY if self._archiver.numbers.store_away else ""))
        return found + ([] if self._indexing is None else behind(self._indexing.trouble))

    def _full(self, address: Address) -> str:
        """What is the matter with a full server, and the way out."""
        limit = self._memory.found[address].limit
        said = f"redis {address.name} is full (maxmemory {limit} bytes): edits are refused"
        if self._archive is None:
            return f"{said} until its maxmemory is raised: without an archive (--postgres) nothing leaves it"
        return f"{said} until the archive has freed it, which it does by itself; or raise its maxmemory"

    async def watch(self, counters: Counters) -> None:
        """See the port."""
        while True:
            facts = await gather(self._shards)
            serving = {address.name for address in self._shards.first_partitions()}
            for name, known in facts.items():
                self._warn_of(name, known)
            for level, of in LEVELS.items():
                _update(getattr(counters, level), {name: of(known) for name, known in facts.items()}, serving)
            with suppress(LogUnavailable):  # what is known stays
                counters.backup_age_seconds = await backup_note.age_s(self._shards)
            await trio.sleep(WATCH_INTERVAL_S)

    def _warn_of(self, name: str, known: ServerFacts) -> None:
        """Say once what nobody is told of otherwise."""
        if not known.bounded and name not in self._warned:
            self._warned.add(name)
            logger.warning(
                "redis %s has no maxmemory: it grows until its machine has no memory left. Set one below "
                "that, with maxmemory-policy noeviction",
                name,
                extra=ONCE_A_NODE,
            )
