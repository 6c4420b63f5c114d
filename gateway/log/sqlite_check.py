"""Looking for damage in the embedded log, all of it: what `gateway doctor` reports."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.log.checked import NAMED_MAX, Checked
from gateway.log.sqlite_store import FORMAT_WITH_PLACES, connect
from gateway.wire.checksum import CHANGE, is_sound

_CHANGES = """
SELECT r.name, version, body, {checksum}, user_id, client_id, digest
FROM change JOIN resource AS r ON r.id = resource
"""
_SNAPSHOTS = """
SELECT r.name, version, document, {checksum} FROM snapshot JOIN resource AS r ON r.id = resource
"""
_GAPS = """
SELECT r.name, count, newest FROM (
    SELECT resource, count(*) AS count, min(version) AS oldest, max(version) AS newest FROM change
    GROUP BY resource
) JOIN resource AS r ON r.id = resource
WHERE count <> newest - oldest + 1 OR oldest > 1 AND NOT EXISTS (
    SELECT 1 FROM snapshot AS s WHERE s.resource = r.id AND s.version = oldest - 1
)
"""
# What has no place, or another one than its own; the tail has none.
_MISPLACED = """
SELECT r.name, c.version FROM change AS c JOIN resource AS r ON r.id = c.resource
LEFT JOIN place AS p ON p.resource = c.resource AND p.version = c.version
WHERE c.id <= (SELECT placed FROM log) AND p.id IS NOT c.id
"""


def check(path: Path) -> Checked:
    """Read the whole database; what can't be read is damage too."""
    checked = Checked()
    try:
        connection = connect(path, writing=False)
        try:
            for reason in _structure(connection):
                checked.add(reason)
            _compare(connection, checked)
        finally:
            connection.close()
    except sqlite3.Error as error:
        checked.add(str(error))
    return checked


def _structure(connection: sqlite3.Connection) -> Iterator[str]:
    for (found,) in connection.execute(f"PRAGMA quick_check({NAMED_MAX})"):
        if found != b"ok":
            yield " ".join(found.decode("utf-8", "replace").split())


def _compare(connection: sqlite3.Connection, checked: Checked) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    # Format 1 was before there were checksums; the next start adds them.
    column = "checksum" if version != 1 else "NULL"
    for (name,) in connection.execute("SELECT name FROM resource"):
        if not _is_text(name):
            checked.add(f"the name {_shown(name)!r}")
    for name, number, body, checksum, *texts in connection.execute(_CHANGES.format(checksum=column)):
        checked.changes += 1
        checked.without_checksum += checksum is None
        if not is_sound(body, checksum, CHANGE) or not all(map(_is_text, texts)):
            checked.add(f"change {number} of {_shown(name)}")
    for name, number, document, checksum in connection.execute(_SNAPSHOTS.format(checksum=column)):
        if not is_sound(document, checksum):
            checked.add(f"the snapshot of {_shown(name)} at {number}")
    for name, count, newest in connection.execute(_GAPS):
        checked.add(f"{_shown(name)} has {count} of its {newest} changes")
    if version >= FORMAT_WITH_PLACES:
        for name, number in connection.execute(_MISPLACED):
            checked.add(f"the place of change {number} of {_shown(name)}")


def _is_text(stored: bytes) -> bool:
    try:
        stored.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")
