"""A worker's hub and gate over a real Redis, with clients whose wires are simulated."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from gateway.admission import Features
from gateway.bus.redis import RedisBus
from gateway.config import Config
from gateway.hub.hub import Hub
from gateway.log.archive import Archiver
from gateway.log.postgres.archive import PostgresArchive
from gateway.log.redis.log import RedisLog
from gateway.log.redis.outboxes import RedisOutbox
from gateway.runtime.clock import unix_ms
from gateway.runtime.metrics import Counters
from gateway.sessions.endpoint import Endpoint
from tests.redis.parts import running
from tests.simulation.cluster import RULES, Passport
from tests.simulation.network import Group, Link
from tests.simulation.user import RESOURCE_ID
from tests.waiting import unawaited

RESOURCE = f"event:{RESOURCE_ID}"


class Node:
    """One worker: the real hub and gate over real Redis; its users' wires are simulated."""

    alive = True

    def __init__(
        self, name: str, config: Config, log: RedisLog, bus: RedisBus, store: PostgresArchive | None
    ):
        self.counters = Counters()
        self.connections: dict[object, None] = {}
        self.log = log
        self.store = store
        self.bus = bus
        self.hub = Hub(
            config,
            log,
            bus,
            RULES,
            self.counters,
            Group,
            wall_ms=unix_ms,  # as the log has it, which forgets seqs by the time in them
            now_s=trio.current_time,
        )
        self.gate = Endpoint(name, config, self.hub, self.counters, Passport(), Features(config), 10_000)


@asynccontextmanager
async def node(name: str, config: Config, dsn: str | None) -> AsyncIterator[Node]:
    async with running(config) as shards, unawaited() as nursery:
        store = None if dsn is None else PostgresArchive(dsn)
        bus = RedisBus(shards)
        found = Node(name, config, RedisLog(shards, config, store), bus, store)
        await nursery.start(bus.run)
        await nursery.start(found.hub.run)
        nursery.start_soon(found.gate.sweep)
        yield found
    if store is not None:
        await store.aclose()


async def archive_all(config: Config, dsn: str) -> None:
    """Bring what is in the outboxes to the archive."""
    async with running(config) as shards:
        outbox, store = RedisOutbox(shards, config), PostgresArchive(dsn)
        while len(await outbox.take(1)) < config.redis.partitions:
            pass
        archiver = Archiver(outbox, store)
        while await archiver.step():
            pass
        await outbox.release()
        await store.aclose()


NAMED = {"resource_id": RESOURCE_ID, "resource_type": "event"}


class Client:
    """Says one thing at a time and waits for the answer to it."""

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self._link = link

    async def ask(self, kind: str, answers: tuple[str, ...], **payload: Any) -> dict[str, Any]:
        self._link.say(orjson.dumps({"type": kind, "id": f"{self.name}-{kind}", "payload": payload}))
        while True:
            message = orjson.loads(await self._link.receive())
            if message["type"] in answers:
                return {"type": message["type"], **message["payload"]}

    async def edit(self, version: int, title: str) -> dict[str, Any]:
        operation = {"op": "add", "path": "/title", "value": title}
        if version == 0:
            operation = {"op": "add", "path": "", "value": {"title": title}}
        named = {**NAMED, "client_id": self.name, "version": version}
        return await self.ask("OP", ("OP_ACK", "ERROR"), **named, operation=operation)

    async def told(self, kind: str) -> dict[str, Any]:
        """What it gets next of this kind."""
        while True:
            message = orjson.loads(await self._link.receive())
            if message["type"] == kind:
                payload: dict[str, Any] = message["payload"]
                return payload

    async def subscribe(self, **seen: int) -> dict[str, Any]:
        resource = {"resource": "event", "resource_id": RESOURCE_ID}
        return await self.ask("SUBSCRIBE", ("SUBSCRIBE_ACK", "ERROR"), **resource, **seen)


@asynccontextmanager
async def client(name: str, where: Node) -> AsyncIterator[Client]:
    link = Link(random.Random(name), where.counters)
    async with unawaited() as nursery:
        nursery.start_soon(link.run, where)
        found = Client(name, link)
        await found.ask("AUTH", ("AUTH_ACK",), token=name, client_id=name)
        await found.subscribe()
        yield found
