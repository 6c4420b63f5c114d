"""Moves partitions between independent servers, while the gateway serves: fence, copy, switch.

    rebalance(config.redis, print)      # spread evenly over the servers of redis.urls

Some partitions at a time: their old owner answers FENCED from now on, so nothing is written there; their
keys are copied; their new owner gets the new routing table and serves, and the other servers get it as far
as they can. Appends wait meanwhile, and follow. A run that was interrupted leaves partitions fenced; the next
one begins by lifting such fences. What it writes besides the copies goes into a full server, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import redis

from gateway.config import RedisSettings
from gateway.errors import ConfigError, LogUnavailable
from gateway.redislink import admin, checks
from gateway.redislink.address import Address
from gateway.redislink.keys import ROUTING_KEY, tag
from gateway.redislink.library import library
from gateway.redislink.routing import ShardTopology, StoredTable

PARTITIONS_AT_ONCE = 8
KEYS_AT_ONCE = 200
SCAN_COUNT = 2000
LOCK_KEY = "gateway:moving"
LOCK_S = 60
RENEWAL_S = LOCK_S / 6
FENCE = "fenced"

Client = redis.Redis
Tell = Callable[[str], None]


def plan(table: StoredTable, targets: Sequence[str]) -> dict[int, str]:
    """Partition -> its new server, so that the targets have equally many (give or take one), few moves."""
    held: dict[str, list[int]] = {name: [] for name in targets}
    homeless: list[int] = []
    for partition, owner in enumerate(table.owners):
        held.get(table.servers[owner], homeless).append(partition)
    least, extra = divmod(len(table.owners), len(targets))
    # Those that have most keep the one that is left over.
    ranked = sorted(targets, key=lambda name: -len(held[name]))
    goals = {name: least + (place < extra) for place, name in enumerate(ranked)}
    for name in targets:
        homeless += held[name][goals[name] :]
        del held[name][goals[name] :]
    moves = {}
    for name in targets:
        while len(held[name]) < goals[name]:
            partition = homeless.pop()
            held[name].append(partition)
            moves[partition] = name
    return moves


def rebalance(config: RedisSettings, tell: Tell) -> int:
    """Spread the partitions over the servers of `redis.urls`; returns how many were moved. Blocks.

    Servers that hold partitions and aren't named any more are emptied. Raises ConfigError for a server that
    can't hold the log, LogUnavailable when one can't be reached; what was moved by then stays moved.
    """
    if config.cluster_url:
        raise ConfigError("a Redis Cluster moves its slots itself: use `redis-cli --cluster reshard`")
    if not config.urls:
        raise ConfigError("name the Redis servers that shall hold the data: redis.urls (--redis)")
    topology = ShardTopology(config)
    for address in topology.configured:
        checks.check(address, config, False)
    try:
        with _Mover(topology, config, tell) as mover:
            mover.lift_fences()
            moves = plan(mover.table, [address.name for address in topology.configured])
            tell(f"{len(moves)} of {len(mover.table.owners)} partitions move")
            for group in _groups(mover.table, moves):
                mover.move(*group)
    except redis.RedisError as error:
        raise LogUnavailable(f"moving partitions stopped: {error}", "unknown") from error
    return len(moves)


def _groups(table: StoredTable, moves: dict[int, str]) -> Iterator[tuple[str, str, list[int]]]:
    """Moves with the same source and target, a few partitions each."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for partition, target in moves.items():
        pairs.setdefault((table.servers[table.owners[partition]], target), []).append(partition)
    for (source, target), partitions in pairs.items():
        for start in range(0, len(partitions), PARTITIONS_AT_ONCE):
            yield source, target, partitions[start : start + PARTITIONS_AT_ONCE]


