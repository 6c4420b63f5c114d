"""Backup, restore and import of a cluster's log: Redis, with or without PostgreSQL behind it.

A backup reads each resource from Redis, and from the archive what isn't there: whatever was acknowledged
before it began is in it. Restoring fills the archive (or, without one, Redis) while no node runs.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import trio
from psycopg import Connection

from gateway.config import Config
from gateway.errors import ConfigError, GatewayError, LogTrimmed, LogUnavailable, first_of
from gateway.log.archive import SavedSnapshot, Transfer
from gateway.log.backup_file import BackupReader, BackupWriter, Contents, StoredHead, write_backup
from gateway.log.postgres import retention
from gateway.log.postgres.archive import ANY_VERSION, PostgresArchive, dsn_of
from gateway.log.redis.log import RedisLog
from gateway.log.search.opensearch import FORMAT_VERSION
from gateway.log.search.queue import begin_anew
from gateway.ports import NOTHING, Opening, Record, Snapshot
from gateway.ports.log import GATEWAY_USER_ID
from gateway.redislink import keys
from gateway.redislink.address import Address
from gateway.redislink.keys import LEFT
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards
from gateway.runtime.clock import unix_ms
from gateway.wire.announcement import Announcement

logger = logging.getLogger(__name__)

SCAN_COUNT = 1000
READ_AT_ONCE = 1000
# Of one resource, whose changes went.
SUBMISSIONS_MAX = 1_000_000
ATTEMPTS_MAX = 10
ATTEMPT_PAUSE_S = 1.0
# From this field on `CLUSTER NODES` tells a server's slots; `[93->-ID]` is one that goes elsewhere.
SLOTS = 8
_TABLES = ", ".join(
    f"gateway.{table}"
    for table in ("change", "snapshot", "submission", "resource", "summary", "summary_due", "search_due")
)

S = TypeVar("S")
T = TypeVar("T")


class Stores(NamedTuple):
    """A cluster's servers, for a command."""

    shards: Shards
    log: RedisLog
    archive: PostgresArchive | None
    config: Config


@asynccontextmanager
async def stores(config: Config) -> AsyncIterator[Stores]:
    """The servers that the settings name; raises ConfigError, LogUnavailable."""
    archive = PostgresArchive(dsn_of(config.postgres)) if config.postgres.dsn else None
    try:
        if archive is not None:
            await archive.verify()
        async with _servers(config) as shards:
            yield Stores(shards, RedisLog(shards, config, archive), archive, config)
    finally:
        if archive is not None:
            await archive.aclose()


@asynccontextmanager
async def _servers(config: Config) -> AsyncIterator[Shards]:
    async with trio.open_nursery() as nursery:
        shards = Shards(config.redis)
        await nursery.start(shards.run)
        yield shards
        nursery.cancel_scope.cancel()


