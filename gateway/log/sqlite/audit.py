"""The audit of a lone node, or of a cluster's node without an archive: a database in its data directory.

Workers of a node share it: each append is a transaction that waits for the others'.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gateway.log.database_thread import DatabaseThread, made_ready
from gateway.log.sqlite.store import transaction
from gateway.ports.audit import (
    COLUMNS,
    FIRST,
    AuditEntry,
    AuditRecord,
    AuditSearch,
    chained,
    retained,
    span_ms,
    told_apart,
)

DATABASE = "audit.sqlite3"
BUSY_TIMEOUT_S = 5.0
_PREPARE = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY, previous TEXT NOT NULL, digest TEXT NOT NULL, stamp_ms INTEGER NOT NULL,
    node TEXT NOT NULL, act TEXT NOT NULL, actor TEXT NOT NULL, subject TEXT NOT NULL, result TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_by_actor ON audit (actor, number);
CREATE INDEX IF NOT EXISTS audit_by_subject ON audit (subject, number);
PRAGMA user_version = 1;
"""
_ADD = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEWEST = "SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1"
_COLUMNS = ", ".join(COLUMNS)
_BETWEEN = f"SELECT {_COLUMNS} FROM audit WHERE stamp_ms BETWEEN ? AND ? ORDER BY number"


class SqliteAudit:
    """The port `AuditStore` in `data_dir`, whose database is made by the first use."""

    def __init__(self, data_dir: str | Path) -> None:
        self._database = DatabaseThread("audit", Path(data_dir) / DATABASE, _opened)

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        """See the port."""
        return await self._database.run(lambda connection: _append(connection, entries, tried))

    async def find(self, wanted: AuditSearch) -> Sequence[AuditRecord]:
        """See the port."""
        statement, values = query(wanted)
        rows = await self._database.run(lambda connection: connection.execute(statement, values).fetchall())
        return [AuditRecord.of_row(row) for row in rows]

    async def retain(self, since_ms: int, node: str, now_ms: int) -> int:
        """See the port."""
        return await self._database.run(lambda connection: _retain(connection, since_ms, node, now_ms))

    async def aclose(self) -> None:
        """Close it; a later use opens it again."""
        await self._database.aclose()


def _opened(path: Path) -> sqlite3.Connection:
    path.touch(0o600)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    with made_ready(connection):
        connection.executescript(_PREPARE)
    return connection


def _append(connection: sqlite3.Connection, entries: Sequence[AuditEntry], tried: int) -> list[AuditRecord]:
    with transaction(connection, "IMMEDIATE"):
        there = _between(connection, *span_ms(entries[:tried])) if tried else []
        found, left = told_apart(entries, tried, there)
        return [*found, *_chain(connection, left)]


def _between(connection: sqlite3.Connection, since_ms: int, until_ms: int) -> list[AuditRecord]:
    return [AuditRecord.of_row(row) for row in connection.execute(_BETWEEN, (since_ms, until_ms))]


def _chain(connection: sqlite3.Connection, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
    number, previous = connection.execute(_NEWEST).fetchone() or (0, FIRST)
    made = chained(number, previous, entries)
    connection.executemany(_ADD, [record.row for record in made])
    return made


def _retain(connection: sqlite3.Connection, since_ms: int, node: str, now_ms: int) -> int:
    with transaction(connection, "IMMEDIATE"):
        # What stands before the first one that stays; the newest stays.
        row = connection.execute(
            f"""
            SELECT {_COLUMNS} FROM audit WHERE number < min(
                ifnull((SELECT min(number) FROM audit WHERE stamp_ms >= ?), (SELECT max(number) FROM audit)),
                (SELECT max(number) FROM audit))
            ORDER BY number DESC LIMIT 1
            """,
            (since_ms,),
        ).fetchone()
        if row is None:
            return 0
        through = AuditRecord.of_row(row)
        count = connection.execute("DELETE FROM audit WHERE number <= ?", (through.number,)).rowcount
        _chain(connection, [retained(through, count, since_ms, node, now_ms)])
        return count


def query(wanted: AuditSearch) -> tuple[str, dict[str, object]]:
    """The statement of a page, and its values."""
    comparisons = {
        "act": "act = :act",
        "actor": "actor = :actor",
        "subject": "subject = :subject",
        "before": "number < :before",
        "after": "number > :after",
        "since_ms": "stamp_ms >= :since_ms",
        "until_ms": "stamp_ms < :until_ms",
        "text": "instr(lower(act||' '||actor||' '||subject||' '||result||' '||details), lower(:text))",
    }
    conditions = [text for name, text in comparisons.items() if getattr(wanted, name) is not None]
    where = " AND ".join(conditions) or "true"
    order = "ASC" if wanted.after is not None else "DESC"
    statement = f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY number {order} LIMIT :limit"
    return statement, wanted._asdict()
