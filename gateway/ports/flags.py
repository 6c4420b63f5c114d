"""What the core asks of where flags are written down: the same for all nodes, there after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class StoredFlags(NamedTuple):
    """Flags that were changed at run time, by name; the others are as the settings have them.

    `revision` grows with each change (0: there was none). `changed_by` is a user's id, `changed_ms` Unix ms.
    """

    revision: int = 0
    values: Mapping[str, Any] = {}
    changed_by: str = ""
    changed_ms: int = 0


class FlagStore(Protocol):
    """Where flags are. Methods raise LogUnavailable."""

    async def read(self) -> StoredFlags:
        """What is in force."""
        ...

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredFlags:
        """Set these flags and leave the others; None takes one back to what the settings have."""
        ...
