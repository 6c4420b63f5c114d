"""How full the servers are. At `maxmemory` a server takes no more changes; what frees it may still run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import trio

from gateway.redislink.address import Address
from gateway.redislink.facts import fields_of
from gateway.redislink.link import Reply, pack
from gateway.redislink.shards import Call, Shards

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
# A server at its limit hovers about it: while it refused something lately, so full counts as full too.
REFUSED_LATELY_S = 5.0
NEARLY_FULL_PERCENT = 95.0
# How a server says that it is full.
FULL_REPLY = "OOM "
_INFO = pack(("INFO", "memory"))


class Memory(NamedTuple):
    """Bytes that a server uses, and may use (0: as much as the machine has)."""

    used: int
    limit: int

    @property
    def percent(self) -> float:
        """How much of the limit is used; 0 where there is none."""
        return 100 * self.used / self.limit if self.limit else 0.0


class MemoryWatch:
    """Looks each second how full each server is; `high_percent` of its limit is too much."""

    def __init__(self, shards: Shards, high_percent: float) -> None:
        self._shards = shards
        self._high_percent = high_percent
        self.found: Mapping[Address, Memory] = {}
        self._refused_s = float("-inf")
        self._full: frozenset[Address] = frozenset()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; started after the first look."""
        await self._look()
        task_status.started()
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            await self._look()

    def pressed(self, address: Address) -> bool:
        """Whether this server is so full that what can leave it should."""
        memory = self.found.get(address)
        return memory is not None and memory.limit > 0 and memory.percent >= self._high_percent

    def refused(self) -> None:
        """A server refused a change, for it is full."""
        self._refused_s = trio.current_time()

    @property
    def full(self) -> Sequence[Address]:
        """The servers that refuse changes now."""
        lately = trio.current_time() < self._refused_s + REFUSED_LATELY_S
        limit = NEARLY_FULL_PERCENT if lately else 100.0
        return [address for address, memory in self.found.items() if memory.percent >= limit]

    async def _look(self) -> None:
        first = self._shards.first_partitions()
        replies = await self._shards.calls([Call(partition, _INFO) for partition in first.values()])
        looked: dict[Address, Memory] = {}
        for address, reply in zip(first, replies, strict=True):
            memory = _memory(reply)
            if memory is not None:
                looked[address] = memory
        self.found = looked
        self._tell()

    def _tell(self) -> None:
        """Log which servers became full, and which have room again."""
        before, self._full = self._full, frozenset(self.full)
        for address in self._full - before:
            limit = self.found[address].limit
            logger.error("redis %s is full (maxmemory %d bytes): edits are refused", address.name, limit)
        for address in before - self._full:
            logger.warning("redis %s has room again: edits go on", address.name)


def _memory(reply: Reply) -> Memory | None:
    """What INFO says; None where the server gave no answer."""
    fields = fields_of(reply)
    if fields is None:
        return None
    try:
        return Memory(int(fields["used_memory"]), int(fields["maxmemory"]))
    except (KeyError, ValueError):
        return None
