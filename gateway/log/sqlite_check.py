"""Looking for damage in the embedded log, all of it: what `gateway doctor` reports."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from gateway.log.checked import NAMED_MAX, Checked
from gateway.log.sqlite_store import connect

_CHANGES = """
SELECT r.name, c.version, c.body, c.checksum FROM change AS c JOIN resource AS r ON r.id = c.resource
"""
_SNAPSHOTS = """
SELECT r.name, s.version, s.document, s.checksum FROM snapshot AS s JOIN resource AS r ON r.id = s.resource
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
    if version < 2:  # written before there were checksums; the next start adds them
        (checked.changes,) = connection.execute("SELECT count(*) FROM change").fetchone()
        checked.without_checksum = checked.changes
        return
    for name, number, body, checksum in connection.execute(_CHANGES):
        checked.changes += 1
        if checksum is None:
            checked.without_checksum += 1
        elif crc32(body) != checksum:
            checked.add(f"change {number} of {name.decode()}")
    for name, number, document, checksum in connection.execute(_SNAPSHOTS):
        if checksum is not None and crc32(document) != checksum:
            checked.add(f"the snapshot of {name.decode()} at {number}")
    for name, count, newest in connection.execute(_GAPS):
        checked.add(f"{name.decode()} has {count} of its {newest} changes")