def with_stores(config: Config, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Do `work` in a loop of its own; raises ConfigError, LogUnavailable."""
    return _with(stores(config), work)


def with_servers(config: Config, work: Callable[[Shards], Awaitable[T]]) -> T:
    """The same with Redis alone, be PostgreSQL away."""
    return _with(_servers(config), work)


def _with(opening: AbstractAsyncContextManager[S], work: Callable[[S], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opening as found:
            return await work(found)

    try:
        return trio.run(run)
    except BaseExceptionGroup as group:
        error = first_of(group)
        if isinstance(error, GatewayError):
            raise error from None
        raise


# -------------------------------------------------------------------------------------------- backup


async def backup(found: Stores, target: Path) -> Contents:
    """Write everything that was acknowledged so far; nodes may serve meanwhile. Of a history with a gap it
    has what came after that. Raises ConfigError, and LogDamaged where what is there is damaged."""
    live = await names_in_redis(found.shards)
    archived = set() if found.archive is None else await found.archive.names()
    with write_backup(target) as writer:
        for name in sorted(live | archived):
            await _back_up(found, writer, name, name in live)
        return writer.contents


async def names_in_redis(shards: Shards) -> set[str]:
    """Every resource that the servers hold, though partitions are moved meanwhile. Raises LogUnavailable."""
    names: set[str] = set()
    for _ in range(ATTEMPTS_MAX):
        before = await _standing(shards)
        names |= await _scanned(shards)
        if before is not None and await _standing(shards) == before:
            return names
        await trio.sleep(ATTEMPT_PAUSE_S)
    raise LogUnavailable(
        "partitions go on moving: run it again when `gateway rebalance`, or the cluster's reshard, has ended",
        "none",
    )


async def _standing(shards: Shards) -> tuple[Sequence[Address], Sequence[Sequence[bytes]]] | None:
    """Who has the partitions, and in a Redis Cluster which slots each server says that it has.

    It says so first, the others hear of it later. None: keys are on their way from one to another. Raises
    LogUnavailable.
    """
    owners = (await shards.newest_table()).owners
    slots = []
    for partition in shards.first_partitions().values() if shards.cluster else ():
        nodes = await shards.call(Call(partition, pack(("CLUSTER", "NODES"))))
        fields = next(line for line in nodes.splitlines() if b"myself" in line).split()
        slots.append(fields[SLOTS:])
    is_moving = any(b"->-" in slot for told in slots for slot in told)
    return None if is_moving else (owners, slots)


async def _scanned(shards: Shards) -> set[str]:
    """What the servers hold, one after the other: what moves meanwhile may be missed."""
    names: set[str] = set()
    for partition in shards.first_partitions().values():
        cursor = b"0"
        while True:
            words = ("SCAN", cursor, "MATCH", "{p*}:h:*", "COUNT", SCAN_COUNT)
            cursor, page = await shards.call(Call(partition, pack(words)))
            names.update(key.partition(b":h:")[2].decode() for key in page)
            if cursor == b"0":
                break
    return names


async def _back_up(found: Stores, writer: BackupWriter, name: str, live: bool) -> None:
    """One resource, up to a head that it had meanwhile; after a gap in its history, where it has one."""
    source: RedisLog | PostgresArchive = found.log if live or found.archive is None else found.archive
    missing = 0
    for _ in range(ATTEMPTS_MAX):
        try:
            begin = await _copy(found, source, writer, name, missing)
        except LogTrimmed as error:  # of what was being copied: it would have a gap
            missing = error.version
        else:
            if begin and begin > await _oldest(source, name):
                writer.count_gap()
                logger.warning("%s: its history begins after a gap, at version %d", name, begin)
            return
    raise LogUnavailable(f"{name}: its old history goes faster than it can be copied", "none")


async def _copy(
    found: Stores, source: RedisLog | PostgresArchive, writer: BackupWriter, name: str, missing: int
) -> int:
    """One resource, up to the head that it has now, from a document at or above version `missing` on; the
    version of that. Raises LogTrimmed, with nothing of it written, where changes after it are missing."""
    opening = await source.open(name)
    if opening is None:
        return 0
    head = opening.version
    begin = await _beginning(found, source, name, missing, opening.snapshot) if missing else NOTHING
    with writer.resource(name, opening.epoch) as number:
        writer.add_snapshot(number, opening.snapshot)
        writer.add_snapshot(number, begin)
        if begin.version and found.archive is not None:  # of versions that have names
            for snapshot in await found.archive.snapshots(name, begin.version):
                writer.add_snapshot(number, snapshot)
        after = begin.version
        if head and after == head:  # a backup tells a head by its change
            writer.add(number, [await _newest(source, name, head)])
        while after < opening.snapshot.version:
            records = await source.read(name, after, min(READ_AT_ONCE, opening.snapshot.version - after))
            if not records:
                raise LogUnavailable(f"{name}: changes after version {after} of {head} are missing", "none")
            writer.add(number, records)
            after = records[-1].version
        writer.add(number, opening.records)
        if found.archive is not None:  # read last, so that nothing is missed that goes meanwhile
            past = await found.archive.submissions(name, ANY_VERSION, 0, SUBMISSIONS_MAX)
            writer.add_submissions(number, past)
    return begin.version


async def _newest(source: RedisLog | PostgresArchive, name: str, head: int) -> Record:
    """The change that made a head; where it isn't kept, one that changes nothing. Raises LogTrimmed, where it
    is the head no more."""
    try:
        for record in await source.read(name, head - 1, 1):
            return record
    except LogTrimmed as error:
        if error.version > head:
            raise
        return _without_operations(head, unix_ms())
    raise LogUnavailable(f"{name}: change {head} is missing", "none")


def _without_operations(version: int, now_ms: int) -> Record:
    """A change that stands for one that isn't kept; its document says what it made."""
    change = {
        "version": version,
        "operations": [],
        "client_id": "",
        "user_id": GATEWAY_USER_ID,
        "op_id": f"not-kept-{version}",
        "timestamp": now_ms,
    }
    return Record(version, orjson.dumps(change), GATEWAY_USER_ID, "", None, "", now_ms, None)


async def _beginning(
    found: Stores, source: RedisLog | PostgresArchive, name: str, missing: int, newest: Snapshot
) -> Snapshot:
    """The oldest document that doesn't need what is missing up to a version; NOTHING where history began
    anew meanwhile."""
    kept = [await source.snapshot(name, missing), newest]
    if found.archive is not None:
        kept += await found.archive.snapshots(name, newest.version)
    sound = (snapshot for snapshot in kept if missing <= snapshot.version <= newest.version)
    return min(sound, key=lambda snapshot: snapshot.version, default=NOTHING)


async def _oldest(source: RedisLog | PostgresArchive, name: str) -> int:
    """The version after which a history begins."""
    try:
        await source.read(name, 0, 1)
    except LogTrimmed as error:
        return error.version
    return 0


# ------------------------------------------------------------------------------------------- restore


async def refuse_running(found: Stores) -> None:
    """Raise ConfigError while a node of the cluster runs."""
    function = found.shards.library.function("alive")
    for partition in found.shards.first_partitions().values():
        reply = await found.shards.call(
            Call(partition, pack(("FCALL_RO", function, 1, keys.leases(partition))))
        )
        running = [node.decode() for node in reply[1] if not node.startswith(LEFT.encode())]
        if running:
            nodes = ", ".join(sorted(node.partition("#")[0] for node in running))
            raise ConfigError(f"nodes of this cluster run: {nodes}. Stop them first")


async def clear(found: Stores, replace: bool) -> None:
    """Erase what is there, if that is wanted; raises ConfigError where it isn't."""
    live = await names_in_redis(found.shards)
    archived = set() if found.archive is None else await found.archive.names()
    if (live or archived) and not replace:
        raise ConfigError(
            f"resources in the cluster: {len(live | archived):,}; --replace erases them (take a backup first)"
        )
    if found.archive is not None:
        await found.archive.run(_erase, "none")
    for partition in range(found.config.redis.partitions):
        await _clear_partition(found.shards, partition)


def _erase(connection: Connection[Any]) -> None:
    with connection.transaction():
        connection.execute(f"TRUNCATE {_TABLES}".encode())
        begin_anew(connection, FORMAT_VERSION)


async def _clear_partition(shards: Shards, partition: int) -> None:
    """Erase the log's keys of a partition, and nothing else."""
    cursor = b"0"
    while True:
        words = ("SCAN", cursor, "MATCH", f"{keys.tag(partition)}:*", "COUNT", SCAN_COUNT)
        cursor, page = await shards.call(Call(partition, pack(words)))
        gone = [key for key in page if key.partition(b":")[2][:1] in b"oihcsqw"]
        if gone:
            await shards.call(Call(partition, pack(("UNLINK", *gone))))
        if cursor == b"0":
            return


async def fill(found: Stores, reader: BackupReader) -> Contents:
    """Bring a backup, with its epochs, into a cluster that holds nothing."""
    epoch = reader.standing_epoch
    for partition in range(found.config.redis.partitions):
        # With the process that wrote last: another one would begin an incarnation of its own.
        await found.shards.call(Call(partition, pack(("DEL", keys.tag(partition)))))
        await found.shards.call(Call(partition, pack(("HSET", keys.tag(partition), "incarnation", epoch))))
    resources = changes = 0
    for head in reader.heads():
        if found.archive is None:
            await _into_redis(found, reader, head, epoch)
        else:
            await _into_archive(found.archive, reader, head)
        resources += 1
        changes += head.version - head.first
    return Contents(resources, changes)


async def _into_archive(archive: PostgresArchive, reader: BackupReader, head: StoredHead) -> None:
    for transfer in _transfers(reader, head):
        await archive.store(transfer)
    if past := reader.submissions(head.name):
        await retention.add_submissions(archive, head.name, past)


def _transfers(reader: BackupReader, head: StoredHead) -> Iterator[Transfer]:
    """What stores a resource: its epoch and its documents, then its changes."""
    begun = Transfer(epochs=[Announcement(head.name, head.epoch, head.version, "", ())])
    found = [*reader.snapshots(head.name, head.first + 1), reader.snapshot(head.name, head.version)]
    for snapshot in {each.version: each for each in found}.values():  # the newest may be the first one
        if snapshot.version:
            begun.snapshots.append(SavedSnapshot(head.name, head.epoch, snapshot))
    yield begun
    for records in reader.records(head.name, head.first):
        base = records[0].version - 1
        yield Transfer(changes=[Announcement(head.name, head.epoch, base, "", records)])


async def _into_redis(found: Stores, reader: BackupReader, head: StoredHead, standing: int) -> None:
    """What Redis keeps of a resource: the newest changes, after a document that lies before them."""
    if head.version == 0 and head.epoch == standing:
        return
    snapshot = reader.snapshot(head.name, max(head.first, head.version - found.config.redis.history_versions))
    if snapshot.version < head.first:  # after a gap there may be the newest document alone
        snapshot = reader.snapshot(head.name, head.version)
    records = [record for part in reader.records(head.name, snapshot.version) for record in part]
    opening, past = Opening(head.epoch, snapshot, records), reader.submissions(head.name)
    await found.log.bring(opening, past, head.name, standing)
