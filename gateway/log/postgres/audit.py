"""The audit of a cluster beside its archive: one chain for all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from gateway.log.postgres.archive import PostgresArchive, clean
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

# An arbitrary number: who appends holds this lock until his transaction ends.
CHAIN_LOCK = 0x61756469
_LOCK = f"SELECT pg_advisory_xact_lock({CHAIN_LOCK})".encode()
_COLUMNS = ", ".join(COLUMNS)
_NEWEST = b"SELECT number, digest FROM gateway.audit ORDER BY number DESC LIMIT 1"
_ADD = f"INSERT INTO gateway.audit ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)".encode()
_BETWEEN = f"SELECT {_COLUMNS} FROM gateway.audit WHERE stamp_ms BETWEEN %s AND %s ORDER BY number".encode()
_LAST_OLD = f"""
SELECT {_COLUMNS} FROM gateway.audit WHERE number < least(
    coalesce((SELECT min(number) FROM gateway.audit WHERE stamp_ms >= %s),
             (SELECT max(number) FROM gateway.audit)),
    (SELECT max(number) FROM gateway.audit))
ORDER BY number DESC LIMIT 1
""".encode()


class PostgresAudit:
    """The port `AuditStore`, over the connections of the archive, which closes them."""

    def __init__(self, archive: PostgresArchive) -> None:
        self._archive = archive

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        """See the port."""
        cleaned = [AuditEntry(*map(_clean, entry)) for entry in entries]

        def append(connection: Connection[Any]) -> list[AuditRecord]:
            with connection.transaction():
                connection.execute(_LOCK)  # an append whose answer was lost has ended by now
                there = _between(connection, *span_ms(cleaned[:tried])) if tried else []
                found, left = told_apart(cleaned, tried, there)
                return [*found, *_chain(connection, left)]

        return await self._archive.run(append, "unknown")

    async def find(self, wanted: AuditSearch) -> Sequence[AuditRecord]:
        """See the port."""
        statement, values = query(wanted).encode(), _clean(wanted._asdict())
        rows = await self._archive.run(
            lambda connection: connection.execute(statement, values).fetchall(), "none"
        )
        return [AuditRecord.of_row(row) for row in rows]

    async def retain(self, since_ms: int, node: str, now_ms: int) -> int:
        """See the port."""

        def retain(connection: Connection[Any]) -> int:
            with connection.transaction():
                connection.execute(_LOCK)
                row = connection.execute(_LAST_OLD, (since_ms,)).fetchone()
                if row is None:
                    return 0
                through = AuditRecord.of_row(row)
                count = connection.execute(
                    b"DELETE FROM gateway.audit WHERE number <= %s", (through.number,)
                ).rowcount
                _chain(connection, [retained(through, count, since_ms, node, now_ms)])
                return count

        return await self._archive.run(retain, "unknown")

    async def aclose(self) -> None:
        """The connections are the archive's."""


def _clean(value: Any) -> Any:
    """As PostgreSQL can hold it, before it is chained."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _clean(item) for name, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _between(connection: Connection[Any], since_ms: int, until_ms: int) -> list[AuditRecord]:
    return [AuditRecord.of_row(row) for row in connection.execute(_BETWEEN, (since_ms, until_ms)).fetchall()]


def _chain(connection: Connection[Any], entries: Sequence[AuditEntry]) -> list[AuditRecord]:
    number, previous = connection.execute(_NEWEST).fetchone() or (0, FIRST)
    made = chained(number, previous, entries)
    with connection.cursor() as cursor:
        cursor.executemany(_ADD, [record.row for record in made])
    return made


def query(wanted: AuditSearch) -> str:
    """The statement of a page; its values are those of what is wanted."""
    comparisons = {
        "act": "act = %(act)s",
        "actor": "actor = %(actor)s",
        "subject": "subject = %(subject)s",
        "before": "number < %(before)s",
        "after": "number > %(after)s",
        "since_ms": "stamp_ms >= %(since_ms)s",
        "until_ms": "stamp_ms < %(until_ms)s",
        "text": "strpos(lower(concat_ws(' ', act, actor, subject, result, details)), lower(%(text)s)) > 0",
    }
    conditions = [text for name, text in comparisons.items() if getattr(wanted, name) is not None]
    order = "ASC" if wanted.after is not None else "DESC"
    where = " AND ".join(conditions) or "true"
    return f"SELECT {_COLUMNS} FROM gateway.audit WHERE {where} ORDER BY number {order} LIMIT %(limit)s"
