"""Which server holds which partition: the whole routing table.

A Redis Cluster knows it itself (`CLUSTER SLOTS`). Independent servers keep a table of ours, the same JSON
under `gateway:routing` on each of them; the one with the highest version counts. It names servers without
credentials; a server that this node's settings don't name is reached with those of the first one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import redis
from redis.crc import key_slot

from gateway.config import RedisSettings
from gateway.config.passwords import password_of
from gateway.errors import ConfigError, LogUnavailable
from gateway.redislink.address import Address, parse
from gateway.redislink.admin import client, text
from gateway.redislink.keys import ROUTING_KEY, tag


class Table(NamedTuple):
    """The owner of each partition. A later table of the same deployment has a higher version."""

    version: int
    owners: tuple[Address, ...]

    @property
    def addresses(self) -> frozenset[Address]:
        return frozenset(self.owners)

    def with_owners(self, moved: Mapping[int, Address]) -> Table:
        """A copy in which these partitions are elsewhere, as MOVED replies tell."""
        owners = (moved.get(partition, address) for partition, address in enumerate(self.owners))
        return Table(self.version, tuple(owners))


class Topology:
    """Where a routing table comes from. `load` blocks; it raises LogUnavailable or ConfigError.

    `configured` are the servers that must be masters, as the settings name them.
    """

    cluster: bool
    configured: Sequence[Address] = ()

    def load(self, known: Sequence[Address]) -> Table:
        """The present table, asked of the configured servers and of the `known` ones."""
        raise NotImplementedError


def topology(config: RedisSettings) -> Topology:
    """The topology that the settings describe; raises ConfigError where they name no server."""
    if config.cluster_url:
        return ClusterTopology(config)
    if not config.urls:
        raise ConfigError("redis: name the servers with redis.urls or redis.cluster_url")
    return ShardTopology(config)


# ------------------------------------------------------------------------------------- Redis Cluster


class ClusterTopology(Topology):
    """The slots of a Redis Cluster, asked of whichever node answers."""

    cluster = True

    def __init__(self, config: RedisSettings) -> None:
        self._config = config
        self._seed = parse(config.cluster_url, password_of(config, "redis"))
        self._slots = [key_slot(tag(number).encode()) for number in range(config.partitions)]
        self._loads = 0

    def load(self, known: Sequence[Address]) -> Table:
        error: LogUnavailable | None = None
        for address in dict.fromkeys((*known, self._seed)):
            try:
                with client(address, self._config) as connection:
                    return self._table(address, _cluster_slots(connection))
            except LogUnavailable as failure:
                error = failure
        raise error or LogUnavailable("no node of the Redis Cluster is known", "none")

    def _table(self, asked: Address, ranges: Sequence[Any]) -> Table:
        masters = [
            (low, high, asked.told(text(master[0] or b""), int(master[1])))
            for low, high, master, *_ in ranges
        ]
        owners = []
        for slot in self._slots:
            owner = next((address for low, high, address in masters if low <= slot <= high), None)
            if owner is None:
                raise LogUnavailable(f"no node of the Redis Cluster holds slot {slot}", "none")
            owners.append(owner)
        self._loads += 1
        return Table(self._loads, tuple(owners))


def _cluster_slots(connection: redis.Redis) -> Sequence[Any]:
    # In two words, so that redis-py hands out the reply as it came.
    try:
        reply: Sequence[Any] = connection.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        if "cluster support disabled" in str(error):
            raise ConfigError(
                "redis.cluster_url names a server that is no cluster: use redis.urls"
            ) from error
        raise
    return reply


# ------------------------------------------------------------------------------- independent servers


class StoredTable(NamedTuple):
    """The routing table as the servers keep it: names of servers, and for each partition its index."""

    version: int
    servers: tuple[str, ...]
    owners: tuple[int, ...]

    def dump(self) -> bytes:
        return orjson.dumps(self._asdict())

    @classmethod
    def parse(cls, data: bytes) -> StoredTable:
        value = orjson.loads(data)
        return cls(value["version"], tuple(value["servers"]), tuple(value["owners"]))


def first_table(addresses: Sequence[Address], partitions: int) -> StoredTable:
    """The table of a new deployment: partitions dealt out in turn."""
    owners = tuple(number % len(addresses) for number in range(partitions))
    return StoredTable(1, tuple(address.name for address in addresses), owners)


class ShardTopology(Topology):
    """Independent servers and the table that they keep."""

    cluster = False

    def __init__(self, config: RedisSettings) -> None:
        self._config = config
        self.configured = [parse(url, password_of(config, "redis")) for url in config.urls]

    def load(self, known: Sequence[Address]) -> Table:
        stored = self.stored(known)
        addresses = [self.address(name) for name in stored.servers]
        return Table(stored.version, tuple(addresses[index] for index in stored.owners))

    def address(self, name: str) -> Address:
        """The server of this name, with the first server's credentials unless the settings name it."""
        for address in self.configured:
            if address.name == name:
                return address
        place = re.fullmatch(r"([^/]+):(\d+)/(\d+)", name)
        if place is None:
            raise ConfigError(
                f"redis.urls: the data is on a server named {name}, too: add its URL, "
                f"redis://host:port?name={name}"
            )
        return self.configured[0].sibling(place[1], int(place[2]), int(place[3]))

    def stored(self, known: Sequence[Address] = (), make: bool = True) -> StoredTable:
        """The newest table that any reachable server has; where none has one, the first table is made."""
        found, error, unreachable = self._newest(known)
        if found is None:
            if unreachable:
                raise error or LogUnavailable("no Redis server answers", "none")
            if not make:
                raise ConfigError("none of these Redis servers holds any data yet: name those that do, too")
            self._make()
            found, _, _ = self._newest(known)
        if found is None:
            raise LogUnavailable("the Redis servers lost their routing table", "none")
        if len(found.owners) != self._config.partitions:
            raise ConfigError(
                f"redis.partitions is {self._config.partitions}, but the data is in {len(found.owners)} "
                f"partitions: set redis.partitions = {len(found.owners)}"
            )
        return found

    def _newest(self, known: Sequence[Address]) -> tuple[StoredTable | None, LogUnavailable | None, int]:
        newest: StoredTable | None = None
        error: LogUnavailable | None = None
        unreachable = 0
        for address in dict.fromkeys((*self.configured, *known)):
            try:
                with client(address, self._config) as connection:
                    data: Any = connection.get(ROUTING_KEY)
            except LogUnavailable as failure:
                error, unreachable = failure, unreachable + 1
                continue
            if data is not None:
                table = StoredTable.parse(data)
                newest = table if newest is None or table.version > newest.version else newest
        return newest, error, unreachable

    def _make(self) -> None:
        """Give every server the first table, unless another worker did already."""
        table = first_table(self.configured, self._config.partitions)
        for address in self.configured:
            with client(address, self._config) as connection:
                connection.set(ROUTING_KEY, table.dump(), nx=True)
