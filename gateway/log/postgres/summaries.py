"""The index of summaries beside the archive, for all workers of a cluster.

A worker writes what it committed a moment later. What it didn't, because it crashed, is due by the time that
the archive has it (`gateway.summary_due`), and another worker makes up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson
from psycopg import Connection

from gateway.log.postgres.archive import PostgresArchive, clean
from gateway.ports.summaries import BEYOND, WALKED_MAX, Behind, Listing, Summary

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
INSERT INTO gateway.summary AS s ({_COLUMNS}) SELECT {_COLUMNS} FROM {_GIVEN} ORDER BY name COLLATE "C"
ON CONFLICT (name) DO UPDATE SET
    epoch = excluded.epoch, version = excluded.version, deleted = excluded.deleted,
    calendar = excluded.calendar, start_ms = excluded.start_ms, end_ms = excluded.end_ms,
    long = excluded.long, body = excluded.body
WHERE (excluded.epoch, excluded.version) >= (s.epoch, s.version)
"""
# Of a queue that was empty when it was analysed PostgreSQL expects one row, and may do what is inside once
# for each that there is. An array is made once. What changes while it is waited for is forgotten later.
_SETTLE = """
DELETE FROM gateway.summary_due WHERE ctid = ANY(ARRAY(
    SELECT d.ctid FROM gateway.summary_due AS d JOIN gateway.summary AS s ON s.name = d.name
    WHERE d.name = ANY(%(names)s::text[]) AND (s.epoch, s.version) >= (d.epoch, d.version)
    ORDER BY d.name FOR UPDATE OF d
))
"""
_OVERDUE = "since <= clock_timestamp() - make_interval(secs => %(grace)s)"
_ASKED = f"{_OVERDUE} AND name <> ALL(%(without)s::text[])"
# Others may have stored it between the archive's look and its note.
_FORGET = f"""
DELETE FROM gateway.summary_due WHERE ctid = ANY(ARRAY(
    SELECT d.ctid FROM gateway.summary_due AS d JOIN gateway.summary AS s ON s.name = d.name
    WHERE {_OVERDUE} AND (s.epoch, s.version) >= (d.epoch, d.version)
    ORDER BY d.name FOR UPDATE OF d SKIP LOCKED
))
"""
_CLAIM = f"""
UPDATE gateway.summary_due SET claimed_until = clock_timestamp() + interval '{CLAIM_S} s'
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM gateway.summary_due
    WHERE {_ASKED} AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    ORDER BY since LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)) RETURNING name
"""
_WAITING = f"SELECT count(*) FROM (SELECT FROM gateway.summary_due WHERE {_ASKED} LIMIT %(limit)s + 1) AS w"
_READABLE = f"""
SELECT unnest(%(names)s::text[])
UNION ALL SELECT s.name FROM unnest(%(prefixes)s::text[]) AS p
JOIN gateway.summary AS s ON s.name >= p AND s.name < p || '{BEYOND}'
"""
# By name, whatever else is asked: OFFSET keeps that outside. Of a calendar that was never analysed PostgreSQL
# expects one event, and would walk along all of it and look for each name in the whole array.
_LOOKED_UP = f"(SELECT * FROM gateway.summary WHERE name = ANY(ARRAY({_READABLE})) OFFSET 0) AS readable"
_SMALL = f"SELECT count(*) FROM ({_READABLE} LIMIT {WALKED_MAX + 1}) AS r"


class PostgresSummaries:
    """The port `Summaries`, over the connections of the archive."""

    follow_interval_s: float | None = FOLLOW_INTERVAL_S
    gather_s = 0.1  # well before the archive notes what isn't there yet

    def __init__(self, archive: PostgresArchive, grace_s: float = GRACE_S) -> None:
        self._archive = archive
        self._grace_s = grace_s

    async def store(self, found: Sequence[Summary]) -> None:
        """See the port."""
        rows = [_row(summary) for summary in found]
        given = {"rows": orjson.dumps(rows).decode()}
        names = {"names": [row["name"] for row in rows]}

        def store(connection: Connection[Any]) -> None:
            with connection.transaction():
                connection.execute(_STORE.encode(), given)
                connection.execute(_SETTLE.encode(), names)

        await self._archive.run(store, "none")

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """See the port."""
        values = values_of(wanted)

        def page(connection: Connection[Any]) -> list[Any]:
            by_name = "" not in wanted.scope.prefixes and _is_small(connection, values)
            return connection.execute(query(wanted, by_name).encode(), values).fetchall()

        rows = await self._archive.run(page, "none")
        return [Summary(*orjson.loads(body)) for (body,) in rows]

    async def behind(self, limit: int, without: Collection[str] = ()) -> Behind:
        """See the port."""
        values = {"limit": limit, "grace": self._grace_s, "without": [clean(name) for name in without]}

        def claim(connection: Connection[Any]) -> Behind:
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


def values_of(wanted: Listing) -> dict[str, Any]:
    """What the statement needs, by name."""
    return {**wanted.values(), **{part: sorted(names) for part, names in wanted.scope._asdict().items()}}


def _is_small(connection: Connection[Any], values: dict[str, Any]) -> bool:
    """Whether so little may be read that all of it is looked at, and nothing else."""
    row = connection.execute(_SMALL.encode(), values).fetchone()
    return row is not None and row[0] <= WALKED_MAX


def query(wanted: Listing, by_name: bool = False) -> str:
    """The statement that gives a page.

    A window is two walks along an index: what began at most LONG_MS before it, and what is long. `by_name`:
    it walks along the names that may be read instead.
    """
    order = "ORDER BY start_ms, id LIMIT %(limit)s"
    selects = [
        f"(SELECT start_ms, id, body FROM {table} WHERE {' AND '.join(conditions)} {order})"
        for table, conditions in _walks(wanted, by_name)
    ]
    return f"SELECT body::text FROM ({' UNION ALL '.join(selects)}) AS page {order}"


def _walks(wanted: Listing, by_name: bool) -> list[tuple[str, list[str]]]:
    """Along what, and under which conditions."""
    conditions = ["NOT deleted", "type = %(type)s"]
    if wanted.calendar_id is not None:
        conditions.append("calendar = %(calendar)s")
    if wanted.from_ms is not None:
        conditions += ["(end_ms > %(from)s OR start_ms >= %(from)s)", "start_ms < %(never)s"]
    if wanted.to_ms is not None:
        conditions.append("start_ms < %(to)s")
    if wanted.after is not None:
        conditions.append("(start_ms, id) > (%(after_start)s, %(after_id)s)")
    if not wanted.scope.everything:
        conditions.append(f"NOT {_any_of('without', 'without_prefixes')}")
    if by_name:
        return [(_LOOKED_UP, conditions)]
    if not wanted.scope.everything:
        conditions.append(_any_of("names", "prefixes"))
    table = "gateway.summary"
    if wanted.from_ms is None:
        return [(table, conditions)]
    return [(table, [*conditions, "NOT long", "start_ms >= %(earliest)s"]), (table, [*conditions, "long"])]


def _any_of(names: str, prefixes: str) -> str:
    return f"(name = ANY(%({names})s::text[]) OR name ^@ ANY(%({prefixes})s::text[]))"
