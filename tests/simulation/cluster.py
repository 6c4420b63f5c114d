"""Simulated nodes around one shared history: the real hub and gate, a log and a bus that misbehave."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

import trio

from gateway.admission import Features, Schemas, TokenIdentity, parse_grants
from gateway.bus.heads import Head, Heads
from gateway.config import Config
from gateway.errors import LogUnavailable
from gateway.hub.hub import Hub
from gateway.ports import Batch, BusListener, Failed, Group, Opening, Outcome, Record
from gateway.redislink.chains import Chains
from gateway.runtime.metrics import Counters
from gateway.sessions.endpoint import Endpoint
from gateway.wire import announcement
from tests.doubles.bus import MeetingPlace, MemoryBus
from tests.doubles.leases import LeaseTable, MemoryLeases
from tests.simulation.history import FragileHistory, WatchfulLog

CONFIG = Config().with_(
    limits={"operations_per_minute": 0, "window_versions_max": 8},
    log={"snapshot_versions": 16},
    timeouts={"room_idle_s": 5.0},
)
RULES = Schemas(CONFIG)
HEADS_COMPARED_EVERY_S = 10.0
EDITOR = parse_grants({"event:*": "editor"})
EPOCH_START_MS = 1_700_000_000_000


class Weather:
    """What goes wrong, and how often; a calm one lets everything through."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.bus_loss = rng.choice((0.0, 0.0, 0.1, 0.5))
        self.bus_delay_s = rng.choice((0.0, 0.05, 2.0))
        self.log_delay_s = rng.choice((0.0, 0.01, 0.3))
        self.reply_loss = rng.choice((0.0, 0.0, 0.1))
        self.log_down = False

    def calm(self) -> None:
        self.bus_loss = self.reply_loss = 0.0
        self.log_down = False


class StormyLog(WatchfulLog):
    """A log that is slow, is away for a while, or stores without being able to say so."""

    def __init__(self, history: FragileHistory, bus: StormyBus, weather: Weather) -> None:
        super().__init__(history, bus, bus.chains)
        self._weather = weather

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        await self._latency()
        if self._weather.log_down:
            return [Failed("away", "none", 100)] * len(batches)
        outcomes = await super().append(batches)
        await self._latency()
        rng = self._weather.rng
        lost = Failed("the answer was lost", "unknown", 100)
        return [lost if rng.random() < self._weather.reply_loss else outcome for outcome in outcomes]

    async def open(self, resource: str) -> Opening:
        await self._reach()
        opening = await super().open(resource)
        await self._latency()
        return opening

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        await self._reach()
        records = await super().read(resource, after, limit)
        await self._latency()
        return records

    async def heads(self, resources: Sequence[str]) -> dict[str, Head | None]:
        """See Heads."""
        await self._latency()
        if self._weather.log_down:
            return {}
        heads = {name: self.fragile.newest(name) for name in resources}
        await self._latency()
        return heads

    async def _reach(self) -> None:
        await self._latency()
        if self._weather.log_down:
            raise LogUnavailable("away", "none")

    async def _latency(self) -> None:
        await trio.sleep(self._weather.rng.uniform(0, self._weather.log_delay_s))


class NotingListener:
    """Notes in the node's chains what the bus delivers, before the hub gets it."""

    def __init__(self, listener: BusListener, chains: Chains) -> None:
        self._chains = chains
        self._listener = listener
        self.on_gap = listener.on_gap

    def on_message(self, resource: str, payload: bytes) -> None:
        if announcement.is_announcement(payload):
            self._chains.heard(resource, payload)
        self._listener.on_message(resource, payload)


class StormyBus(MemoryBus):
    """A bus that loses, delays and reorders messages, and notes what it delivers."""

    def __init__(self, place: MeetingPlace, weather: Weather) -> None:
        super().__init__(place)
        self.chains = Chains()
        self._weather = weather
        self._late: list[tuple[float, str, bytes]] = []

    @property
    def wanted(self) -> Collection[str]:
        """The resources that are subscribed."""
        return self._resources

    def attach(self, listener: BusListener) -> None:
        super().attach(NotingListener(listener, self.chains))

    async def unsubscribe(self, resource: str) -> None:
        await super().unsubscribe(resource)
        self.chains.forget(resource)

    def post(self, resource: str, payload: bytes) -> None:
        rng = self._weather.rng
        if rng.random() < self._weather.bus_loss:
            return
        if self._weather.bus_delay_s and rng.random() < 0.3:
            due_s = trio.current_time() + rng.uniform(0, self._weather.bus_delay_s)
            self._late.append((due_s, resource, payload))
        else:
            super().post(resource, payload)

    async def post_late_ones(self) -> None:
        while True:
            await trio.sleep(0.1)
            due = [item for item in self._late if item[0] <= trio.current_time()]
            self._late = [item for item in self._late if item[0] > trio.current_time()]
            for _, resource, payload in due:
                super().post(resource, payload)


class Passport:
    """An authenticator to whom the token is the user's name."""

    revision = 1

    def refresh(self, now_s: float) -> None:
        pass

    def verify(self, token: str, now_s: float) -> TokenIdentity:
        return TokenIdentity(token, token, "", 1e12, (), EDITOR, "")

    def reviewed(self, identity: TokenIdentity, now_s: float) -> TokenIdentity:
        return identity


class Node:
    """One worker of the cluster. `crash` ends it as `kill -9` would."""

    def __init__(
        self,
        name: str,
        history: FragileHistory,
        meeting_place: MeetingPlace,
        lease_table: LeaseTable,
        weather: Weather,
        make_group: Callable[[], Group],
        config: Config = CONFIG,
    ) -> None:
        self.counters = Counters()
        self.bus = StormyBus(meeting_place, weather)
        self.log = StormyLog(history, self.bus, weather)
        skew_ms = weather.rng.choice((0, 0, -5_000, 60_000))
        self.hub = Hub(
            config,
            self.log,
            self.bus,
            RULES,
            self.counters,
            make_group,
            lambda: EPOCH_START_MS + skew_ms + int(trio.current_time() * 1000),
            trio.current_time,
            MemoryLeases(lease_table, name, config.redis),
        )
        self._heads = Heads(
            self.bus.chains, self.bus.wanted, self.log.heads, self.hub.listener.on_gap, HEADS_COMPARED_EVERY_S
        )
        self.gate = Endpoint(name, config, self.hub, self.counters, Passport(), Features(config), 10_000)
        self.connections: dict[Any, None] = {}  # what ends with the node
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.bus.run)
                nursery.start_soon(self.bus.post_late_ones)
                await nursery.start(self.hub.run)
                nursery.start_soon(self.gate.sweep)
                nursery.start_soon(self._heads.run)
                task_status.started()

    def crash(self) -> None:
        self._scope.cancel()
        for connection in list(self.connections):
            connection.cut()

    @property
    def alive(self) -> bool:
        return not self._scope.cancel_called
