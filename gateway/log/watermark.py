"""Beside the database: the id of the newest change that was acknowledged.

A write-ahead log that lost its end is recovered to what is left, and nothing in the database says that there
was more. This file does, as far as it reached the disk: it is never ahead of what was committed.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from zlib import crc32

_FORM = struct.Struct("<QI")


class Watermark:
    """The file, open for writing."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def get(self) -> int:
        """The id that was set last; 0 where there is none, or none that can be read."""
        stored = os.pread(self._descriptor, _FORM.size, 0)
        if len(stored) < _FORM.size:
            return 0
        number, checksum = _FORM.unpack(stored)
        return int(number) if crc32(stored[:8]) == checksum else 0

    def set(self, number: int) -> None:
        """Note an id. It isn't flushed: after a power cut an older one is there, which is no false alarm."""
        packed = number.to_bytes(8, "little")
        os.pwrite(self._descriptor, _FORM.pack(number, crc32(packed)), 0)

    def close(self) -> None:
        os.close(self._descriptor)
