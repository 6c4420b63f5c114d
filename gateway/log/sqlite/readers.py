"""Connections that read the embedded log's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.errors import LogUnavailable
from gateway.log.pool import Pool
from gateway.log.sqlite.store import Reader, connect

T = TypeVar("T")


class LogReaders:
    """At most `most` readers of the database at `path`, each used by one worker thread at a time."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._pool = Pool(lambda: Reader(connect(path, writing=False)), most)

    async def run(self, work: Callable[[Reader], T]) -> T:
        """Do `work` with one of them; raises LogUnavailable where the database can't be read."""
        try:
            return await self._pool.run(work)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}", "none") from error

    def close(self) -> None:
        """Close them; those at work, when they are done."""
        self._pool.close()
