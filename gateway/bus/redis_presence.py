"""Who is present, on all nodes: entries in Redis that live as long as the lease of the node that wrote them.

A node renews one lease a server, not one an entry, every `node_heartbeat_s`; each node looks every
`node_check_s` which leases run, and tells its listener of a node that is lost. A node whose own lease lapsed
(frozen, cut off) takes a new incarnation and writes its entries again.

    presence = RedisPresence(shards, "node-1")
    presence.attach(listener)
    await nursery.start(presence.run)
    presence.put("event:42", session_id, entry)      # soon written, the latest entry wins
    members = await presence.members(["event:42"])   # of every node
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import trio

from gateway.bus.known_leases import KnownLeases
from gateway.bus.own_entries import OwnEntries, Place
from gateway.errors import LogUnavailable
from gateway.ports import LeaseListener, Member
from gateway.redislink.address import Address
from gateway.redislink.keys import LEFT, leases, partition_of
from gateway.redislink.keys import presence as presence_key
from gateway.redislink.link import Reply, failed, pack
from gateway.redislink.shards import Call, Shards
from gateway.runtime.timeslice import Slices

logger = logging.getLogger(__name__)

WRITES_A_ROUND = 500
# Entries of a resource that nobody opens again go after so long; those of a living node are renewed in time.
ENTRIES_TTL_S = 7200
RENEWAL_S = 1800
RETRY_PAUSE_S = 0.2
# So long others can tell a node that left by itself from one that is lost.
LEFT_KNOWN_MS = 30_000
# A look at a server counts for so many of the times between two: one may be under way, and its answer late.
LOOKS_COUNTED = 3


def _member(session: bytes, value: bytes) -> Member:
    node, _, entry = value.partition(b"\n")
    return Member(session.decode(), node.decode(), entry)


def _value(node: str, entry: bytes) -> bytes:
    return b"%s\n%s" % (node.encode(), entry)


class RedisPresence:
    """See the module."""

    def __init__(self, shards: Shards, node: str) -> None:
        self._shards = shards
        self._config = shards.config
        self._name = node
        self.node = self._incarnation()
        self._listener: LeaseListener | None = None
        self._entries = OwnEntries()
        self._dirty: dict[Address, dict[Place, None]] = {}
        self._writing: set[Address] = set()
        self._touched = trio.Event()
        self._reroutes = 0
        self._known = KnownLeases(LOOKS_COUNTED * self._config.node_check_s)
        self._beaten_s: dict[Address, float] = {}
        self._lapsed, self._connects = False, 0  # at the last beat
        self._trusting_until = 0.0
        self._looking: dict[Address, trio.Lock] = defaultdict(trio.Lock)

    def _incarnation(self) -> str:
        return f"{self._name}#{os.urandom(6).hex()}"

    def attach(self, listener: LeaseListener) -> None:
        """Set the listener, once, before `run`."""
        self._listener = listener

    # --------------------------------------------------------------------------------------- entries

    def put(self, resource: str, session: str, entry: bytes) -> None:
        """A session of this node is present (or its entry changed)."""
        self._entries.put((resource, session), entry)
        self._touch([(resource, session)])

    def remove(self, resource: str, session: str) -> None:
        """A session of this node isn't present any more."""
        if self._entries.remove((resource, session)):
            self._touch([(resource, session)])

    def _touch(self, places: Iterable[Place]) -> None:
        """What these entries are now is to be written."""
        owners, partitions = self._shards.table.owners, self._config.partitions
        for place in places:
            self._dirty.setdefault(owners[partition_of(place[0], partitions)], {})[place] = None
            self._touched.set()

    async def members(self, resources: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """Everyone who is present at each of these, on whichever node; what can't be had now is left out.

        Entries of lost nodes are left out too, and deleted.
        """
        found: dict[str, Sequence[Member]] = {}
        doubtful: dict[Address, list[str]] = defaultdict(list)
        replies = await self._shards.calls([self._asked(name, ("HGETALL",)) for name in resources])
        slices = Slices(trio.current_time)
        for name, reply in zip(resources, replies, strict=True):
            if not failed(reply):
                found[name] = [_member(session, value) for session, value in reply.items()]
                if self._lost_of(name, found[name]):
                    doubtful[self._owner(name)].append(name)
            await slices.pause()
        if doubtful:
            # A node takes its lease before it writes entries, so a look that comes after them is fair.
            async with trio.open_nursery() as nursery:
                for address in doubtful:
                    nursery.start_soon(self._leave_out_lost, address, doubtful[address], found)
        return found

    def _asked(self, resource: str, command: Sequence[object], *args: object) -> Call:
        """A command, with the key of a resource's entries as the first argument."""
        partitions = self._config.partitions
        words = (*command, presence_key(resource, partitions), *args)
        return Call(partition_of(resource, partitions), pack(words))

    def _function(self, name: str) -> Sequence[object]:
        return ("FCALL", self._shards.library.function(name), 1)

    def _owner(self, resource: str) -> Address:
        return self._shards.table.owners[partition_of(resource, self._config.partitions)]

    def _lost_of(self, resource: str, members: Sequence[Member]) -> list[Member]:
        """Those of lost nodes, as far as is known."""
        address = self._owner(resource)
        return [member for member in members if not self._counts(address, member.node)]

    async def _leave_out_lost(
        self, address: Address, resources: Sequence[str], found: dict[str, Sequence[Member]]
    ) -> None:
        """Look at one server's leases, and take out of `found` whom they don't name; a resource whose server
        doesn't answer goes altogether."""
        try:
            await self._look(address)
        except LogUnavailable:
            for name in resources:
                del found[name]
            return
        drops: list[Call] = []
        for name in resources:
            lost = self._lost_of(name, found[name])
            found[name] = [member for member in found[name] if member not in lost]
            if lost:
                drops.append(self._drop_call(name, lost))
        await self._shards.calls(drops)  # entries that stay are left out again

    def _drop_call(self, resource: str, lost: Sequence[Member]) -> Call:
        read = [part for member in lost for part in (member.session, _value(member.node, member.entry))]
        return self._asked(resource, self._function("drop"), *read)

    def _counts(self, address: Address, node: str) -> bool:
        return node == self.node or self._known.counts(address, node, self._trusting())

    def _trusting(self) -> bool:
        """For the length of a lease after others may have to take theirs anew, absent ones prove nothing."""
        return trio.current_time() < self._trusting_until

    def _trust(self) -> None:
        self._trusting_until = trio.current_time() + self._config.node_lease_s

    # --------------------------------------------------------------------------------------- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the first leases taken. At the end they are given back."""
        assert self._listener is not None, "attach a listener before the presence runs"
        self._shards.on_table.append(self._rerouted)
        self._rerouted()
        await self._beat()
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
                await self._on_each_server("leave", self.node, LEFT_KNOWN_MS)

    def _rerouted(self) -> None:
        self._reroutes += 1
        self._trust()
        self._known.forget()
        self._beaten_s.clear()
        # What was written to a partition while it moved may be lost; what was removed may be there again.
        self._touch(self._entries.places())

    async def _on_each_server(self, function: str, *args: Any) -> dict[Address, Reply]:
        """Call a function for the leases on each server; those that don't answer soon are left out."""
        first = self._shards.first_partitions()
        words = self._function(function)
        calls = [Call(partition, pack((*words, leases(partition), *args))) for partition in first.values()]
        replies = await self._shards.calls(calls, timeout_s=self._config.node_check_s)
        pairs = zip(first, replies, strict=True)
        return {address: reply for address, reply in pairs if not failed(reply)}

    async def _keep_leases(self) -> None:
        while True:
            await trio.sleep(self._config.node_heartbeat_s)
            await self._beat()

    async def _beat(self) -> None:
        """Renew the lease on each server; where there is none, it is taken while the node is trusting."""
        anew = self._trusting()
        replies = await self._take_leases(anew)
        lapsed = any(reply[1] == 0 for reply in replies.values())
        if lapsed and not anew:
            await self._register_again()
        elif any(self._was_away(address) for address in replies):
            self._trust()
        connects = self._shards.connects
        # Others may have dropped them, or were about to at the beat before; or a server lost what was new.
        if lapsed or self._lapsed or connects != self._connects:
            self._touch(self._entries.places())
        self._lapsed, self._connects = lapsed, connects
        self._beaten_s.update(dict.fromkeys(replies, trio.current_time()))

    async def _take_leases(self, anew: bool) -> dict[Address, Reply]:
        lease_ms = int(self._config.node_lease_s * 1000)
        return await self._on_each_server("beat", self.node, lease_ms, int(anew))

    def _was_away(self, address: Address) -> bool:
        """Whether the last renewal there is so long ago that another node's lease may have ended."""
        heartbeat_s, now_s = self._config.node_heartbeat_s, trio.current_time()
        usual_s = max(2 * heartbeat_s, self._config.node_lease_s - heartbeat_s)
        return now_s - self._beaten_s.get(address, now_s) > usual_s

    async def _register_again(self) -> None:
        """Others may have dropped this node: come back as another incarnation.

        They may have to come back as well, for the server was away: they get as long for it as a lease takes.
        """
        old, self.node = self.node, self._incarnation()
        self._trust()
        logger.warning("the lease of %s lapsed; going on as %s", old, self.node)
        await self._on_each_server("leave", old, LEFT_KNOWN_MS)
        await self._take_leases(anew=True)
        assert self._listener is not None
        self._listener.on_lease_lapsed()

    async def _look_for_lost(self) -> None:
        while True:
            async with trio.open_nursery() as nursery:
                for address in self._shards.first_partitions():
                    nursery.start_soon(self._try_to_look, address)
            await trio.sleep(self._config.node_check_s)

    async def _try_to_look(self, address: Address) -> None:
        with suppress(LogUnavailable):
            await self._look(address)

    async def _look(self, address: Address) -> None:
        """Find out whose leases run on a server. Raises LogUnavailable."""
        name = self._shards.library.function("alive")
        # One look at a time, since an older answer that is handled later would bring lost nodes back.
        async with self._looking[address]:
            partition = self._shards.first_partitions().get(address)
            if partition is None:
                return  # it serves nothing any more
            believed = self._known.believed(address)  # who comes later may have its lease after the answer
            call = Call(partition, pack(("FCALL_RO", name, 1, leases(partition))))
            reply = await self._shards.call(call, timeout_s=self._config.node_check_s)
            self._compare(address, {lease.decode() for lease in reply[1]}, believed)

    def _compare(self, address: Address, found: set[str], believed: set[str]) -> None:
        left = {name.removeprefix(LEFT) for name in found if name.startswith(LEFT)}
        alive = {name for name in found if not name.startswith(LEFT)}
        new = self._known.look(address, alive, believed, self._proves(address, alive))
        assert self._listener is not None
        for node in new - {self.node}:
            self._listener.on_node_found(node)
        for node in self._known.lost(left) - {self.node}:
            logger.log(logging.DEBUG if node in left else logging.WARNING, "node %s is lost", node)
            self._listener.on_node_lost(node)

    def _proves(self, address: Address, alive: set[str]) -> bool:
        """Whether a lease that isn't there is a lost node, and not one that couldn't be renewed either."""
        return self.node in alive and not self._trusting() and not self._was_away(address)

    # --------------------------------------------------------------------------------------- writing

    async def _write(self) -> None:
        """Write what was touched, to each server by a task of its own: one that hangs holds up no other."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._touched.wait()
                self._touched = trio.Event()
                for address in self._dirty.keys() - self._writing:
                    self._writing.add(address)
                    nursery.start_soon(self._write_to, address)

    async def _write_to(self, address: Address) -> None:
        dirty = self._dirty[address]
        while dirty:
            places = list(islice(dirty, WRITES_A_ROUND))
            for place in places:
                del dirty[place]
            await self._write_entries(places)
        del self._dirty[address]
        self._writing.remove(address)

    async def _write_entries(self, places: Sequence[Place]) -> None:
        """Write what these entries are now; what fails is written again."""
        reroutes = self._reroutes
        replies = await self._shards.calls([self._call(*place) for place in places])
        again = [place for place, reply in zip(places, replies, strict=True) if failed(reply)]
        # What was under way while its partition moved may have come after something newer.
        self._touch(again if reroutes == self._reroutes else places)
        if again:
            await trio.sleep(RETRY_PAUSE_S)

    def _call(self, resource: str, session: str) -> Call:
        entry = self._entries.get((resource, session))
        if entry is None:
            return self._asked(resource, ("HDEL",), session)
        value = _value(self.node, entry)
        return self._asked(resource, self._function("enter"), session, value, ENTRIES_TTL_S)

    async def _renew(self) -> None:
        """Keep the keys of resources that this node is present in from expiring."""
        while True:
            await trio.sleep(RENEWAL_S)
            resources = self._entries.resources()
            for start in range(0, len(resources), WRITES_A_ROUND):
                names = resources[start : start + WRITES_A_ROUND]
                await self._shards.calls([self._asked(name, ("EXPIRE",), ENTRIES_TTL_S) for name in names])
