"""The files of a SQLite database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

PARTS = ("", "-wal", "-shm", "-journal")
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# What SQLite says where by its header a database's schema is of a later release: so may a flipped byte.
_LATER_SCHEMA = "unsupported file format"


def is_damage(error: sqlite3.Error, database: Path) -> bool:
    """Whether it is that a database isn't what SQLite wrote.

    The file isn't opened: to close it would take this process's locks off it.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _DAMAGE or str(error) == _LATER_SCHEMA:
        return True
    return code == sqlite3.SQLITE_READONLY and os.access(database, os.W_OK)


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
