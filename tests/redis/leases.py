"""Who is here, by leases in a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gateway.bus.redis_presence import RedisPresence
from gateway.config import Config
from tests.redis.parts import running


class Leases:
    """A listener that keeps what it's told."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.found: list[str] = []
        self.lapses = 0

    def on_node_lost(self, node: str) -> None:
        self.lost.append(node)

    def on_node_found(self, node: str) -> None:
        self.found.append(node)

    def on_lease_lapsed(self) -> None:
        self.lapses += 1


@asynccontextmanager
async def node(config: Config, name: str) -> AsyncIterator[tuple[RedisPresence, Leases]]:
    async with running(config) as shards, trio.open_nursery() as nursery:
        presence, leases = RedisPresence(shards, name), Leases()
        presence.attach(leases)
        await nursery.start(presence.run)
        yield presence, leases
        nursery.cancel_scope.cancel()
