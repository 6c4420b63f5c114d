"""All the servers together: calls go to their partition's owner, redirected and repeated until a deadline.

Every call must be safe to repeat: a reply that was lost is asked for by sending the call again. (An append
finds its nonce; see `functions/log.lua`.) Two links lead to each server, one for appends, which may wait for
disks and replicas, and one for everything else.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, Literal, NamedTuple

import hiredis
import trio

from gateway.config import RedisSettings
from gateway.errors import ConfigError, GatewayError, LogUnavailable
from gateway.redislink import admin, checks
from gateway.redislink.address import Address
from gateway.redislink.chains import Chains
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import tag
from gateway.redislink.library import library
from gateway.redislink.link import Link, Reply, out_of_reach, pack
from gateway.redislink.routing import Table, Topology, topology
from gateway.runtime.outage import Outage

logger = logging.getLogger(__name__)

Channel = Literal["appends", "others"]

FENCED = b"FENCED"
# Words of an answer that did nothing, and what they mean.
_REFUSALS = {
    FENCED: "the partition is being moved",
    b"BUSY": "the head is reserved",
    b"FULL": "the archive is too far behind",
}
# The bus drops messages of its own node by their first bytes.
ORIGIN_BYTES = 8
# So that one caller doesn't fill a link.
CALLS_A_REQUEST = 1000
BACKOFF_MIN_S = 0.002
BACKOFF_MAX_S = 0.1
REFRESH_INTERVAL_S = 5.0
REFRESH_SPACING_S = 0.1
# Replies that say "not now" (or "not here", where a fresh routing table helps).
_AGAIN = ("TRYAGAIN", "LOADING", "BUSY ", "MASTERDOWN")
_STALE_TABLE = ("CLUSTERDOWN", "READONLY")
_ASKING = pack(("ASKING",))


class Call(NamedTuple):
    """A packed command and the partition whose owner gets it."""

    partition: int
    packed: bytes


class Retry(Enum):
    """What becomes of a call after a reply."""

    DONE = "done"
    AGAIN = "again"
    REROUTE = "reroute"
    RELOAD = "reload"
    ASK = "ask"


def judge(reply: Reply, sent_before: bool = False) -> Retry:
    """What a reply (or LinkError) means for its call.

    A refusal, or an error, isn't the end of a call that was `sent_before`: that sending may have been obeyed,
    or still be.
    """
    if type(reply) is list:
        word = reply[0] if reply and type(reply[0]) is bytes else None
        if word == FENCED:
            return Retry.REROUTE
        return Retry.AGAIN if sent_before and word in _REFUSALS else Retry.DONE
    if isinstance(reply, LinkError):
        return Retry.AGAIN
    if not isinstance(reply, hiredis.ReplyError):
        return Retry.DONE
    message = str(reply)
    if message.startswith("MOVED "):
        return Retry.REROUTE
    if message.startswith("ASK "):
        return Retry.ASK
    if message.startswith(_STALE_TABLE):
        return Retry.REROUTE
    if message.startswith(_AGAIN):
        return Retry.AGAIN
    if "Function not found" in message:
        return Retry.RELOAD
    return Retry.AGAIN if sent_before else Retry.DONE


class Server:
    """One server and the links to it."""

    def __init__(self, address: Address, config: RedisSettings, on_change: Callable[[bool], None]) -> None:
        self.address = address
        self.outage = out_of_reach(address)
        self.appends = Link(address, config, on_change, self.outage)
        self.others = Link(address, config, on_change, self.outage)
        self.scope = trio.CancelScope()
        self.loading = trio.Lock()
        self.loads = 0

    @property
    def up(self) -> bool:
        return self.appends.up and self.others.up

    def link(self, channel: Channel) -> Link:
        return self.appends if channel == "appends" else self.others

    async def run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.appends.run)
                await nursery.start(self.others.run)


class Shards:
    """The servers that the settings name. Use: `await nursery.start(shards.run)`.

    `on_table` are called, synchronously, after the routing table has changed. `origin` marks what this node
    sends on the bus.
    """

    def __init__(self, config: RedisSettings) -> None:
        self.config = config
        self.library = library()
        self.chains = Chains()
        self.on_table: list[Callable[[], None]] = []
        self.threads = admin.limiter()
        self.origin = os.urandom(ORIGIN_BYTES)
        self._topology: Topology = topology(config)
        self._table: Table | None = None
        self._servers: dict[Address, Server] = {}
        self._owners: list[Server] = []
        self._lanes: list[int] = []
        self._nursery: trio.Nursery | None = None
        self._refresh_wanted = trio.Event()
        self._changed = trio.Event()

    # -------------------------------------------------------------------------------------- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when every server is checked, loaded and connected.

        Raises ConfigError for a server that can't hold the log, LogUnavailable for one that doesn't answer:
        then it may be tried again.
        """
        table = await self._reach()
        failure: GatewayError | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._apply(table)
            nursery.start_soon(self._keep_table)
            try:
                await self._wait_connected()
                await self._check_partitions()
            except GatewayError as error:
                failure = error
                nursery.cancel_scope.cancel()
            else:
                task_status.started()
        if failure is not None:
            self._table, self._servers = None, {}
            raise failure

    async def _reach(self) -> Table:
        """Check and load every server; the routing table."""
        # Independent servers are checked before their routing table is read, or made.
        checked = list(self._topology.configured)
        await self._check(checked)
        table = await self._load()
        await self._check(sorted(table.addresses - set(checked), key=lambda item: item.name))
        return table

    async def _check(self, addresses: Sequence[Address]) -> None:
        for address in addresses:
            await self._admin(checks.check, address, self.config, self.cluster)
            await self._admin(admin.load, address, self.config, self.library)

    async def _wait_connected(self) -> None:
        with trio.move_on_after(self.config.connect_timeout_s) as scope:
            for server in list(self._servers.values()):
                await server.appends.wait_up()
                await server.others.wait_up()
        if scope.cancelled_caught:
            links = [link for server in self._servers.values() for link in (server.appends, server.others)]
            down = {f"redis {link.address.name}: {link.last_error}" for link in links if not link.up}
            raise LogUnavailable("; ".join(sorted(down)), "none")

    async def _check_partitions(self) -> None:
        """Hold the number of partitions fixed: it decides where the data is."""
        looked = Call(0, pack(("HGET", tag(0), "partitions")))
        if await self.call(looked) is None:  # only then: a full server takes no write
            await self.call(Call(0, pack(("HSETNX", tag(0), "partitions", self.config.partitions))))
        found = int(await self.call(looked))
        if found != self.config.partitions:
            raise ConfigError(
                f"redis.partitions is {self.config.partitions}, but the data is in {found} partitions: set "
                f"redis.partitions = {found}"
            )

    async def _admin(self, work: Callable[..., Any], *args: Any) -> Any:
        return await admin.in_thread(self.threads, work, *args)

    async def _load(self) -> Table:
        # In random order: the first that is asked may be the one that hangs.
        known = random.sample(list(self._servers), len(self._servers))
        table: Table = await self._admin(self._topology.load, known)
        return table

    # ------------------------------------------------------------------------------------- routing

    @property
    def cluster(self) -> bool:
        return self._topology.cluster

    @property
    def connects(self) -> int:
        """How often servers were connected to: one that was restarted or failed over may lack something."""
        return sum(server.others.generation for server in self._servers.values())

    @property
    def table(self) -> Table:
        assert self._table is not None, "the shards run before they are used"
        return self._table

    def lane(self, partition: int) -> int:
        """Partitions of one server share a lane."""
        return self._lanes[partition]

    def first_partitions(self) -> dict[Address, int]:
        """A partition of each server: the way to ask every server something."""
        first: dict[Address, int] = {}
        for partition, address in enumerate(self.table.owners):
            first.setdefault(address, partition)
        return first

    @property
    def away(self) -> Sequence[str]:
        """The names of the servers that are out of reach now."""
        serving = set() if self._table is None else self._table.addresses
        return sorted(address.name for address in serving if not self._servers[address].up)

    @property
    def all_away(self) -> bool:
        """Whether no server is within reach."""
        return len(self.away) == len(self.table.addresses)

    def server(self, partition: int) -> Server:
        return self._owners[partition]

    def server_at(self, address: Address) -> Server:
        found = self._servers.get(address)
        if found is None:
            assert self._nursery is not None, "the shards run before they are used"
            found = self._servers[address] = Server(address, self.config, self._link_changed)
            self._nursery.start_soon(found.run)
        return found

    async def newest_table(self) -> Table:
        """The routing table as it is now. Raises LogUnavailable or ConfigError."""
        self._apply(await self._load())
        return self.table

    def refresh(self) -> None:
        """Have the routing table looked up again soon."""
        self._refresh_wanted.set()

    def _link_changed(self, up: bool) -> None:
        if not up:
            self.refresh()
        self._signal()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _apply(self, table: Table) -> None:
        before, self._table = self._table, table
        numbers = {
            address: number
            for number, address in enumerate(sorted(table.addresses, key=lambda item: item.name))
        }
        self._lanes = [numbers[address] for address in table.owners]
        self._owners = [self.server_at(address) for address in table.owners]
        if before is None or before.owners == table.owners:
            return
        for address in before.addresses - table.addresses:
            # Nothing is asked of it any more; what was under way there is asked of the new owner.
            self._servers.pop(address).scope.cancel()
        logger.info("Redis routing table %s: %s", table.version, sorted(numbers, key=str))
        self._signal()
        for callback in self.on_table:
            callback()

    async def _keep_table(self) -> None:
        outage = Outage(logger, "the routing table of Redis stays as it is")
        while True:
            with trio.move_on_after(REFRESH_INTERVAL_S):
                await self._refresh_wanted.wait()
            self._refresh_wanted = trio.Event()
            try:
                table = await self._load()
            except GatewayError as error:
                # A table that this node can't follow (ConfigError): what it knows stays in service.
                outage.lasts(str(error))
                await trio.sleep(REFRESH_SPACING_S)
                self.refresh()
                continue
            outage.over()
            self._apply(table)
            await trio.sleep(REFRESH_SPACING_S)

    # --------------------------------------------------------------------------------------- calls

    async def call(self, call: Call, timeout_s: float | None = None) -> Reply:
        """The reply to one call. Raises LogUnavailable, also for an error of the server."""
        (reply,) = await self.calls([call], timeout_s=timeout_s)
        if isinstance(reply, LinkError):
            raise LogUnavailable(str(reply), "unknown" if reply.sent else "none")
        if isinstance(reply, hiredis.ReplyError):
            raise LogUnavailable(f"redis: {reply}", "none")
        return reply

    async def calls(
        self,
        calls: Sequence[Call],
        *,
        channel: Channel = "others",
        timeout_s: float | None = None,
        replicas: int = 0,
        at_once: int = CALLS_A_REQUEST,
    ) -> list[Reply]:
        """The replies to calls, in order: a value, `hiredis.ReplyError`, or LinkError where there is none.

        `replicas` many must have acknowledged the calls' writes before a reply counts. A server is asked for
        so many `at_once`: it carries them out before it looks at what others ask.
        """
        timeout_s = self.config.command_timeout_s if timeout_s is None else timeout_s
        deadline = trio.current_time() + timeout_s
        replies: list[Reply] = [None] * len(calls)
        sent: set[int] = set()
        pending: Sequence[int] = range(len(calls))
        backoff_s = BACKOFF_MIN_S
        send = partial(self._send, calls, replies, channel, deadline, replicas, at_once)
        while True:
            changed = self._changed
            await send(self._by_owner(calls, pending))
            pending = [i for i in pending if judge(replies[i], i in sent) is not Retry.DONE]
            asked = [i for i in pending if judge(replies[i]) is Retry.ASK]
            if asked:  # the slot is moving: for this once, where the reply says
                await send(self._by_told(calls, asked, replies), (_ASKING,))
                pending = [i for i in pending if judge(replies[i], i in sent) is not Retry.DONE]
            if not pending:
                return replies
            sent.update(i for i in pending if isinstance(replies[i], LinkError) and replies[i].sent)
            now = trio.current_time()
            if now + backoff_s >= deadline or all(
                self._hopeless(calls[i], channel, timeout_s) for i in pending
            ):
                break
            await self._prepare([(calls[i], replies[i]) for i in pending])
            with trio.move_on_after(min(backoff_s * random.uniform(0.5, 1.0), deadline - now)):
                await changed.wait()
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
        for i in pending:
            replies[i] = LinkError(_told(replies[i]), sent=i in sent)
        return replies

    def _hopeless(self, call: Call, channel: Channel, timeout_s: float) -> bool:
        """Whether the server has been gone for so long that waiting once more isn't worth while."""
        down_since = self.server(call.partition).link(channel).down_since
        return down_since is not None and trio.current_time() - down_since > timeout_s

    def _by_owner(self, calls: Sequence[Call], pending: Sequence[int]) -> dict[Server, list[int]]:
        groups: dict[Server, list[int]] = {}
        for i in pending:
            groups.setdefault(self.server(calls[i].partition), []).append(i)
        return groups

    def _by_told(
        self, calls: Sequence[Call], asked: Sequence[int], replies: Sequence[Reply]
    ) -> dict[Server, list[int]]:
        groups: dict[Server, list[int]] = {}
        for i in asked:
            address = self._told_address(calls[i], str(replies[i]))
            groups.setdefault(self.server_at(address), []).append(i)
        return groups

    async def _send(
        self,
        calls: Sequence[Call],
        replies: list[Reply],
        channel: Channel,
        deadline: float,
        replicas: int,
        at_once: int,
        groups: dict[Server, list[int]],
        before: tuple[bytes, ...] = (),
    ) -> None:
        """Send calls to these servers once, side by side, each after `before`, and note the replies."""
        each = 1 + len(before)
        size = max(1, at_once // each)

        async def send(server: Server, indices: list[int]) -> None:
            link = server.link(channel)
            if before:  # it may be a server that nothing was asked of yet
                with trio.move_on_at(min(deadline, trio.current_time() + self.config.connect_timeout_s)):
                    await link.wait_up()
            for start in range(0, len(indices), size):
                if start and trio.current_time() >= deadline:
                    for i in indices[start:]:
                        replies[i] = LinkError("no reply in time", sent=False)
                    return
                part = indices[start : start + size]
                packed = [data for i in part for data in (*before, calls[i].packed)]
                found = await self._exchange(link, packed, deadline, replicas)
                for i, reply in zip(part, found[each - 1 :: each], strict=True):
                    replies[i] = reply

        if len(groups) == 1:
            await send(*next(iter(groups.items())))
        else:
            async with trio.open_nursery() as nursery:
                for server, indices in groups.items():
                    nursery.start_soon(send, server, indices)

    async def _exchange(self, link: Link, packed: list[bytes], deadline: float, replicas: int) -> list[Reply]:
        """Replies of one link; a LinkError for each call where it fails, or where replicas lag behind."""
        replies: list[Reply]
        wait = [pack(("WAIT", replicas, self.config.replicas_wait_ms))] if replicas else []
        generation = link.generation
        try:
            replies = await self._within(deadline, link.start([*packed, *wait]).wait)
        except LinkError as error:
            return [error] * len(packed)
        if not replicas:
            return replies
        reached = replies.pop()
        try:
            while isinstance(reached, int) and reached < replicas:
                (reached,) = await self._within(deadline, link.start(wait).wait)
                if link.generation != generation:
                    raise LinkError("the connection ended before enough replicas had the change", sent=True)
        except LinkError as error:  # of the WAIT: the calls were sent, and carried out
            return [LinkError(str(error), sent=True)] * len(packed)
        if isinstance(reached, hiredis.ReplyError):
            return [LinkError(f"{link.address.name}: WAIT: {reached}", sent=True)] * len(packed)
        return replies

    async def _within(self, deadline: float, work: Callable[[], Any]) -> Any:
        with trio.move_on_at(deadline):
            return await work()
        raise LinkError("no reply in time", sent=True)

    def _told_address(self, call: Call, message: str) -> Address:
        """The server that `MOVED slot host:port` or `ASK slot host:port` names."""
        host, _, port = message.split()[2].rpartition(":")
        return self.table.owners[call.partition].told(host, int(port))

    async def _prepare(self, pending: Sequence[tuple[Call, Reply]]) -> None:
        """Do what the replies ask for before the calls are sent again."""
        told = [(call, str(reply)) for call, reply in pending if _is_moved(reply)]
        moved = {call.partition: self._told_address(call, message) for call, message in told}
        if (table := self.table.with_owners(moved)) != self.table:
            self._apply(table)  # at once: whoever follows the table looks at all that it has there
        for call, reply in pending:
            retry = judge(reply)
            if retry is Retry.RELOAD:
                await self._reload(self.server(call.partition))
            elif retry is Retry.REROUTE:
                self.refresh()

    async def _reload(self, server: Server) -> None:
        """Load the library; callers that come meanwhile wait for this load rather than load again."""
        loads = server.loads
        async with server.loading:
            if server.loads != loads:
                return
            try:
                await self._admin(admin.load, server.address, self.config, self.library)
                server.loads += 1
            except LogUnavailable as error:
                logger.warning("Redis functions: %s", error)


def _is_moved(reply: Reply) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("MOVED ")


def _told(reply: Reply) -> str:
    return _REFUSALS[reply[0]] if isinstance(reply, list) else str(reply)
