"""Flags of a lone node: a file in its data directory, written anew as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import trio

from gateway.errors import LogUnavailable
from gateway.ports.flags import StoredFlags

FLAGS_FILE = "flags.json"


class FlagsFile:
    """The port `FlagStore` over the file in `data_dir`."""

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self._path = Path(data_dir) / FLAGS_FILE
        self._changing = trio.Lock()

    async def read(self) -> StoredFlags:
        """See the port."""
        try:
            return await trio.to_thread.run_sync(self._read)
        except (OSError, ValueError, TypeError) as error:
            raise LogUnavailable(f"{self._path} can't be read: {error}", "none") from error

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredFlags:
        """See the port."""
        async with self._changing:
            before = await self.read()
            merged = {**before.values, **values}
            kept = {name: value for name, value in merged.items() if value is not None}
            stored = StoredFlags(before.revision + 1, kept, changed_by, changed_ms)
            try:
                await trio.to_thread.run_sync(self._write, stored)
            except OSError as error:
                raise LogUnavailable(f"{self._path} can't be written: {error}", "none") from error
            return stored

    def _read(self) -> StoredFlags:
        try:
            return StoredFlags(**orjson.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return StoredFlags()

    def _write(self, stored: StoredFlags) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(orjson.dumps(stored._asdict()))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
