"""Looking for damage in the embedded log, all of it: what `gateway doctor` reports."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from gateway.errors import LogUnavailable
from gateway.log.checked import NAMED_MAX, Checked
from gateway.log.sqlite.store import FORMAT_WITH_PLACES, connect, text_of, transaction
from gateway.wire.checksum import CHANGE, is_sound

# What a change's body has too.
_BESIDE = ("version", "user_id", "client_id", "seq", "timestamp", "undoes")
# In the order in which they were appended.
_CHANGES = f"""
SELECT r.id, r.name, body, {{checksum}}, digest, {", ".join(_BESIDE)}
FROM change CROSS JOIN resource AS r ON r.id = resource ORDER BY change.id
"""
_SNAPSHOTS = """
SELECT r.name, version, document, {checksum} FROM snapshot JOIN resource AS r ON r.id = resource
"""
# What a resource is opened from whose old history went: the document before its oldest change, or that of its
# only one.
_OPENED_FROM = "SELECT 1 FROM snapshot WHERE resource = ? AND version IN (?, ?)"
# What has another place than its own, or none, but for the tail; and places of what isn't there.
_MISPLACED = """
SELECT r.id, r.name, version FROM (
    SELECT c.resource, c.version FROM change AS c
    LEFT JOIN place AS p ON p.resource = c.resource AND p.version = c.version
    WHERE c.id <= (SELECT placed FROM log) AND p.id IS NOT c.id
    UNION
    SELECT p.resource, p.version FROM place AS p LEFT JOIN change AS c ON c.id = p.id
    WHERE c.resource IS NOT p.resource OR c.version IS NOT p.version
) JOIN resource AS r ON r.id = resource ORDER BY version
"""

# Of an error's code, what SQLite calls its primary one; those of a file that isn't ours to read; and those of
# a disk that fails, or has no room for the files that reading makes beside it.
_PRIMARY = 0xFF
_UNREAD = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
}


class Range:
    """The versions of a resource that were found so far, in order."""

    __slots__ = ("count", "gaps", "name", "newest", "oldest")

    def __init__(self, name: bytes, oldest: int) -> None:
        self.name = name
        self.oldest = oldest
        self.newest = oldest - 1
        self.count = 0
        self.gaps = False

    def add(self, version: int) -> None:
        self.gaps |= version != self.newest + 1
        self.newest = max(self.newest, version)
        self.count += 1


def check(path: Path) -> Checked:
    """Read the whole database; what SQLite can't make out is damage too.

    Raises LogUnavailable where the file or its disk can't be read, and nothing was found before: that says
    nothing of what is in it.
    """
    checked = Checked()
    try:
        connection = connect(path, writing=False)
        try:
            for reason in _structure(connection):
                checked.add(reason)
            with transaction(connection):
                _compare(connection, checked)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if not checked.damaged and getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _UNREAD:
            raise LogUnavailable(f"{path} can't be read: {error}", "none") from error
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
            checked.add(f"the name {text_of(name)!r}")
    ranges = _changes(connection, column, checked)
    for name, number, document, checksum in connection.execute(_SNAPSHOTS.format(checksum=column)):
        if not is_sound(document, checksum):
            checked.add(f"the snapshot of {text_of(name)} at {number}")
    for resource, found in ranges.items():
        before = found.oldest - 1
        versions = (before, found.newest if found.count == 1 else before)
        opened = connection.execute(_OPENED_FROM, (resource, *versions)).fetchone()
        if found.gaps or (found.oldest > 1 and not opened):
            checked.add(f"{text_of(found.name)} has {found.count} of its {found.newest} changes")
    if version >= FORMAT_WITH_PLACES:
        for resource, name, number in connection.execute(_MISPLACED):
            is_lost = resource not in ranges or number > ranges[resource].newest
            what = f"change {number}" if is_lost else f"the place of change {number}"
            checked.add(f"{what} of {text_of(name)}")


def _changes(connection: sqlite3.Connection, column: str, checked: Checked) -> dict[int, Range]:
    """Look at each change; what there is of each resource, by its row's id."""
    ranges: dict[int, Range] = {}
    rows = connection.execute(_CHANGES.format(checksum=column))
    for resource, name, body, checksum, digest, *beside in rows:
        number = beside[0]
        checked.changes += 1
        checked.without_checksum += checksum is None
        if not (is_sound(body, checksum, CHANGE) and _is_text(digest) and _agrees(body, beside)):
            checked.add(f"change {number} of {text_of(name)}")
        if resource not in ranges:
            ranges[resource] = Range(name, number)
        ranges[resource].add(number)
    return ranges


def _agrees(body: bytes, beside: Sequence[bytes | int | None]) -> bool:
    """Whether what is stored beside a sound body, where no checksum is of it, is what that says."""
    change = orjson.loads(body)
    return all(
        (text_of(found) if isinstance(found, bytes) else found) == change.get(name)
        for name, found in zip(_BESIDE, beside, strict=True)
    )


def _is_text(stored: bytes) -> bool:
    try:
        stored.decode()
    except UnicodeDecodeError:
        return False
    return True
