"""How one resource is named."""

from __future__ import annotations

from typing import NamedTuple


class Resource(NamedTuple):
    """One resource; as text, the way grants, rooms and the log name it: `event:42`."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"
