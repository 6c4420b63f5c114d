"""A SQLite database of one's own: opened by the first use, used in one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from gateway.errors import IndexLost, LogUnavailable
from gateway.log.database_files import discard, is_damage
from gateway.log.serial import Serial

T = TypeVar("T")
_REMEDY = "keep it elsewhere ({0}, and {0}-wal and {0}-shm where they are), and a new one is begun"


@contextmanager
def made_ready(connection: sqlite3.Connection) -> Iterator[None]:
    """A connection that can't be made ready is closed."""
    try:
        yield
    except (sqlite3.Error, IndexLost):
        connection.close()
        raise


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, by its device and number; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class DatabaseThread:
    """The database at `path`, opened by `connect` in the thread `name`.

    `derived`: it can be made again, and is discarded where it is damaged, or `connect` raises IndexLost.
    Another one may be moved away while it is open: a new one is begun then.
    """

    def __init__(
        self, name: str, path: Path, connect: Callable[[Path], sqlite3.Connection], derived: bool = False
    ) -> None:
        self._path = path
        self._connect = connect
        self._derived = derived
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # that was there before it was opened
        self._thread = Serial(name)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do this after what was asked for before; raises LogUnavailable, IndexLost."""

        def guarded() -> T:
            try:
                return work(self._opened())
            except IndexLost:
                self._discard()
                raise
            except sqlite3.Error as error:
                raise self._failed(error) from error
            except OSError as error:
                raise LogUnavailable(f"{self._path}: {error.strerror}", "none") from error

        return await self._thread.run(guarded)

    async def aclose(self) -> None:
        """Close it after what was asked for before; a later use opens it again."""
        with trio.CancelScope(shield=True):
            await self._thread.run(self._close)
        self._thread.stop()

    def _opened(self) -> sqlite3.Connection:
        there = _identity(self._path)
        if not self._derived and (there is None or self._file != there):
            self._close()
        if self._connection is None:
            # As it was before: whoever moves it away meanwhile makes the next use open what is there then.
            self._file = there
            self._connection = self._connect(self._path)
        return self._connection

    def _failed(self, error: sqlite3.Error) -> LogUnavailable:
        """What to raise; a damaged database is closed, so that the next use opens what is there then."""
        told = f"{self._path}: {error}"
        if not is_damage(error, self._path):
            return LogUnavailable(told, "none")
        if self._derived:
            self._discard()
            return IndexLost(f"{told}; it is made again", "none")
        self._close()
        return LogUnavailable(f"{told}; {_REMEDY.format(self._path.name)}", "none")

    def _discard(self) -> None:
        self._close()
        discard(self._path)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
