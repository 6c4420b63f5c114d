"""A node whose rollout is watched by a real Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.cli.commands import Server, gateway, served
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.servers import RedisServer, redis_server

MAXMEMORY = 64 << 20
QUICK = ("--hold", "4", "--look", "0.2")


class Watched(NamedTuple):
    """A node on a Redis, under a Prometheus with the shipped rules, hurried."""

    node: Server
    redis: RedisServer
    prometheus: Prometheus

    def command(self, *words: str) -> tuple[str, ...]:
        reach = ("--admin", self.node.admin, "--data", str(self.node.data))
        return ("rollout", *words, *reach, "--prometheus", self.prometheus.url, *QUICK)

    async def percentage(self) -> float:
        reach = ("--admin", self.node.admin, "--data", str(self.node.data))
        lines = (await gateway("flags", *reach)).out.splitlines()
        [line] = [line for line in lines if line.startswith("rollout_percentage")]
        return float(line.split()[2])


@asynccontextmanager
async def watched(data: Path, rules: str, *options: str) -> AsyncIterator[Watched]:
    with redis_server("--maxmemory", str(MAXMEMORY)) as server:
        words = ("--redis", server.url, "--set", "limits.user_cpu_share=1", *options)
        beginning = ("--set", "limits.operations_per_minute=0", "--set", "features.rollout_percentage=10")
        async with served(data, *words, *beginning) as node:
            target = node.admin.removeprefix("http://")
            async with prometheus([target], rules) as watching:
                await watching.until_above("sum(up)", 0)
                yield Watched(node, server, watching)
