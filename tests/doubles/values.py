"""Shared values in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.ports.shared import StoredValues


class MemoryValues:
    """The port `ValueStore`."""

    def __init__(self) -> None:
        self._stored = StoredValues()

    async def read(self, known: StoredValues) -> StoredValues:
        """See the port."""
        return self._stored

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredValues:
        """See the port."""
        self._stored = self._stored.changed(values, changed_by, changed_ms)
        return self._stored

    async def put_back(self, known: StoredValues) -> StoredValues:
        """See the port."""
        if self._stored.revision < known.revision:
            self._stored = known
        return self._stored
