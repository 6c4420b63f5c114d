"""Old history goes from the archive: which resources have more than they keep, and what goes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any
from zlib import crc32

from psycopg import Connection

from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.log.postgres.archive import PostgresArchive, clean
from gateway.ports import Snapshot
from gateway.ports.retention import NAMED_SOON_S, Excess, PastSubmission, RetentionRule

# Resources that one statement looks at.
RESOURCES_A_LOOK = 2000

# Nobody's turn lasts for longer: where it seems so, the server's clock went backwards. Who waited for
# another's turn to be written looks at the time anew: beside a time from before, it would seem so too.
_TURN = b"""
INSERT INTO gateway.retention (taken_until) VALUES (clock_timestamp() + %(seconds)s * interval '1 s')
ON CONFLICT (id) DO UPDATE SET taken_until = clock_timestamp() + %(seconds)s * interval '1 s'
WHERE retention.taken_until <= clock_timestamp()
   OR retention.taken_until > clock_timestamp() + %(seconds)s * interval '1 s'
"""
# Timestamps never decrease, so the oldest change tells whether any is too old.
_EXCESS = b"""
WITH looked AS (
    SELECT id, name, epoch FROM gateway.resource
    WHERE name COLLATE "C" > %(after)s AND name COLLATE "C" >= %(first)s AND name COLLATE "C" < %(beyond)s
    ORDER BY name COLLATE "C" LIMIT %(looked)s
)
SELECT l.name, l.epoch, h.first, least(h.head - 1, greatest(
    CASE WHEN %(since)s::bigint IS NULL OR h.oldest >= %(since)s THEN 0 ELSE (
        SELECT max(version) FROM gateway.change
        WHERE resource = l.id AND NOT superseded AND timestamp < %(since)s
    ) END,
    CASE WHEN %(changes)s::bigint IS NULL THEN 0 ELSE h.head - %(changes)s END
)) AS upto
FROM looked AS l LEFT JOIN LATERAL (
    SELECT
        (SELECT max(version) FROM gateway.change WHERE resource = l.id AND NOT superseded) AS head, o.*
    FROM (
        SELECT version AS first, timestamp AS oldest FROM gateway.change
        WHERE resource = l.id AND NOT superseded ORDER BY version LIMIT 1
    ) AS o
) AS h ON true
ORDER BY l.name COLLATE "C"
"""
_LOCK = b"""
SELECT id, epoch, (SELECT max(version) FROM gateway.change WHERE resource = s.id AND NOT superseded)
FROM gateway.resource AS s WHERE name = %s FOR NO KEY UPDATE
"""
_STORED = b"""
SELECT s.version, s.version < (
    SELECT min(version) FROM gateway.change WHERE resource = r.id AND NOT superseded
)
FROM gateway.resource AS r JOIN gateway.snapshot AS s ON s.resource = r.id
WHERE r.name = %s AND s.version = ANY(%s::bigint[])
"""
_ADD_SNAPSHOT = b"""
INSERT INTO gateway.snapshot (resource, version, epoch, document, checksum)
VALUES (%s, %s, %s, %s::text::json, %s) ON CONFLICT (resource, version) DO NOTHING
"""
_KEEP_SUBMISSIONS = f"""
INSERT INTO gateway.submission (resource, user_id, client_id, seq, version, epoch, digest, timestamp)
SELECT resource, user_id, client_id, seq, version, epoch, digest, timestamp FROM (
    SELECT *, row_number() OVER (PARTITION BY user_id, client_id ORDER BY version DESC) AS place
    FROM gateway.change
    WHERE resource = %(resource)s AND version <= %(upto)s AND NOT superseded AND seq IS NOT NULL
    AND timestamp >= %(since)s
) AS c WHERE place <= {SUBMISSIONS_KEPT}
ON CONFLICT (resource, user_id, client_id, seq) DO NOTHING
""".encode()
_KEEP_THE_NEWEST = f"""
DELETE FROM gateway.submission WHERE resource = %(resource)s AND version IN (
    SELECT version FROM (
        SELECT version, row_number() OVER (PARTITION BY user_id, client_id ORDER BY version DESC) AS place
        FROM gateway.submission WHERE resource = %(resource)s
    ) AS c WHERE place > {SUBMISSIONS_KEPT}
)
""".encode()
_FORGET = b"DELETE FROM gateway.submission WHERE timestamp < %s"
_ADD_SUBMISSION = b"""
INSERT INTO gateway.submission (resource, user_id, client_id, seq, version, digest, timestamp, epoch)
SELECT id, %s, %s, %s, %s, %s, %s, epoch FROM gateway.resource WHERE name = %s
ON CONFLICT (resource, user_id, client_id, seq) DO NOTHING
"""
_DROP_CHANGES = b"DELETE FROM gateway.change WHERE resource = %s AND version <= %s"
_DROP_SNAPSHOTS = f"""
DELETE FROM gateway.snapshot WHERE resource = %s AND version < %s AND version <> ALL(%s::bigint[])
AND (kept_at IS NULL OR kept_at < clock_timestamp() - interval '{NAMED_SOON_S} s')
""".encode()
# A document beyond the archive's newest change would be taken for its head.
_KEEP_SNAPSHOT = b"""
INSERT INTO gateway.snapshot (resource, version, epoch, document, checksum, kept_at)
SELECT id, %(version)s, epoch, %(document)s::text::json, %(checksum)s, clock_timestamp()
FROM gateway.resource AS s WHERE name = %(name)s AND epoch = %(epoch)s AND %(version)s <= (
    SELECT max(version) FROM gateway.change WHERE resource = s.id AND NOT superseded
)
ON CONFLICT (resource, version) DO UPDATE SET kept_at = excluded.kept_at
"""

# The one before the oldest change is what all later versions are rebuilt from.
_LET_GO = b"""
DELETE FROM gateway.snapshot AS s USING gateway.resource AS r
WHERE r.name = %s AND r.epoch = %s AND s.resource = r.id AND s.version = %s AND s.version + 1 < (
    SELECT min(version) FROM gateway.change WHERE resource = r.id AND NOT superseded
)
"""


async def turn(archive: PostgresArchive, seconds: float) -> bool:
    """Whether nobody looked for so long; then this one does, and nobody else for as long."""
    values = {"seconds": seconds}
    return bool(await archive.run(lambda one: one.execute(_TURN, values).rowcount, "none"))


async def excess_of(
    archive: PostgresArchive, kept: RetentionRule, after: str, limit: int
) -> Sequence[Excess]:
    """The port's `excess`."""
    asked = {
        "first": f"{kept.type}:",
        "beyond": f"{kept.type};",  # the character after the colon
        "since": kept.since_ms,
        "changes": kept.changes,
        "looked": RESOURCES_A_LOOK,
    }
    found: list[Excess] = []
    while len(found) < limit:
        rows = await archive.run(partial(_looked, {**asked, "after": clean(after)}), "none")
        found += [
            Excess(name, epoch, upto)
            for name, epoch, first, upto in rows
            if first is not None and upto >= first
        ]
        if len(rows) < RESOURCES_A_LOOK:
            break
        after = rows[-1][0]
    return found[:limit]


