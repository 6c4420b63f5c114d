"""The index of summaries beside the embedded log: a database that can be made again from that.

It says of which history it is: the log's standing epoch, a new one wherever the log may be an older copy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import IndexLost
from gateway.log.database_thread import DatabaseThread, made_ready
from gateway.log.sqlite.log import DATABASE
from gateway.log.sqlite.scope import in_scope, not_without, scope_values
from gateway.log.sqlite.store import damage_in, name_of
from gateway.ports.search import Scope
from gateway.ports.summaries import BEYOND, WALKED_MAX, Behind, Listing, Summary

INDEX = "summaries.sqlite3"
# Where that differs, it is made again.
FORMAT_VERSION = 2

# Nothing is lost with it, so a commit needn't reach the disk.
_PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON;"
# `start` and `end` are Unix ms.
_TABLES = f"""
CREATE TABLE IF NOT EXISTS summary (
    name TEXT PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL,
    version INTEGER NOT NULL, deleted INTEGER NOT NULL, calendar TEXT, start INTEGER NOT NULL,
    "end" INTEGER NOT NULL, long INTEGER NOT NULL, body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS summary_by_calendar ON summary (type, calendar, start, id, "end", long)
    WHERE NOT deleted;
CREATE INDEX IF NOT EXISTS summary_by_start ON summary (type, start, id, "end", long) WHERE NOT deleted;
CREATE INDEX IF NOT EXISTS summary_long ON summary (type, start, id, calendar, "end")
    WHERE long AND NOT deleted;
CREATE TABLE IF NOT EXISTS made_from (standing_epoch INTEGER NOT NULL) STRICT;
PRAGMA user_version = {FORMAT_VERSION};
"""
_MADE_FROM = "SELECT standing_epoch FROM made_from"
_STANDING = "SELECT standing_epoch FROM log.log"
_STORE = """
INSERT INTO summary SELECT
    value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
    value->>9, CAST(value->10 AS BLOB)
FROM json_each(?) WHERE true ON CONFLICT (name) DO UPDATE SET
    epoch = excluded.epoch, version = excluded.version, deleted = excluded.deleted,
    calendar = excluded.calendar, start = excluded.start, "end" = excluded."end", long = excluded.long,
    body = excluded.body
WHERE (excluded.epoch, excluded.version) >= (summary.epoch, summary.version)
"""
_BEHIND = """
WITH tail AS MATERIALIZED (
    SELECT resource, max(version) AS version FROM log.change WHERE id > (SELECT placed FROM log.log)
    GROUP BY resource
)
SELECT CAST(r.name AS BLOB) FROM log.resource AS r LEFT JOIN summary AS s ON s.name = r.name
WHERE r.name NOT IN (SELECT value FROM json_each(:without)) AND (
    s.name IS NULL OR s.epoch <> r.epoch
    OR s.version < coalesce(
        (SELECT version FROM tail WHERE resource = r.id),
        (SELECT max(version) FROM log.place WHERE resource = r.id),
        0
    )
) LIMIT :most
"""
_READABLE = f"""
SELECT value AS name FROM json_each(:names)
UNION ALL SELECT s.name FROM json_each(:prefixes) AS p
JOIN summary AS s ON s.name >= p.value AND s.name < p.value || '{BEYOND}'
"""
_LOOKED_UP = f"(SELECT DISTINCT name FROM ({_READABLE})) AS readable CROSS JOIN summary USING (name)"


class SqliteSummaries:
    """The port `Summaries` in the log's directory. The log is there before it."""

    follow_interval_s: float | None = None
    gather_s = 0.5  # there is no other worker who would list it later for that

    def __init__(self, data_dir: str | Path) -> None:
        directory = Path(data_dir)
        self._log = directory / DATABASE
        self._database = DatabaseThread("summaries", directory / INDEX, self._opened, derived=True)

    async def store(self, found: Sequence[Summary]) -> None:
        """See the port."""
        rows = orjson.dumps([_row(summary) for summary in found])
        purged = any(summary.version == 0 for summary in found)

        def store(connection: sqlite3.Connection) -> None:
            connection.execute(_STORE, (rows.decode(),))
            if purged:  # what it said is in no copy of a page either
                connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()

        await self._database.run(store)

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """See the port."""

        def page(connection: sqlite3.Connection) -> Sequence[Summary]:
            statement, values = query(wanted, _is_small(connection, wanted.scope))
            return _read(connection.execute(statement, values).fetchone()[0])

        return await self._database.run(page)

    async def behind(self, limit: int, without: Collection[str] = ()) -> Behind:
        """See the port."""
        asked = {"most": limit, "without": orjson.dumps([*without]).decode()}
        rows = await self._database.run(lambda connection: connection.execute(_BEHIND, asked).fetchall())
        return Behind([name for (stored,) in rows if (name := name_of(stored))], len(rows) < limit)

    async def aclose(self) -> None:
        """Close it; it is made anew by the next use."""
        await self._database.aclose()

    def _opened(self, path: Path) -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode=rwc"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        with made_ready(connection):
            connection.executescript(_PRAGMAS)
            connection.execute("ATTACH ? AS log", (f"{self._log.absolute().as_uri()}?mode=ro",))
            _prepare(connection, path)
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Raises IndexLost where it is damaged, or wasn't made from this history of the log, in this format."""
    (version,) = connection.execute("PRAGMA main.user_version").fetchone()
    (standing,) = connection.execute(_STANDING).fetchone()
    if version == 0:
        connection.executescript(_TABLES)
        connection.execute("INSERT INTO made_from VALUES (?)", (standing,))
    damage = damage_in(connection)
    if damage:
        raise IndexLost(f"{path} is damaged: {damage}; it is made again", "none")
    if version not in (0, FORMAT_VERSION) or connection.execute(_MADE_FROM).fetchone() != (standing,):
        raise IndexLost(f"{path} isn't of this log: it is made again", "none")


def _row(summary: Summary) -> list[Any]:
    start_ms, end_ms, is_long = summary.span()
    fixed = [f"{summary.type}:{summary.id}", summary.type, summary.id, summary.epoch, summary.version]
    times = [start_ms, end_ms, int(is_long)]
    return [*fixed, int(summary.deleted), summary.calendar_id, *times, list(summary)]


def _read(page: bytes) -> Sequence[Summary]:
    """The summaries of a page; raises IndexLost where one isn't what was written."""
    try:
        return [Summary(*fields) for fields in orjson.loads(page)]
    except (orjson.JSONDecodeError, TypeError):
        raise IndexLost(f"{INDEX} is damaged: a summary can't be read; it is made again", "none") from None


def query(wanted: Listing, by_name: bool = False) -> tuple[str, dict[str, Any]]:
    """The statement that gives a page as one JSON array of what is stored, and its values.

    A window is two walks along an index, merged: what began at most LONG_MS before it, and what is long.
    `by_name`: it walks along the names that may be read instead.
    """
    selects = [
        f"SELECT start, id, body FROM {table} WHERE {' AND '.join(conditions)}"
        for table, conditions in _walks(wanted, by_name)
    ]
    page = f"{' UNION ALL '.join(selects)} ORDER BY start, id LIMIT :limit"
    statement = f"SELECT CAST('[' || ifnull(group_concat(body), '') || ']' AS BLOB) FROM ({page})"
    return statement, {**wanted.values(), **scope_values(wanted.scope)}


def _walks(wanted: Listing, by_name: bool) -> list[tuple[str, list[str]]]:
    """Along what, and under which conditions."""
    conditions = ["NOT deleted", "type = :type"]
    if wanted.calendar_id is not None:
        conditions.append("calendar = :calendar")
    if wanted.from_ms is not None:
        conditions += ['("end" > :from OR start >= :from)', "start < :never"]
    if wanted.to_ms is not None:
        conditions.append("start < :to")
    if wanted.after is not None:
        conditions.append("(start, id) > (:after_start, :after_id)")
    if by_name:
        return [(_LOOKED_UP, [*conditions, not_without("name")])]
    if not wanted.scope.everything:
        conditions += [in_scope("name"), not_without("name")]
    by = "summary INDEXED BY " + ("summary_by_start" if wanted.calendar_id is None else "summary_by_calendar")
    if wanted.from_ms is None:
        return [(by, conditions)]
    return [
        (by, [*conditions, "NOT long", "start >= :earliest"]),
        ("summary INDEXED BY summary_long", [*conditions, "long"]),
    ]


def _is_small(connection: sqlite3.Connection, scope: Scope) -> bool:
    """Whether so little may be read that all of it is looked at, and nothing else."""
    if "" in scope.prefixes:
        return False
    statement = f"SELECT count(*) FROM (SELECT 1 FROM ({_READABLE}) LIMIT {WALKED_MAX + 1})"
    return bool(connection.execute(statement, scope_values(scope)).fetchone()[0] <= WALKED_MAX)
