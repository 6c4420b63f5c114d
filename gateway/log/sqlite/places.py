"""Where each version of the embedded log is: an index that follows what was appended, some way behind.

Resources have their places in an index apart from each other. One that is kept with each append costs that a
page for every resource that it touches, more than the changes themselves. So an append adds to the end of
`change` and no more. Many changes get their rows in `place` together, and their authors' in `author`;
`log.placed` is the id of the newest that has. Those after it, the *tail*, are looked through.

Functions take a connection of the log and raise sqlite3.Error. A resource is given by its row's id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

# A tail has so many changes at most, and those of the append before the next one.
TAIL_MAX = 2000
TAIL = "id > (SELECT placed FROM log)"

TABLE = """
CREATE TABLE place (
    resource INTEGER NOT NULL,
    version INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (resource, version)
) STRICT, WITHOUT ROWID;
"""
# In the order of the index, so that each of its pages is changed once.
ADD = f"INSERT INTO place SELECT resource, version, id FROM change WHERE {TAIL} ORDER BY resource, version"
# Ids of changes that were purged are given again.
ADDED = "UPDATE log SET placed = (SELECT ifnull(max(id), 0) FROM change)"
# Format 4 had an index, and a trigger that told of authors, unless it was made of an older one just now.
FROM_FORMAT_4 = f"""
{TABLE}
ALTER TABLE log ADD COLUMN placed INTEGER NOT NULL DEFAULT 0;
{ADD};
{ADDED};
DROP TRIGGER IF EXISTS author_of_change;
DROP INDEX change_version;
"""
_COMPLETE = f"SELECT NOT EXISTS (SELECT 1 FROM change WHERE {TAIL})"
# A resource's changes after a version: of the table that this gives, `change.id`.
AFTER = f"""
SELECT version, id FROM place WHERE resource = :resource AND version > :after
UNION ALL
SELECT version, id FROM change WHERE {TAIL} AND resource = :resource AND version > :after
"""
_NEXT = f"""
SELECT ifnull(
    (SELECT min(version) FROM place WHERE resource = :resource AND version > :after),
    (SELECT min(version) FROM change WHERE {TAIL} AND resource = :resource AND version > :after)
)
"""
_HEADS = f"""
SELECT json_group_array(json_array(n.value, ifnull(r.id, 0), ifnull(r.epoch, l.standing_epoch), coalesce(
    (SELECT max(version) FROM change WHERE {TAIL} AND resource = r.id),
    (SELECT max(version) FROM place WHERE resource = r.id),
    0
)))
FROM json_each(?) AS n CROSS JOIN log AS l LEFT JOIN resource AS r ON r.name = n.value
"""
_ERASE = (
    "DELETE FROM change WHERE id IN (SELECT id FROM place WHERE resource = ? AND version <= ?)",
    "DELETE FROM place WHERE resource = ? AND version <= ?",
)


class Head(NamedTuple):
    """Where a resource's history ends. `number`: its row's id; 0, the standing epoch, 0: never written."""

    number: int
    epoch: int
    version: int


def heads(connection: sqlite3.Connection, names: Iterable[str]) -> Mapping[str, Head]:
    """The heads of resources by their names."""
    (found,) = connection.execute(_HEADS, (orjson.dumps([*names]).decode(),)).fetchone()
    return {name: Head(*head) for name, *head in orjson.loads(found)}


def next_version(connection: sqlite3.Connection, resource: int, after: int) -> int | None:
    """The oldest version after another one that is kept."""
    found: int | None
    (found,) = connection.execute(_NEXT, {"resource": resource, "after": after}).fetchone()
    return found


def complete(connection: sqlite3.Connection) -> bool:
    """Whether there is no tail."""
    return bool(connection.execute(_COMPLETE).fetchone()[0])


def erase(connection: sqlite3.Connection, resource: int, upto: int) -> int:
    """Remove a resource's changes up to a version, which have their places; returns how many they were."""
    changes, _ = (connection.execute(statement, (resource, upto)).rowcount for statement in _ERASE)
    return changes
