"""Embedded logs as tests open and damage them, and disks that are full."""

from __future__ import annotations

import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from gateway.log.sqlite.log import SqliteLog


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(directory)
    try:
        yield log
    finally:
        await log.aclose()


def file_size(path: Path) -> int:
    return path.stat().st_size


@contextmanager
def file_size_max(size: int) -> Iterator[None]:
    """Writes beyond this size of a file fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def garble(path: Path) -> None:
    """All but the header of a database."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"x" * (path.stat().st_size - 4096))
