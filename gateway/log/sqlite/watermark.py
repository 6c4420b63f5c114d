"""Beside the database: the id of the newest change that was acknowledged, and which file held it.

A write-ahead log that lost its end is recovered to what is left, and a backup that was copied back is a sound
database too: nothing inside says that there was more. What is here does, as far as it reached the disk; it is
never ahead of what was committed. Three things tell of a loss, since a copy may bring old ones of some along:

- the id in `log.newest`,
- the id in the name of an empty file, `log.newest.ID`, which a copied directory doesn't overwrite,
- which file the database is: a copy is another one than was written last.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from gateway.log.database_files import flush

_FORM = struct.Struct("<QQI")
# A name is changed at most so often: it costs more than a number inside of a file.
NAMED_INTERVAL_S = 1.0
# statx(2), for the time at which a file was made: a number of a file is used again for another one.
_AT_FDCWD, _STATX_BTIME, _STATX_BYTES, _BTIME_OFFSET = -100, 0x800, 256, 80


class Acknowledged(NamedTuple):
    """The newest change that was acknowledged (0: none), and the identity of its file (0: unknown)."""

    newest: int
    file: int


class Watermark:
    """What is kept beside the database at `database`; `path` is the file's."""

    def __init__(self, path: Path, database: Path) -> None:
        self._path = path
        self._named_s = float("-inf")
        self.file = identity(database)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def get(self) -> Acknowledged | None:
        """What was set last; None where there is nothing, or nothing that can be read."""
        named = max((number for number, _ in self._names()), default=0)
        stored = os.pread(self._descriptor, _FORM.size, 0)
        if len(stored) < _FORM.size:
            return Acknowledged(named, 0) if named else None
        number, file, checksum = _FORM.unpack(stored)
        if crc32(stored[:-4]) != checksum:
            return Acknowledged(named, 0) if named else None
        return Acknowledged(max(number, named), file)

    def set(self, number: int, named: bool = False) -> None:
        """Note an id; in a name too, when it is time or `named`.

        It isn't flushed: after a power cut an older one is there, which is no false alarm.
        """
        packed = struct.pack("<QQ", number, self.file)
        os.pwrite(self._descriptor, packed + struct.pack("<I", crc32(packed)), 0)
        if named or time.monotonic() >= self._named_s + NAMED_INTERVAL_S:
            self._name(number)

    def lower(self, number: int) -> None:
        """Note the id that will be the newest, before others are taken away: on the disk at the return."""
        self.set(number, named=True)
        os.fsync(self._descriptor)
        flush(self._path.parent)

    def _name(self, number: int) -> None:
        wanted = self._path.with_name(f"{self._path.name}.{number}")
        others = [path for _, path in self._names() if path != wanted]
        if others:
            others.pop().rename(wanted)
        else:
            wanted.touch(0o600)
        for path in others:
            path.unlink(missing_ok=True)
        self._named_s = time.monotonic()

    def _names(self) -> Iterator[tuple[int, Path]]:
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            number = path.name.removeprefix(f"{self._path.name}.")
            if number.isascii() and number.isdecimal():
                yield int(number), path

    def close(self) -> None:
        os.close(self._descriptor)


def identity(path: Path) -> int:
    """A number that another file has hardly ever, be it a copy at the same place; raises OSError."""
    found = path.stat()
    return crc32(f"{found.st_ino}:{_born(path)}".encode()) or 1


def _born(path: Path) -> tuple[int, int]:
    """When a file was made, in seconds and nanoseconds; zeros where the system doesn't say.

    The file isn't opened: to close it again would take all of this process's locks off it (fcntl(2)), and
    with them SQLite's. Whoever opens the database then, and closes it, deletes the write-ahead log in use.
    """
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (AttributeError, OSError):
        return 0, 0
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path.absolute()), 0, _STATX_BTIME, answer):
        return 0, 0
    seconds, nanoseconds = struct.unpack_from("<qI", answer.raw, _BTIME_OFFSET)
    return seconds, nanoseconds
