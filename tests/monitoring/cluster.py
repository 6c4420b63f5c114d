"""Nodes of several workers on one Redis and one PostgreSQL, under a Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import redis

from tests.cli.commands import Server, gateway, served, token
from tests.monitoring.prometheus import RULES, Prometheus, hurried, prometheus
from tests.servers import PostgresServer, RedisServer, postgres_server, redis_server

MAXMEMORY = 64 << 20
SETTINGS = (
    "limits.operations_per_minute=0",
    "limits.outbox_bytes_max=65536",
    "server.socket_send_bytes=8192",
    "timeouts.stall_timeout_s=3",
    "timeouts.room_idle_s=1",
    "timeouts.append_timeout_s=8",
    "limits.changes_default=5",
    "features.ab_test_variant=realtime_v2",
)


class Cluster(NamedTuple):
    """What runs. Both nodes have the secret of `data`."""

    nodes: list[Server]
    redis: RedisServer
    postgres: PostgresServer
    prometheus: Prometheus
    data: Path

    def configure_redis(self, name: str, value: object) -> None:
        """CONFIG SET."""
        with redis.Redis("127.0.0.1", self.redis.port) as client:
            client.config_set(name, str(value))

    def token(self, user: str = "ann", grant: str = "event:*=editor") -> str:
        return token(self.data, user, grant)


def words(name: str, redis_url: str, dsn: str, *settings: str) -> list[str]:
    """The options of a node."""
    options = ["--workers", "2", "--node", name, "--redis", redis_url, "--postgres", dsn]
    for setting in (*SETTINGS, *settings):
        options += ["--set", setting]
    return options


@asynccontextmanager
async def cluster(data: Path, *settings: str, rules: str = "") -> AsyncIterator[Cluster]:
    """Two nodes of two workers each. On the first, clients stay in the worker that they came to.

    `rules`: the alerts; left out, the shipped ones with their times shortened.
    """
    async with AsyncExitStack() as stack:
        server = stack.enter_context(
            redis_server("--maxmemory", str(MAXMEMORY), "--enable-protected-configs", "yes")
        )
        postgres = stack.enter_context(postgres_server("fsync=off"))
        dsn = stack.enter_context(postgres.database())
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        started = []
        for number in range(2):
            spread = f"server.hand_over={'true' if number else 'false'}"
            options = words(f"n{number}", server.url, dsn, *settings, spread)
            started.append(await stack.enter_async_context(served(data, *options)))
        targets = [node.admin.removeprefix("http://") for node in started]
        watched = await stack.enter_async_context(prometheus(targets, rules or hurried(RULES.read_text())))
        await watched.until_above("sum(up)", len(targets) - 1)  # what counters begin with was seen
        yield Cluster(started, server, postgres, watched, data)
