"""The index of summaries beside the archive, for all workers of a cluster.

A worker writes what it committed a moment later. What it didn't, because it crashed, is due by the time that
the archive has it (`gateway.summary_due`), and another worker makes up for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from psycopg import Connection

from gateway.log.postgres import PostgresArchive, clean
from gateway.ports.summaries import Behind, Listing, Summary

FOLLOW_INTERVAL_S = 5.0
# So long after its change was archived a summary is left to the worker that committed it.
GRACE_S = 5.0
# A worker that took something on and hasn't stored it after so long has crashed.
CLAIM_S = 60

_GIVEN = """
json_to_recordset(%(rows)s::json) AS i(name text, type text, id text, epoch bigint, version bigint,
    deleted boolean, calendar text, start_ms bigint, end_ms bigint, long boolean, body json)
"""
_COLUMNS = "name, type, id, epoch, version, deleted, calendar, start_ms, end_ms, long, body"
# In the order of names, so that two workers don't wait for each other.
_STORE = f"""
INSERT INTO gateway.summary AS s ({_COLUMNS}) SELECT {_COLUMNS} FROM {_GIVEN} ORDER BY name
ON CONFLICT (name) DO UPDATE SET
    epoch = excluded.epoch, version = excluded.version, deleted = excluded.deleted,
    calendar = excluded.calendar, start_ms = excluded.start_ms, end_ms = excluded.end_ms,
    long = excluded.long, body = excluded.body
WHERE (excluded.epoch, excluded.version) >= (s.epoch, s.version)
"""
_SETTLE = f"""
DELETE FROM gateway.summary_due WHERE name IN (
    SELECT d.name FROM gateway.summary_due AS d JOIN {_GIVEN} ON i.name = d.name
    WHERE (i.epoch, i.version) >= (d.epoch, d.version) ORDER BY d.name FOR UPDATE OF d
)
"""
_OVERDUE = "since <= clock_timestamp() - make_interval(secs => %(grace)s)"
# Others may have stored it between the archive's look and its note.
_FORGET = f"""
DELETE FROM gateway.summary_due WHERE name IN (
    SELECT d.name FROM gateway.summary_due AS d JOIN gateway.summary AS s ON s.name = d.name
    WHERE {_OVERDUE} AND (s.epoch, s.version) >= (d.epoch, d.version)
    ORDER BY d.name FOR UPDATE OF d SKIP LOCKED
)
"""
_CLAIM = f"""
UPDATE gateway.summary_due SET claimed_until = clock_timestamp() + interval '{CLAIM_S} s'
WHERE name IN (
    SELECT name FROM gateway.summary_due
    WHERE {_OVERDUE} AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    ORDER BY since LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) RETURNING name
"""
_WAITING = f"SELECT count(*) FROM (SELECT FROM gateway.summary_due WHERE {_OVERDUE} LIMIT %(limit)s + 1) AS w"


class PostgresSummaries:
    """The port `Summaries`, over the connections of the archive."""

    follow_interval_s: float | None = FOLLOW_INTERVAL_S

    def __init__(self, archive: PostgresArchive, grace_s: float = GRACE_S) -> None:
        self._archive = archive
        self._grace_s = grace_s

    async def store(self, found: Sequence[Summary]) -> None:
        """See the port."""
        given = {"rows": orjson.dumps([_row(summary) for summary in found]).decode()}

        def store(connection: Connection[Any]) -> None:
            with connection.transaction():
                connection.execute(_STORE.encode(), given)
                connection.execute(_SETTLE.encode(), given)

        await self._archive.run(store, "none")

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """See the port."""
        statement, values = query(wanted), wanted.values()
        rows = await self._archive.run(
            lambda connection: connection.execute(statement.encode(), values).fetchall(), "none"
        )
        return [Summary(*orjson.loads(body)) for (body,) in rows]

    async def behind(self, limit: int) -> Behind:
        """See the port."""

        def claim(connection: Connection[Any]) -> Behind:
            values = {"limit": limit, "grace": self._grace_s}
            connection.execute(_FORGET.encode(), values)
            rows = connection.execute(_CLAIM.encode(), values).fetchall()
            waiting = connection.execute(_WAITING.encode(), values).fetchone()
            return Behind([name for (name,) in rows], waiting is not None and waiting[0] <= len(rows))

        return await self._archive.run(claim, "none")


def _row(summary: Summary) -> dict[str, Any]:
    start_ms, end_ms, is_long = summary.span()
    return {
        "name": f"{summary.type}:{summary.id}",
        "type": summary.type,
        "id": summary.id,
        "epoch": summary.epoch,
        "version": summary.version,
        "deleted": summary.deleted,
        "calendar": summary.calendar_id,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "long": is_long,
        "body": [clean(value) if isinstance(value, str) else value for value in summary],
    }


def query(wanted: Listing) -> str:
    """The statement that gives a page; its values are the listing's.

    A window is two walks along an index: what began at most LONG_MS before it, and what is long.
    """
    conditions = ["NOT deleted", "type = %(type)s"]
    if wanted.calendar_id is not None:
        conditions.append("calendar = %(calendar)s")
    if wanted.to_ms is not None:
        conditions.append("start_ms < %(to)s")
    if wanted.after is not None:
        conditions.append("(start_ms, id) > (%(after_start)s, %(after_id)s)")
    parts = [conditions]
    if wanted.from_ms is not None:
        overlapping = [*conditions, "(end_ms > %(from)s OR start_ms >= %(from)s)", "start_ms < %(never)s"]
        parts = [
            [*overlapping, "NOT long", "start_ms >= %(earliest)s"],
            [*overlapping, "long"],
        ]
    order = "ORDER BY start_ms, id LIMIT %(limit)s"
    selects = [
        f"(SELECT start_ms, id, body FROM gateway.summary WHERE {' AND '.join(part)} {order})"
        for part in parts
    ]
    return f"SELECT body::text FROM ({' UNION ALL '.join(selects)}) AS page {order}"