class _Mover:
    """Connections to all servers, and the only right to move partitions, while it's entered."""

    def __init__(self, topology: ShardTopology, config: RedisSettings, tell: Tell) -> None:
        self._topology = topology
        self._config = config
        self._tell = tell
        self._stack = ExitStack()
        self._clients: dict[str, Client] = {}
        self._locked: dict[str, Client] = {}
        self._kept_s = 0.0  # when the locks were last renewed
        self._token = os.urandom(8).hex()
        self.table = topology.stored(make=False)

    def __enter__(self) -> _Mover:
        configured = [item.name for item in self._topology.configured]
        holding = [self.table.servers[owner] for owner in self.table.owners]
        with ExitStack() as stack:
            for name in dict.fromkeys([*self.table.servers, *configured]):
                self._clients[name] = stack.enter_context(self._client(self._topology.address(name)))
            # Another run meets a lock whatever was moved by then; a server that was given up isn't asked.
            for name in dict.fromkeys([*holding, *configured]):
                admin.load(self._topology.address(name), self._config, library())
                self._lock(name, stack)
            if self._topology.stored(make=False) != self.table:
                raise LogUnavailable("another run moved partitions just now: run it again", "none")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def _client(self, address: Address) -> Iterator[Client]:
        with admin.client(address, self._config) as client:
            yield client

    def _lock(self, name: str, stack: ExitStack) -> None:
        client = self._clients[name]
        if not _run(client, "lock", [LOCK_KEY], self._token, LOCK_S)[1]:
            if client.get(LOCK_KEY) == self._token.encode():
                other = self._name_of(client)
                raise ConfigError(
                    f"redis {name} is {other} by another name: name it once; at a new address a server keeps "
                    f"its name, as in redis://host:port?name={other}"
                )
            raise LogUnavailable(f"partitions are being moved already (or were, within {LOCK_S} s)", "none")
        self._locked[name] = client
        stack.callback(self._unlock, client)

    def _name_of(self, client: Client) -> str:
        """By which this server is locked already."""
        ident = client.info("server")["run_id"]
        return next(name for name, one in self._locked.items() if one.info("server")["run_id"] == ident)

    def _unlock(self, client: Client) -> None:
        with suppress(redis.RedisError):  # it ends by itself
            if client.get(LOCK_KEY) == self._token.encode():
                client.delete(LOCK_KEY)

    def _keep_locks(self) -> None:
        self._kept_s = time.monotonic()
        for client in self._locked.values():
            if client.get(LOCK_KEY) != self._token.encode():
                raise LogUnavailable("another run moves partitions now: this one took too long", "none")
            client.expire(LOCK_KEY, LOCK_S)

    def _keep_ageing_locks(self) -> None:
        if time.monotonic() - self._kept_s >= RENEWAL_S:
            self._keep_locks()

    def lift_fences(self) -> None:
        """Make every partition's owner serve: an interrupted run may have left it fenced."""
        for partition, owner in enumerate(self.table.owners):
            if self._clients[self.table.servers[owner]].hdel(tag(partition), FENCE):
                self._tell(f"partition {partition} was left fenced by an interrupted run; it serves again")

    def move(self, source: str, target: str, partitions: Sequence[int]) -> None:
        """Move partitions that `source` owns."""
        self._keep_locks()
        started = time.monotonic()
        old, new = self._clients[source], self._clients[target]
        _run(old, "fence", map(tag, partitions), target)
        try:
            self._clear(new, partitions)
            copied = self._copy(old, new, partitions)
            self._keep_locks()
        except BaseException:
            for partition in partitions:
                old.hdel(tag(partition), FENCE)
            raise
        self._switch(target, partitions)
        self._leave(old, partitions, target)
        self._tell(
            f"partitions {', '.join(map(str, partitions))}: {copied} keys from {source} to {target} in "
            f"{time.monotonic() - started:.2f} s"
        )

    def _keys(self, client: Client, partitions: Sequence[int]) -> Iterator[list[bytes]]:
        """The keys of these partitions, in portions; the locks are kept from one to the next."""
        tags = {tag(partition).encode() for partition in partitions}
        cursor, found = 0, []
        while True:
            self._keep_ageing_locks()
            reply: Any = client.scan(cursor, count=SCAN_COUNT, match="{p*")
            cursor, keys = reply
            found += [key for key in keys if key.partition(b":")[0] in tags]
            while len(found) >= KEYS_AT_ONCE or (found and not cursor):
                yield found[:KEYS_AT_ONCE]
                found = found[KEYS_AT_ONCE:]
                self._keep_ageing_locks()
            if not cursor:
                return

    def _clear(self, client: Client, partitions: Sequence[int]) -> None:
        """Remove what an interrupted copy, or an earlier stay, left behind."""
        for keys in self._keys(client, partitions):
            client.unlink(*keys)

    def _copy(self, old: Client, new: Client, partitions: Sequence[int]) -> int:
        copied = 0
        for keys in self._keys(old, partitions):
            reading = old.pipeline(transaction=False)
            for key in keys:
                reading.dump(key)
                reading.pttl(key)
            found = reading.execute()
            writing = new.pipeline(transaction=False)
            for key, data, ttl_ms in zip(keys, found[::2], found[1::2], strict=True):
                if data is not None:
                    writing.restore(key, max(0, ttl_ms), data, replace=True)
                    copied += 1
            writing.execute()
        return copied

    def _switch(self, target: str, partitions: Sequence[int]) -> None:
        """Have `target` serve the partitions, by a table in which it owns them, and tell everybody.

        Nodes follow the newest table that they find: a server that can't take it keeps nobody from serving.
        """
        servers = self.table.servers
        if target not in servers:
            servers = (*servers, target)
        owners = list(self.table.owners)
        for partition in partitions:
            owners[partition] = servers.index(target)
        self.table = StoredTable(self.table.version + 1, servers, tuple(owners))
        self._route(target, map(tag, partitions))
        for name in self._clients.keys() - {target}:
            try:
                self._tell_table(name)
            except redis.RedisError as error:
                self._tell(f"{name} has no new routing table ({error}); nodes find it on the others")

    def _route(self, name: str, came: Iterable[str] = ()) -> None:
        """Give a server the present table, and the right to serve what came there."""
        keys = [ROUTING_KEY, *came]
        _run(self._clients[name], "route", keys, self.table.dump(), self.table.version)

    def _tell_table(self, name: str) -> None:
        """Give a server that got nothing the present table."""
        try:
            self._route(name)
        except redis.ResponseError:  # it was given up, and lacks the functions of this version
            client = self._clients[name]
            client.set(ROUTING_KEY, self.table.dump())
            client.spublish(ROUTING_KEY, str(self.table.version))

    def _leave(self, old: Client, partitions: Sequence[int], target: str) -> None:
        """Delete what was moved, but the fence, for nodes that haven't heard yet."""
        metas = {tag(partition).encode() for partition in partitions}
        for keys in self._keys(old, partitions):
            gone = [key for key in keys if key not in metas]
            if gone:
                old.unlink(*gone)
        _run(old, "retire", map(tag, partitions), target)


def _run(client: Client, function: str, keys: Iterable[str], *args: Any) -> Any:
    """The answer of a function of `functions/moving.lua`."""
    names = list(keys)
    return client.fcall(library().function(function), len(names), *names, *args)
