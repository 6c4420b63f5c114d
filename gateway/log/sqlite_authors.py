"""Who made which changes of the embedded log: finds an author's newest without an index of every change.

An author is a user's client. The table has a row for each block of versions in which an author has changes,
and one for those without a seq. An index of every change has a place of its own for each author, which
appends touch.

Functions take a connection of the log and raise sqlite3.Error. A resource is given by its row's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.ports import Batch

# Versions 1 to BLOCK are block 0.
BLOCK = 32
# `Submissions` remembers those of as many authors as edited last, and at most twice as many.
AUTHORS_REMEMBERED = 8192

# The names of a resource, a user and a client.
Author = tuple[str, str, str]

TABLE = f"""
CREATE TABLE author (
    resource INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    with_seq INTEGER NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (resource, user_id, client_id, with_seq, block)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER author_of_change AFTER INSERT ON change BEGIN
    INSERT OR IGNORE INTO author
    VALUES (NEW.resource, NEW.user_id, NEW.client_id, NEW.seq IS NOT NULL, (NEW.version - 1) / {BLOCK});
END;
"""
# From format 3, which had an index of every submission.
FROM_FORMAT_3 = f"""
{TABLE}
INSERT OR IGNORE INTO author
SELECT resource, user_id, client_id, seq IS NOT NULL, (version - 1) / {BLOCK} FROM change;
DROP INDEX change_submission;
"""


def newest(resource: str, user_id: str, client_id: str, with_seq: int) -> str:
    """From FROM on: an author's changes `c`, newest first. The author is three expressions of SQL."""
    return f"""
    FROM author AS a CROSS JOIN change AS c ON c.resource = a.resource
        AND c.version BETWEEN {BLOCK} * a.block + 1 AND {BLOCK} * a.block + {BLOCK}
        AND c.user_id = a.user_id AND c.client_id = a.client_id AND (c.seq IS NOT NULL) = a.with_seq
    WHERE a.resource = {resource} AND a.user_id = {user_id} AND a.client_id = {client_id}
        AND a.with_seq = {with_seq}
    ORDER BY a.block DESC, c.version DESC
    """


_SEQS = f"""
SELECT json_group_array(json((
    SELECT json_group_array(seq) FROM (
        SELECT c.seq {newest("r.id", "k.value->>1", "k.value->>2", 1)} LIMIT {SUBMISSIONS_KEPT}
    )
))) FROM json_each(?) AS k LEFT JOIN resource AS r ON r.name = k.value->>0
"""
_SUBMISSION = f"""
SELECT version, digest FROM (
    SELECT c.seq, c.version, c.digest {newest(":resource", ":user_id", ":client_id", 1)}
    LIMIT {SUBMISSIONS_KEPT}
) WHERE seq = :seq
"""
_FORGET = f"""
DELETE FROM author AS a WHERE resource = :resource AND (block < :last OR block = :last AND NOT EXISTS (
    SELECT 1 FROM change AS c WHERE c.resource = :resource
    AND c.version BETWEEN {BLOCK} * :last + 1 AND {BLOCK} * :last + {BLOCK}
    AND c.user_id = a.user_id AND c.client_id = a.client_id AND (c.seq IS NOT NULL) = a.with_seq
))
"""


def submission(
    connection: sqlite3.Connection, resource: int, user_id: str, client_id: str, seq: int
) -> tuple[int, bytes] | None:
    """The version and the digest of an author's submission, if it is one of the newest."""
    named = {"resource": resource, "user_id": user_id, "client_id": client_id, "seq": seq}
    row: tuple[int, bytes] | None = connection.execute(_SUBMISSION, named).fetchone()
    return row


def erase(connection: sqlite3.Connection, resource: int) -> None:
    """Forget all of a resource."""
    connection.execute("DELETE FROM author WHERE resource = ?", (resource,))


def forget(connection: sqlite3.Connection, resource: int, upto: int) -> None:
    """A resource's changes up to a version went: forget blocks in which an author has none any more."""
    connection.execute(_FORGET, {"resource": resource, "last": upto // BLOCK})


class Submissions:
    """The seqs of authors' newest submissions, as the log has them: tells at once that one isn't a resend."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seqs: dict[Author, list[int]] = {}
        self._older: dict[Author, list[int]] = {}  # who edited since is in `_seqs`

    def may_hold(self, batches: Sequence[Batch]) -> bool:
        """Whether the log may have a submission of these batches already. Raises sqlite3.Error."""
        submissions = [one for batch in batches for one in _submissions(batch)]
        self._load({key for key, _ in submissions if not self._knows(key)})
        return bool([seq for key, seq in submissions if seq in self._seqs[key]])

    def add(self, batches: Sequence[Batch]) -> None:
        """They are stored now, and `may_hold` has been asked for them."""
        for batch in batches:
            for key, seq in _submissions(batch):
                seqs = self._seqs[key]
                seqs.append(seq)
                del seqs[:-SUBMISSIONS_KEPT]
        if len(self._seqs) >= AUTHORS_REMEMBERED:
            self._older, self._seqs = self._seqs, {}

    def clear(self) -> None:
        """The log may have other ones than these."""
        self._seqs, self._older = {}, {}

    def _knows(self, key: Author) -> bool:
        if key not in self._seqs and key in self._older:
            self._seqs[key] = self._older.pop(key)
        return key in self._seqs

    def _load(self, keys: set[Author]) -> None:
        if keys:
            asked = list(keys)
            (found,) = self._connection.execute(_SEQS, (orjson.dumps(asked).decode(),)).fetchone()
            newest_first = orjson.loads(found)
            self._seqs.update((key, seqs[::-1]) for key, seqs in zip(asked, newest_first, strict=True))


def _submissions(batch: Batch) -> list[tuple[Author, int]]:
    """Who submitted what, of the changes with a seq."""
    return [
        ((batch.resource, record.user_id, record.client_id), record.seq)
        for record in batch.records
        if record.seq is not None
    ]
