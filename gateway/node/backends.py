"""What a worker stands on: its log, its bus, and who keeps everything else, chosen from the configuration.

Embedded: SQLite, and no other node. In a cluster: Redis for order, fan-out and presence, PostgreSQL for the
lasting history, and a search server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from gateway.admission import Schemas
from gateway.config import Config, extras
from gateway.errors import ConfigError
from gateway.hub.retention import Policy
from gateway.node.embedded import EmbeddedBackend
from gateway.ports import Bus, Leases, OpLog, RateStore
from gateway.ports.audit import AuditStore
from gateway.ports.retention import HistoryKeeper
from gateway.ports.search import SearchIndex
from gateway.ports.shared import SecretStore, ValueStore
from gateway.ports.summaries import Summaries
from gateway.runtime.metrics import Counters


class Backend(Protocol):
    """What one worker stands on; what is None it has not. `run` comes before any use of the rest."""

    @property
    def log(self) -> OpLog: ...

    @property
    def bus(self) -> Bus: ...

    @property
    def leases(self) -> Leases | None: ...

    @property
    def rates(self) -> RateStore | None: ...

    @property
    def summaries(self) -> Summaries | None: ...

    @property
    def flags(self) -> ValueStore: ...

    @property
    def revocations(self) -> ValueStore: ...

    @property
    def secrets(self) -> SecretStore | None: ...

    @property
    def audit(self) -> AuditStore: ...

    @property
    def search(self) -> SearchIndex | None: ...

    @property
    def keeper(self) -> HistoryKeeper | None: ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until `stop`, or cancelled. Raises ConfigError, LogUnavailable when it can't start."""
        ...

    async def reached(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do a part of the start that asks what `run` serves, again while that is away; raises
        LogUnavailable."""
        ...

    def stop(self) -> None:
        """Begin the end: what is held for others is given back."""
        ...

    async def check(self) -> None:
        """Raise LogUnavailable unless the log answers."""
        ...

    def measure(self, counters: Counters) -> None:
        """Bring the counters up to date that the parts keep for themselves."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What an operator should know though the node serves, for people."""
        ...

    async def watch(self, counters: Counters) -> None:
        """Ask now and then how the servers are, until cancelled."""
        ...


def check_settings(config: Config) -> None:
    """Raise ConfigError for settings that don't go together, or need what isn't installed."""
    if config.server.workers > 1 and not config.is_cluster:
        raise ConfigError(
            f"server.workers = {config.server.workers}: several workers meet in Redis; add "
            "--redis redis://HOST:PORT (or --redis-cluster URL), or leave --workers at 1"
        )
    if config.postgres.dsn and not config.is_cluster:
        raise ConfigError(
            "postgres.dsn archives what is in Redis; add --redis redis://HOST:PORT (or --redis-cluster URL), "
            "or leave --postgres out: a lone gateway keeps its history in its data directory"
        )
    Policy(config.retention.days, config.retention.changes, Schemas(config).types)
    if config.is_cluster and (config.retention.days or config.retention.changes) and not config.postgres.dsn:
        raise ConfigError(
            "retention in a cluster is that of its archive: add --postgres DSN, or leave it out: Redis alone "
            "keeps about the last redis.history_versions changes of a resource"
        )
    if config.search.url and not config.postgres.dsn:
        raise ConfigError(
            "search.url is the index of a cluster, which is fed from its archive: add --postgres DSN, or "
            "leave it out: a lone gateway keeps an index of its own in its data directory"
        )
    for extra in extras.wanted(config):
        extra.require()


def backend_of(config: Config, name: str) -> Backend:
    """The backend that the configuration asks for; `name` is the worker's.

    Raises ConfigError; LogLocked, LogUnavailable where the data directory can't be used.
    """
    check_settings(config)
    if config.is_cluster:
        from gateway.node.cluster import ClusterBackend  # a lone node needs neither redis nor psycopg

        return ClusterBackend(config, name)
    return EmbeddedBackend(config)
