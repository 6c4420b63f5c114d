"""Connections to the database of the embedded log."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

from gateway.log.database_thread import made_ready

BUSY_TIMEOUT_S = 2.0
# Pages that a connection keeps. Reads are of a range or of one row, so readers need few.
WRITER_CACHE_BYTES, READER_CACHE_BYTES = 32 << 20, 4 << 20


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; texts are given as bytes.

    The database is its owner's alone, and so are the files beside it, which SQLite makes like it.
    """
    if writing:
        if not path.exists():  # to close one that is in use would take this process's locks off it
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _make_private(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rwc' if writing else 'ro'}",
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    connection.text_factory = bytes
    cache_bytes = WRITER_CACHE_BYTES if writing else READER_CACHE_BYTES
    with made_ready(connection):
        connection.execute(f"PRAGMA cache_size = -{cache_bytes >> 10}")
        connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _make_private(path: Path) -> None:
    """Take other people's rights to the files of a database that an earlier gateway made."""
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        with contextlib.suppress(OSError):  # not there, or not ours: `gateway doctor` tells
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)
