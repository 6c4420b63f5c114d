"""The files of a SQLite database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

PARTS = ("", "-wal", "-shm", "-journal")
_HEADER_BYTES = 100
# The newest of a header's bytes that say by which format a database is written, read, and has its schema.
# SQLite takes higher ones for a later release's, not for damage.
_NEWEST = {18: 2, 19: 2, 44: 0, 45: 0, 46: 0, 47: 4}
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error, database: Path) -> bool:
    """Whether it is that a database isn't what SQLite wrote."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE or not _is_of_ours(database)


def _is_of_ours(database: Path) -> bool:
    """Whether SQLite doesn't take it for that of a later release, by its header."""
    try:
        with database.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return True
    return len(header) < _HEADER_BYTES or all(header[at] <= most for at, most in _NEWEST.items())


def discard(database: Path) -> None:
    """Remove a database with its log of writes, which would be taken for that of the next one of its name."""
    discard_writes(database)  # first: whoever is ended in between leaves what the next one finds by its name
    database.unlink(missing_ok=True)


def discard_writes(database: Path) -> None:
    """Remove what is beside a database, which is whole without it, or is replaced."""
    for part in PARTS[1:]:
        database.with_name(f"{database.name}{part}").unlink(missing_ok=True)


def give(path: Path) -> None:
    """Let a file that root made belong to its directory's owner, who can't open it else; raises OSError."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def flush(path: Path) -> None:
    """Bring a file, or a directory's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
