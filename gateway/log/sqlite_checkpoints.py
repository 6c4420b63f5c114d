"""Checkpoints of the embedded log in a thread of their own: appends don't wait for them.

A checkpoint brings what is in the write-ahead log to its place in the database, and syncs that. SQLite does
one in the commit that made the log long enough, and that append takes four times as long. Beside the writer
one never quite catches up, so the writer still does it where the log is four times as long: then little is
left to do.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

from gateway.log.sqlite_connection import connect

# A checkpoint every 16 MiB: more would write the same pages more often.
PAGES = 4000
WRITERS_PAGES = 4 * PAGES
PAGE_BYTES = 4096
# What a change touches of the database but for its body: its place in an index, and its author's.
PAGES_A_CHANGE = 2


class Checkpoints:
    """Of the database at `path`. The thread begins with the first one that is due."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pages = 0
        self._due: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._under_way = threading.Lock()

    def appended(self, changes: int, size: int) -> None:
        """So many changes, and bytes of them, were appended."""
        self._pages += PAGES_A_CHANGE * changes + size // PAGE_BYTES
        if self._pages < PAGES:
            return
        self._pages = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="checkpoints", daemon=True)
            self._thread.start()
        if self._due.empty():
            self._due.put(True)

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """None is under way meanwhile: the writer's own can do all that it is to do."""
        with self._under_way:
            yield

    def close(self) -> None:
        """End the thread, after the checkpoint that is under way."""
        if self._thread is not None:
            self._due.put(False)
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        with suppress(sqlite3.Error), closing(connect(self._path, writing=True)) as connection:
            while self._due.get():
                # What fails, for a full disk say, fails in the writer too, which tells.
                with self._under_way, suppress(sqlite3.Error):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
