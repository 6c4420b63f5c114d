"""What the Redis servers say about themselves while they serve: memory, evictions, replicas, persistence."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import trio

from gateway.redislink.address import Address
from gateway.redislink.link import Reply, pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 2.0
INFO = pack(("INFO",))


class ServerFacts(NamedTuple):
    """One server, by what it answers to INFO.

    `memory_limit_bytes` is its `maxmemory`, or the machine's memory where that is 0 (`bounded` False).
    `replica_lag_bytes`: of the replica that is furthest behind, 0 without any. `answer_s`: the time of INFO.
    """

    memory_bytes: int
    memory_limit_bytes: int
    bounded: bool
    evicted_keys: int
    replicas: int
    replica_lag_bytes: int
    persistence_ok: bool
    answer_s: float


async def gather(shards: Shards) -> dict[str, ServerFacts]:
    """The servers that answer, by name."""
    found: dict[str, ServerFacts] = {}

    async def ask(address: Address, partition: int) -> None:
        began_s = time.perf_counter()
        [reply] = await shards.calls([Call(partition, INFO)], timeout_s=TIMEOUT_S)
        fields = fields_of(reply)
        if fields is not None:
            found[address.name] = facts_of(fields, time.perf_counter() - began_s)

    async with trio.open_nursery() as nursery:
        for address, partition in shards.first_partitions().items():
            nursery.start_soon(ask, address, partition)
    return found


def fields_of(reply: Reply) -> dict[str, str] | None:
    """The fields of an answer to INFO; None where the server gave no answer."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    if not isinstance(text, str):
        return None
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def facts_of(info: Mapping[str, str], answer_s: float) -> ServerFacts:
    """What an answer to INFO says, read."""
    most = int(info.get("maxmemory", 0))
    lags = [lag for name, value in info.items() if (lag := _lag(name, value, info)) is not None]
    failing = (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status"))
    return ServerFacts(
        memory_bytes=int(info.get("used_memory", 0)),
        memory_limit_bytes=most or int(info.get("total_system_memory", 0)),
        bounded=bool(most),
        evicted_keys=int(info.get("evicted_keys", 0)),
        replicas=len(lags),
        replica_lag_bytes=max(lags, default=0),
        persistence_ok="err" not in failing,
        answer_s=answer_s,
    )


def _lag(name: str, value: str, info: Mapping[str, str]) -> int | None:
    """How many bytes a replica is behind (`slave0:ip=...,offset=...`)."""
    if not (name.startswith("slave") and name[5:].isdigit()):
        return None
    fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
    return max(0, int(info.get("master_repl_offset", 0)) - int(fields.get("offset", 0)))
