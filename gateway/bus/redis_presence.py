"""Who is present, on all nodes: entries in Redis that live as long as the lease of the node that wrote them.

A node renews one lease a server, not one an entry, every `node_heartbeat_s`; each node looks every
`node_check_s` which leases run, and tells its listener of a node that is lost. A node whose own lease lapsed
(frozen, cut off) takes a new incarnation and writes its entries again.

    presence = RedisPresence(shards, "node-1")
    presence.attach(listener)
    await nursery.start(presence.run)
    presence.put("event:42", session_id, entry)      # soon written, the latest entry wins
    members = await presence.members("event:42")     # of every node
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import hiredis
import trio

from gateway.ports import LeaseListener, Member
from gateway.redislink.address import Address
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import LEFT, leases, partition_of
from gateway.redislink.keys import presence as presence_key
from gateway.redislink.link import Reply, pack
from gateway.redislink.shards import Call, Shards

logger = logging.getLogger(__name__)

WRITES_A_ROUND = 500
# Entries of a resource that nobody opens again go after so long; those of a living node are renewed in time.
ENTRIES_TTL_S = 7200
RENEWAL_S = 1800
RETRY_PAUSE_S = 0.2
# So long others can tell a node that left by itself from one that is lost.
LEFT_KNOWN_MS = 30_000


def _member(session: bytes, value: bytes) -> Member:
    node, _, entry = value.partition(b"\n")
    return Member(session.decode(), node.decode(), entry)


class RedisPresence:
    """See the module."""

    def __init__(self, shards: Shards, node: str) -> None:
        self._shards = shards
        self._config = shards.config
        self._name = node
        self.node = self._incarnation()
        self._listener: LeaseListener | None = None
        self._entries: dict[tuple[str, str], bytes] = {}
        self._dirty: dict[tuple[str, str], None] = {}
        self._written = trio.Event()
        self._alive: dict[Address, set[str]] = {}
        self._trusting_until = 0.0
        self._looking = trio.Lock()

    def _incarnation(self) -> str:
        return f"{self._name}#{os.urandom(6).hex()}"

    def attach(self, listener: LeaseListener) -> None:
        """Set the listener, once, before `run`."""
        self._listener = listener

    # --------------------------------------------------------------------------------------- entries

    def put(self, resource: str, session: str, entry: bytes) -> None:
        """A session of this node is present (or its entry changed)."""
        self._entries[resource, session] = entry
        self._touch(resource, session)

    def remove(self, resource: str, session: str) -> None:
        """A session of this node isn't present any more."""
        if self._entries.pop((resource, session), None) is not None:
            self._touch(resource, session)

    def _touch(self, resource: str, session: str) -> None:
        self._dirty[resource, session] = None
        self._written.set()

    async def members(self, resource: str) -> Sequence[Member]:
        """Everyone who is present, on whichever node; entries of lost nodes are left out, and deleted.

        Raises LogUnavailable.
        """
        key = presence_key(resource, self._config.partitions)
        partition = partition_of(resource, self._config.partitions)
        reply = await self._shards.call(Call(partition, pack(("HGETALL", key))))
        members = [_member(session, value) for session, value in reply.items()]
        if all(self._counts(partition, member.node) for member in members):
            return members
        # A node takes its lease before it writes entries, so a look that comes after them is fair.
        await self._look()
        lost = [member for member in members if not self._counts(partition, member.node)]
        if lost:
            fields = [member.session for member in lost]
            await self._shards.call(Call(partition, pack(("HDEL", key, *fields))))
        return [member for member in members if member not in lost]

    def _counts(self, partition: int, node: str) -> bool:
        alive = self._alive.get(self._shards.table.owners[partition])
        return node == self.node or self._trusting() or alive is None or node in alive

    def _trusting(self) -> bool:
        """For the length of a lease after a change of the routing table, absent leases prove nothing."""
        return trio.current_time() < self._trusting_until

    # --------------------------------------------------------------------------------------- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the first leases taken. At the end they are given back."""
        assert self._listener is not None, "attach a listener before the presence runs"
        self._shards.on_table.append(self._rerouted)
        self._rerouted()
        await self._beat(first=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._keep_leases)
                nursery.start_soon(self._look_for_lost)
                nursery.start_soon(self._renew)
                task_status.started()
        finally:
            self._shards.on_table.remove(self._rerouted)
            with trio.move_on_after(self._config.connect_timeout_s, shield=True):
                await self._on_each_server(b"FCALL", "leave", self.node, LEFT_KNOWN_MS)

    def _rerouted(self) -> None:
        self._trusting_until = trio.current_time() + self._config.node_lease_s
        self._alive.clear()
        # What was written to a partition while it moved may be lost.
        for resource, session in self._entries:
            self._touch(resource, session)

    async def _on_each_server(self, command: bytes, function: str, *args: Any) -> dict[Address, Reply]:
        """Call a function for the leases on each server; those that don't answer soon are left out."""
        first = self._shards.first_partitions()
        name = self._shards.library.function(function)
        calls = [
            Call(partition, pack((command, name, 1, leases(partition), *args)))
            for partition in first.values()
        ]
        replies = await self._shards.calls(calls, timeout_s=self._config.node_check_s)
        failures = (LinkError, hiredis.ReplyError)
        pairs = zip(first, replies, strict=True)
        return {address: reply for address, reply in pairs if not isinstance(reply, failures)}

    async def _keep_leases(self) -> None:
        while True:
            await trio.sleep(self._config.node_heartbeat_s)
            await self._beat()

    async def _beat(self, first: bool = False) -> None:
        lease_ms = int(self._config.node_lease_s * 1000)
        replies = await self._on_each_server(b"FCALL", "beat", self.node, lease_ms)
        lapsed = any(reply[1] == 0 for reply in replies.values())
        if lapsed and not first and not self._trusting():
            await self._register_again(lease_ms)

    async def _register_again(self, lease_ms: int) -> None:
        """Others may have dropped this node: come back as another incarnation."""
        old, self.node = self.node, self._incarnation()
        logger.warning("the lease of %s lapsed; going on as %s", old, self.node)
        await self._on_each_server(b"FCALL", "leave", old, LEFT_KNOWN_MS)
        await self._on_each_server(b"FCALL", "beat", self.node, lease_ms)
        for resource, session in self._entries:
            self._touch(resource, session)
        assert self._listener is not None
        self._listener.on_lease_lapsed()

    async def _look_for_lost(self) -> None:
        while True:
            await self._look()
            await trio.sleep(self._config.node_check_s)

    async def _look(self) -> None:
        # One look at a time, since an older answer that is handled later would bring lost nodes back.
        async with self._looking:
            replies = await self._on_each_server(b"FCALL_RO", "alive")
            for address, reply in replies.items():
                names = {name.decode() for name in reply[1]}
                left = {name.removeprefix(LEFT) for name in names if name.startswith(LEFT)}
                self._compare(address, {name for name in names if not name.startswith(LEFT)}, left)

    def _compare(self, address: Address, alive: set[str], left: set[str]) -> None:
        before = self._alive.get(address, set())
        if self._trusting():
            # Keep whom we knew: a lease that isn't there yet is no lost node.
            alive |= before
        self._alive[address] = alive
        assert self._listener is not None
        for node in before - alive - {self.node}:
            logger.log(logging.DEBUG if node in left else logging.WARNING, "node %s is lost", node)
            self._listener.on_node_lost(node)

    # --------------------------------------------------------------------------------------- writing

    async def _write(self) -> None:
        while True:
            await self._written.wait()
            self._written = trio.Event()
            while self._dirty:
                places = list(self._dirty)[:WRITES_A_ROUND]
                for place in places:
                    del self._dirty[place]
                await self._write_entries(places)

    async def _write_entries(self, places: Sequence[tuple[str, str]]) -> None:
        """Write what these entries are now; what fails is dirty again."""
        replies = await self._shards.calls([self._call(*place) for place in places])
        failed = [
            place
            for place, reply in zip(places, replies, strict=True)
            if isinstance(reply, LinkError | hiredis.ReplyError)
        ]
        for place in failed:
            self._dirty.setdefault(place)
        if failed:
            await trio.sleep(RETRY_PAUSE_S)

    def _call(self, resource: str, session: str) -> Call:
        partition = partition_of(resource, self._config.partitions)
        key = presence_key(resource, self._config.partitions)
        entry = self._entries.get((resource, session))
        if entry is None:
            return Call(partition, pack(("HDEL", key, session)))
        value = b"%s\n%s" % (self.node.encode(), entry)
        name = self._shards.library.function("enter")
        return Call(partition, pack(("FCALL", name, 1, key, session, value, ENTRIES_TTL_S)))

    async def _renew(self) -> None:
        """Keep the keys of resources that this node is present in from expiring."""
        while True:
            await trio.sleep(RENEWAL_S)
            resources = list({resource for resource, _ in self._entries})
            for start in range(0, len(resources), WRITES_A_ROUND):
                names = resources[start : start + WRITES_A_ROUND]
                await self._shards.calls([self._expiry(name) for name in names])

    def _expiry(self, resource: str) -> Call:
        key = presence_key(resource, self._config.partitions)
        partition = partition_of(resource, self._config.partitions)
        return Call(partition, pack(("EXPIRE", key, ENTRIES_TTL_S)))
