"""Flags that end with the process: of a log in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.ports.flags import StoredFlags


class MemoryFlags:
    """The port `FlagStore`."""

    def __init__(self) -> None:
        self._stored = StoredFlags()

    async def read(self) -> StoredFlags:
        """See the port."""
        return self._stored

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredFlags:
        """See the port."""
        merged = {**self._stored.values, **values}
        kept = {name: value for name, value in merged.items() if value is not None}
        self._stored = StoredFlags(self._stored.revision + 1, kept, changed_by, changed_ms)
        return self._stored
