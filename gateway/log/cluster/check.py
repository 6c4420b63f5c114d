"""Looking for damage in all of a cluster's log, in Redis and in the archive. Nodes may serve meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

from psycopg import Connection

from gateway.config import Config
from gateway.errors import LogDamaged
from gateway.log.checked import Checked
from gateway.log.cluster.backup import Stores, names_in_redis
from gateway.log.postgres.archive import PostgresArchive
from gateway.log.redis import codec
from gateway.redislink.keys import keys_of, outbox, partition_of
from gateway.redislink.link import Reply, pack
from gateway.redislink.shards import Call, Shards
from gateway.wire.announcement import MAGIC_BEFORE
from gateway.wire.checksum import unsealed

BATCHES_AT_ONCE = 100
ROWS_AT_ONCE = 1000

_CHANGES = """
SELECT s.name, c.version, c.body::text, c.checksum FROM gateway.change AS c
JOIN gateway.resource AS s ON s.id = c.resource
"""
_SNAPSHOTS = """
SELECT s.name, c.version, c.document::text, c.checksum FROM gateway.snapshot AS c
JOIN gateway.resource AS s ON s.id = c.resource
"""
# What a resource is opened from: its changes after its newest snapshot.
_GAPS = """
SELECT s.name, n.version + 1 FROM gateway.resource AS s
CROSS JOIN LATERAL (
    SELECT coalesce(max(version), 0) AS version FROM gateway.snapshot WHERE resource = s.id
) AS n
CROSS JOIN LATERAL (
    SELECT count(*), max(version) AS head FROM gateway.change
    WHERE resource = s.id AND version > n.version AND NOT superseded
) AS c
WHERE c.head <> n.version + c.count ORDER BY s.name
"""


async def check_cluster(found: Stores) -> Checked:
    """Read all that the servers keep; raises LogUnavailable where they can't be read."""
    checked = Checked()
    for name in sorted(await names_in_redis(found.shards)):
        await _check_changes(found.shards, found.config, name, checked)
        await _check_snapshots(found.shards, found.config, name, checked)
    for partition in range(found.config.redis.partitions):
        await _check_outbox(found.shards, partition, checked)
    if found.archive is not None:
        await _check_archive(found.archive, checked)
    return checked


async def _ask(shards: Shards, config: Config, name: str, *words: Any) -> Reply:
    return await shards.call(Call(partition_of(name, config.redis.partitions), pack(words)))


async def _check_changes(shards: Shards, config: Config, name: str, checked: Checked) -> None:
    """Each batch of a resource, and that none is missing between them."""
    key, start = keys_of(name, config.redis.partitions).changes, "-"
    reached: int | None = None
    while entries := await _ask(shards, config, name, "XRANGE", key, start, "+", "COUNT", BATCHES_AT_ONCE):
        for entry_id, fields in entries:
            reached = _check_batch(name, entry_id.decode(), fields[3], reached, checked)
        start = f"({entries[-1][0].decode()}"


def _check_batch(name: str, entry_id: str, payload: bytes, reached: int | None, checked: Checked) -> int:
    """One batch that should follow on version `reached` (None: any); the version that it reaches."""
    last = int(entry_id.split("-")[0])
    try:
        batch = codec.stored(payload, f"the batch up to {last} of {name}")
    except LogDamaged:
        checked.add(f"the batch of {name} that ends at {last}")
        return last
    checked.changes += len(batch.records)
    if payload.startswith(MAGIC_BEFORE):
        checked.without_checksum += len(batch.records)
    if (reached is not None and batch.base != reached) or batch.base + len(batch.records) != last:
        checked.add(f"{name} lacks changes before {last}")
    return last


async def _check_outbox(shards: Shards, partition: int, checked: Checked) -> None:
    """What waits to be archived; it was counted as changes already."""
    start = "-"
    while True:
        words = ("XRANGE", outbox(partition), start, "+", "COUNT", BATCHES_AT_ONCE)
        entries = await shards.call(Call(partition, pack(words)))
        for entry_id, fields in entries:
            what = f"entry {entry_id.decode()} of the outbox of partition {partition}"
            try:
                codec.stored(fields[3], what)
            except LogDamaged:
                checked.add(what)
        if len(entries) < BATCHES_AT_ONCE:
            return
        start = f"({entries[-1][0].decode()}"


async def _check_snapshots(shards: Shards, config: Config, name: str, checked: Checked) -> None:
    key = keys_of(name, config.redis.partitions).snapshots
    for version in await _ask(shards, config, name, "HKEYS", key):
        document = await _ask(shards, config, name, "HGET", key, version)
        if document is None:
            continue  # a node has trimmed it meanwhile
        what = f"the snapshot of {name} at {version.decode()}"
        try:
            unsealed(document, what)
        except LogDamaged:
            checked.add(what)


async def _check_archive(archive: PostgresArchive, checked: Checked) -> None:
    def compare(connection: Connection[Any]) -> None:
        for name, version, _, checksum, sound in _rows(connection, "changes", _CHANGES):
            checked.changes += 1
            checked.without_checksum += checksum is None
            if not sound:
                checked.add(f"archived change {version} of {name}")
        for name, version, _, _, sound in _rows(connection, "snapshots", _SNAPSHOTS):
            if not sound:
                checked.add(f"the archived snapshot of {name} at {version}")
        with connection.transaction():
            connection.execute(b"SET LOCAL statement_timeout = 0")  # one statement looks at all of it
            for name, version in connection.execute(_GAPS.encode()):
                checked.add(f"the archived history of {name}, which lacks changes from {version} on")

    await archive.run(compare, "none")


def _rows(connection: Connection[Any], cursor_name: str, statement: str) -> Iterator[Sequence[Any]]:
    """Each row of a statement, and whether its third field has the checksum that its fourth tells."""
    with connection.transaction(), connection.cursor(cursor_name) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        for row in cursor.execute(statement.encode()):
            yield (*row, row[3] is None or crc32(row[2].encode()) == row[3])
