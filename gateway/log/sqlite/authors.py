"""Who made which changes of the embedded log: finds an author's newest without an index of every change.

An author is a user's client. The table has a row for each block of versions in which an author has changes,
and one for those without a seq; they come with the places (`places.py`).

Functions take a connection of the log and raise sqlite3.Error. A resource is given by its row's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.log.sqlite.places import TAIL

# Versions 1 to BLOCK are block 0.
BLOCK = 32
TABLE = """
CREATE TABLE author (
    resource INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    with_seq INTEGER NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (resource, user_id, client_id, with_seq, block)
) STRICT, WITHOUT ROWID;
"""
_ADD = f"""
INSERT OR IGNORE INTO author
SELECT resource, user_id, client_id, seq IS NOT NULL, (version - 1) / {BLOCK} FROM change
"""
# Of the changes that are about to get their places.
ADD = f"{_ADD} WHERE {TAIL}"
# From format 3, which had an index of every submission.
FROM_FORMAT_3 = f"{TABLE} {_ADD}; DROP INDEX change_submission;"


def newest(columns: str, author: Sequence[str], with_seq: int, most: str | int) -> str:
    """A statement for an author's newest changes `c`, newest first: columns, `version` among them.

    `author`: the resource, the user and the client, as expressions of SQL.
    """
    resource, user_id, client_id = author
    theirs = f"c.user_id = {user_id} AND c.client_id = {client_id} AND (c.seq IS NOT NULL) = {with_seq}"
    return f"""
    SELECT * FROM (
        SELECT {columns} FROM change AS c WHERE c.{TAIL} AND c.resource = {resource} AND {theirs}
        ORDER BY c.version DESC LIMIT {most}
    )
    UNION ALL
    SELECT * FROM (
        SELECT {columns} FROM author AS a
        CROSS JOIN place AS p ON p.resource = a.resource
            AND p.version BETWEEN {BLOCK} * a.block + 1 AND {BLOCK} * a.block + {BLOCK}
        CROSS JOIN change AS c ON c.id = p.id AND {theirs}
        WHERE a.resource = {resource} AND a.user_id = {user_id} AND a.client_id = {client_id}
            AND a.with_seq = {with_seq}
        ORDER BY a.block DESC, p.version DESC LIMIT {most}
    )
    ORDER BY version DESC LIMIT {most}
    """


_SEQS = f"""
SELECT json_group_array(json((
    SELECT json_group_array(seq) FROM (
        {newest("c.seq, c.version", ("r.id", "k.value->>1", "k.value->>2"), 1, SUBMISSIONS_KEPT)}
    )
))) FROM json_each(?) AS k LEFT JOIN resource AS r ON r.name = k.value->>0
"""
_SUBMISSION = f"""
SELECT version, digest FROM (
    {newest("c.seq, c.version, c.digest", (":resource", ":user_id", ":client_id"), 1, SUBMISSIONS_KEPT)}
) WHERE seq = :seq
"""
_FORGET = f"""
DELETE FROM author AS a WHERE resource = :resource AND (block < :last OR block = :last AND NOT EXISTS (
    SELECT 1 FROM place AS p CROSS JOIN change AS c ON c.id = p.id WHERE p.resource = :resource
    AND p.version BETWEEN {BLOCK} * :last + 1 AND {BLOCK} * :last + {BLOCK}
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


def newest_seqs(connection: sqlite3.Connection, authors: Sequence[tuple[str, str, str]]) -> list[list[int]]:
    """The seqs of authors' newest submissions, newest first. An author: names of resource, user, client."""
    (found,) = connection.execute(_SEQS, (orjson.dumps(authors).decode(),)).fetchone()
    seqs: list[list[int]] = orjson.loads(found)
    return seqs


def erase(connection: sqlite3.Connection, resource: int) -> None:
    """Forget all of a resource."""
    connection.execute("DELETE FROM author WHERE resource = ?", (resource,))


def forget(connection: sqlite3.Connection, resource: int, upto: int) -> None:
    """A resource's changes up to a version went: forget blocks in which an author has none any more."""
    connection.execute(_FORGET, {"resource": resource, "last": upto // BLOCK})
