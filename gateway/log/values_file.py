"""Values of a lone node: a file in its data directory, written anew as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import trio

from gateway.errors import LogUnavailable
from gateway.log.database_files import flush
from gateway.ports.shared import StoredValues


class ValuesFile:
    """The port `ValueStore` over a file, which is read again when it isn't the same any more."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._changing = trio.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._found = StoredValues()

    async def read(self, known: StoredValues) -> StoredValues:
        """See the port."""
        try:
            return await trio.to_thread.run_sync(self._read)
        except OSError as error:
            raise LogUnavailable(f"{self._path} can't be read: {error}", "none") from error
        except (ValueError, TypeError) as error:
            way_out = "put back a copy of it, or remove it: what it says is forgotten then"
            raise LogUnavailable(f"{self._path} can't be read: {error}; {way_out}", "none") from error

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredValues:
        """See the port."""
        async with self._changing:
            before = await self.read(StoredValues())
            return await self._stored(before.changed(values, changed_by, changed_ms))

    async def put_back(self, known: StoredValues) -> StoredValues:
        """See the port."""
        async with self._changing:
            found = await self.read(known)
            return found if found.revision >= known.revision else await self._stored(known)

    async def _stored(self, values: StoredValues) -> StoredValues:
        try:
            await trio.to_thread.run_sync(self._write, values)
        except OSError as error:
            raise LogUnavailable(f"{self._path} can't be written: {error}", "none") from error
        return values

    def _read(self) -> StoredValues:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._found = StoredValues(**orjson.loads(self._path.read_bytes()))
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._found = None, StoredValues()
        return self._found

    def _write(self, stored: StoredValues) -> None:
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(orjson.dumps(stored._asdict()))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        try:
            flush(self._path.parent)  # what was decided is there after a loss of power, too
        except OSError as error:
            raise LogUnavailable(f"{self._path} is written, and may not last: {error}") from error
