"""One simulated run, from one seed: a cluster, its users, its misfortunes, and what must hold at the end."""

from __future__ import annotations

import random
from typing import Any

import orjson
import trio
import trio.testing

from gateway import ot
from gateway.bus.local import LocalHub
from gateway.bus.local_presence import LeaseTable
from gateway.log.memory import MemoryHistory
from gateway.window import entries_of
from tests.simulation.cluster import EPOCH_START_MS, Node, Weather
from tests.simulation.network import Group
from tests.simulation.user import RESOURCE_ID, User

RESOURCE = f"event:{RESOURCE_ID}"
SETTLE_S = 240.0


class World:
    """Nodes come and go; users stay."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.weather = Weather(random.Random(seed + 1))
        self.history = MemoryHistory(EPOCH_START_MS, lambda: EPOCH_START_MS)
        self.meeting_place = LocalHub()
        self.lease_table = LeaseTable()
        self.nodes: list[Node] = []
        names = [f"u{number}" for number in range(self.rng.randint(2, 5))]
        self.users = [User(name, random.Random(f"{seed}-{name}"), self._pick_node) for name in names]

    def _pick_node(self) -> Node | None:
        alive = [node for node in self.nodes if node.alive]
        return self.rng.choice(alive) if alive else None

    async def run(self) -> None:
        """Live through it; raises AssertionError where something was lost or differs."""
        edits = self.rng.randint(5, 25)
        async with trio.open_nursery() as nursery:
            for _ in range(self.rng.randint(1, 3)):
                await self._add_node(nursery)
            for user in self.users:
                nursery.start_soon(user.live, edits)
            await self._misfortunes(nursery)
            await self._peace()
            self.check()
            nursery.cancel_scope.cancel()

    async def _add_node(self, nursery: trio.Nursery) -> None:
        name, shared = f"n{len(self.nodes)}", (self.history, self.meeting_place, self.lease_table)
        node = Node(name, *shared, self.weather, Group)
        self.nodes.append(node)
        await nursery.start(node.run)

    async def _misfortunes(self, nursery: trio.Nursery) -> None:
        while not all(user.done for user in self.users):
            await trio.sleep(self.rng.uniform(0.5, 3))
            chance = self.rng.random()
            if chance < 0.15:
                node = self._pick_node()
                if node is not None:
                    node.crash()
                await self._add_node(nursery)
            elif chance < 0.3:
                self.weather.log_down = True
                await trio.sleep(self.rng.uniform(0, 4))
                self.weather.log_down = False

    async def _peace(self) -> None:
        """Let everything arrive."""
        self.weather.calm()
        for user in self.users:
            user.settle_down()
        with trio.move_on_after(SETTLE_S):
            while not self._is_quiet():
                await trio.sleep(1)
                for user in self.users:
                    user.settle_down()

    def _is_quiet(self) -> bool:
        head = self.history.head(RESOURCE)[1]
        settled = all(user.replica.is_settled and user.replica.version == head for user in self.users)
        return settled and all(user.present == self.present() for user in self.users)

    def present(self) -> dict[str, Any]:
        """Who is there: session -> cursor."""
        return {user.session_id: user.cursor for user in self.users}

    def check(self) -> None:
        """Everyone converged and sees who is there; acknowledged edits are in the log, once, without gaps."""
        opened = self.history.open(RESOURCE)
        records = self.history.read(RESOURCE, 0, 1_000_000)
        assert [record.version for record in records] == list(range(1, len(records) + 1))
        document: Any = None
        for entry in entries_of(None, records):
            document = entry.after
        head = opened.records[-1].version if opened.records else opened.snapshot.version
        assert head == len(records), "the snapshot and the history end at different versions"
        self._check_once(records)
        for user in self.users:
            assert user.replica.is_settled, f"{user.name} still has something in flight"
            assert user.replica.version == head, f"{user.name} is at {user.replica.version}, not {head}"
            assert ot.canonical(user.replica.view) == ot.canonical(document), f"{user.name} diverged"
            assert user.present == self.present(), f"{user.name} sees others than are there"
        stamps = [record.timestamp for record in records]
        assert stamps == sorted(stamps), "timestamps decrease"

    def _check_once(self, records: Any) -> None:
        stored: dict[tuple[str, int], list[int]] = {}
        for record in records:
            assert orjson.loads(record.body)["version"] == record.version
            stored.setdefault((record.user_id, record.seq), []).append(record.version)
        for key, versions in stored.items():
            assert len(versions) == 1, f"{key} was committed {len(versions)} times: {versions}"
        for user in self.users:
            for seq, version in user.acknowledged.items():
                assert stored.get((user.name, seq)) == [version], f"{user.name}'s {seq} was lost"


def run(seed: int) -> World:
    """Run one seed under Trio's mock clock, in the same order of events each time."""
    core = trio._core._run
    core._ALLOW_DETERMINISTIC_SCHEDULING = True
    core._r.seed(seed)
    world = World(seed)
    trio.run(world.run, clock=trio.testing.MockClock(autojump_threshold=0))
    return world