def _looked(values: Mapping[str, object], connection: Connection[Any]) -> list[Any]:
    return connection.execute(_EXCESS, values).fetchall()


async def stored(archive: PostgresArchive, resource: str, versions: Collection[int]) -> Mapping[int, bool]:
    """The port's `stored`."""
    asked = (clean(resource), list(versions))
    rows = await archive.run(lambda one: one.execute(_STORED, asked).fetchall(), "none")
    return {version: bool(went) for version, went in rows}


async def retain(
    archive: PostgresArchive, excess: Excess, document: bytes, named: Collection[int], since_ms: int
) -> int:
    """The port's `retain`."""

    def retain(connection: Connection[Any]) -> int:
        with connection.transaction():
            row = connection.execute(_LOCK, (clean(excess.name),)).fetchone()
            if row is None or row[1] != excess.epoch or row[2] is None or excess.upto >= row[2]:
                return 0  # it was purged meanwhile
            number = row[0]
            values = (number, excess.upto, excess.epoch, document.decode(), crc32(document))
            connection.execute(_ADD_SNAPSHOT, values)
            connection.execute(_DROP_SNAPSHOTS, (number, excess.upto, list(named)))
            going = {"resource": number, "upto": excess.upto, "since": since_ms}
            connection.execute(_KEEP_SUBMISSIONS, going)
            connection.execute(_KEEP_THE_NEWEST, going)
            return connection.execute(_DROP_CHANGES, (number, excess.upto)).rowcount

    return await archive.run(retain, "unknown")


async def keep(archive: PostgresArchive, resource: str, epoch: int, snapshot: Snapshot) -> None:
    """The port's `keep`."""
    version, document = snapshot
    what = {"version": version, "document": document.decode(), "checksum": crc32(document)}
    values = {"name": clean(resource), "epoch": epoch, **what}
    await archive.run(lambda one: one.execute(_KEEP_SNAPSHOT, values), "unknown")


async def let_go(archive: PostgresArchive, resource: str, epoch: int, version: int) -> None:
    """The port's `let_go`."""
    await archive.run(lambda one: one.execute(_LET_GO, (clean(resource), epoch, version)), "unknown")


async def forget(archive: PostgresArchive, before_ms: int) -> None:
    """The port's `forget`."""
    await archive.run(lambda one: one.execute(_FORGET, (before_ms,)), "unknown")


async def add_submissions(
    archive: PostgresArchive, resource: str, submissions: Sequence[PastSubmission]
) -> None:
    """Add submissions of a resource that is there, as a backup has them."""
    rows = [(clean(one.user_id), clean(one.client_id), *one[2:], clean(resource)) for one in submissions]
    await archive.run(lambda one: one.cursor().executemany(_ADD_SUBMISSION, rows), "unknown")
