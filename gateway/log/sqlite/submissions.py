"""Submissions of the embedded log whose changes went: what recognises a resend, for as long as one may come.

Functions take a connection of the log and raise sqlite3.Error. A resource is given by its row's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.ports.retention import PastSubmission

# One row a submission, as `change` has it.
TABLE = """
CREATE TABLE submission (
    resource INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (resource, user_id, client_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX submission_by_time ON submission (timestamp);
"""
_KEEP = f"""
INSERT OR REPLACE INTO submission
SELECT resource, user_id, client_id, seq, version, digest, timestamp FROM (
    SELECT *, row_number() OVER (PARTITION BY user_id, client_id ORDER BY version DESC) AS rank
    FROM change WHERE id IN (SELECT id FROM place WHERE resource = :resource AND version <= :upto)
    AND seq IS NOT NULL AND timestamp >= :since
) WHERE rank <= {SUBMISSIONS_KEPT}
"""
_KEEP_THE_NEWEST = f"""
DELETE FROM submission WHERE resource = :resource AND version IN (
    SELECT version FROM (
        SELECT version, row_number() OVER (PARTITION BY user_id, client_id ORDER BY version DESC) AS rank
        FROM submission WHERE resource = :resource
    ) WHERE rank > {SUBMISSIONS_KEPT}
)
"""
# A backup reads them last: what went since it read the changes is there as a change, or came after all of it.
_ADD = """
INSERT OR REPLACE INTO submission
SELECT :resource, :user_id, :client_id, :seq, :version, :digest, :timestamp
WHERE :version < (SELECT min(version) FROM place WHERE resource = :resource)
"""
_ALL = """
SELECT user_id, client_id, seq, version, digest, timestamp FROM submission AS s
JOIN resource AS r ON r.id = s.resource WHERE r.name = ? ORDER BY version
"""


def keep(connection: sqlite3.Connection, resource: int, upto: int, since_ms: int) -> None:
    """Before a resource's changes up to `upto` go: keep each client's newest that were made since a time."""
    values = {"resource": resource, "upto": upto, "since": since_ms}
    connection.execute(_KEEP, values)
    connection.execute(_KEEP_THE_NEWEST, {"resource": resource})


def add(connection: sqlite3.Connection, resource: int, submissions: Iterable[PastSubmission]) -> None:
    """Add submissions from before a resource's oldest change, which is there."""
    connection.executemany(_ADD, ({"resource": resource, **one._asdict()} for one in submissions))


def of_resource(connection: sqlite3.Connection, name: str) -> Iterator[PastSubmission]:
    """What is kept of a resource, oldest first."""
    for user_id, client_id, seq, version, digest, timestamp in connection.execute(_ALL, (name,)):
        who = user_id.decode(), client_id.decode()
        yield PastSubmission(*who, seq, version, digest.decode(), timestamp)


def erase(connection: sqlite3.Connection, resource: int) -> None:
    """Forget all of a resource."""
    connection.execute("DELETE FROM submission WHERE resource = ?", (resource,))


def forget(connection: sqlite3.Connection, before_ms: int) -> None:
    """Forget what was submitted before a time."""
    connection.execute("DELETE FROM submission WHERE timestamp < ?", (before_ms,))
