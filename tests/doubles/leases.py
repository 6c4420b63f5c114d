"""Presence by leases in memory, for several nodes in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from gateway.config import RedisSettings
from gateway.ports import LeaseListener, Member


class LeaseTable:
    """What all nodes share: the entries, and until when the lease of each node runs (Trio's clock)."""

    def __init__(self) -> None:
        self.leases: dict[str, float] = {}
        self.members: dict[str, dict[str, Member]] = {}

    def alive(self) -> set[str]:
        """The nodes whose lease runs."""
        return {node for node, until_s in self.leases.items() if until_s > trio.current_time()}


class MemoryLeases:
    """The port `Leases` of one node. A node that ends, however it does, lets its lease run out."""

    def __init__(self, table: LeaseTable, name: str, config: RedisSettings) -> None:
        self._table = table
        self._name = name
        self._config = config
        self._incarnation = 1
        self._listener: LeaseListener | None = None
        self._entries: dict[tuple[str, str], bytes] = {}
        self._alive: set[str] = set()

    @property
    def node(self) -> str:
        return f"{self._name}#{self._incarnation}"

    def attach(self, listener: LeaseListener) -> None:
        self._listener = listener

    def put(self, resource: str, session: str, entry: bytes) -> None:
        self._entries[resource, session] = entry
        self._table.members.setdefault(resource, {})[session] = Member(session, self.node, entry)

    def remove(self, resource: str, session: str) -> None:
        self._entries.pop((resource, session), None)
        self._table.members.get(resource, {}).pop(session, None)

    async def members(self, resources: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        await trio.lowlevel.checkpoint()
        alive = self._table.alive()
        entries = {resource: self._table.members.get(resource, {}).values() for resource in resources}
        return {name: [one for one in found if one.node in alive] for name, found in entries.items()}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._beat()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lease)
            nursery.start_soon(self._look_for_lost)
            task_status.started()

    async def _keep_lease(self) -> None:
        while True:
            await trio.sleep(self._config.node_heartbeat_s)
            if self.node not in self._table.alive():
                self._register_again()
            self._beat()

    def _beat(self) -> None:
        self._table.leases[self.node] = trio.current_time() + self._config.node_lease_s

    def _register_again(self) -> None:
        self._incarnation += 1
        for (resource, session), entry in self._entries.items():
            self.put(resource, session, entry)
        assert self._listener is not None, "attach a listener before the leases run"
        self._listener.on_lease_lapsed()

    async def _look_for_lost(self) -> None:
        assert self._listener is not None, "attach a listener before the leases run"
        while True:
            alive = self._table.alive()
            for node in sorted(self._alive - alive - {self.node}):
                self._listener.on_node_lost(node)
            for node in sorted(alive - self._alive - {self.node}):
                self._listener.on_node_found(node)
            self._alive = alive
            await trio.sleep(self._config.node_check_s)
