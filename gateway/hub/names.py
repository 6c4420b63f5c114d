"""Versions that somebody gave a name: they are found by it, and stay readable when old history goes.

The names of a resource are a hidden resource of the log itself, `names:TYPE:ID`: an object with an item for
each name, written by ordinary changes. So they are ordered, kept, backed up and told to every node as all
changes are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from gateway import ot
from gateway.errors import Refusal
from gateway.hub.index_rules import NAMES
from gateway.rooms.room import Room
from gateway.rooms.waiter import commit

NAMES_MAX = 1000
TRIES = 5


class NamedVersion(NamedTuple):
    """A name of a version, who gave it and when (Unix ms)."""

    name: str
    version: int
    user_id: str
    timestamp: int


class NamedVersions:
    """The names of every resource. Methods raise Refusal, LogUnavailable."""

    def __init__(
        self,
        open_room: Callable[[str], Awaitable[Room]],
        now_s: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._open = open_room
        self._now_s = now_s
        self._wall_ms = wall_ms

    async def of(self, resource: str) -> list[NamedVersion]:
        """By version, then by name."""
        room = await self._open(hidden(resource))
        return named(room.document)

    async def version_of(self, resource: str, name: str) -> int | None:
        """The version that has a name; None where none has."""
        room = await self._open(hidden(resource))
        item = (room.document or {}).get(name)
        return None if item is None else int(item["version"])

    async def give(self, resource: str, name: str, version: int, user_id: str) -> NamedVersion:
        """Give a version a name; one that another version had becomes this one's."""
        stamp_ms = self._wall_ms()
        item = {"version": version, "user_id": user_id, "timestamp": stamp_ms}

        def patch(document: Any) -> ot.Patch:
            found = document or {}
            if name not in found and len(found) >= NAMES_MAX:
                text = f"{resource} has {NAMES_MAX:,} named versions, the most: drop a name first."
                raise Refusal("TOO_LARGE", text)
            first: ot.Patch = [] if document is not None else [{"op": "add", "path": "", "value": {}}]
            return [*first, {"op": "add", "path": ot.pointer((name,)), "value": item}]

        await self._write(resource, user_id, patch)
        return NamedVersion(name, version, user_id, stamp_ms)

    async def drop(self, resource: str, name: str, user_id: str) -> bool:
        """Take a name away; whether there was one."""

        def patch(document: Any) -> ot.Patch:
            return [{"op": "remove", "path": ot.pointer((name,))}] if name in (document or {}) else []

        return await self._write(resource, user_id, patch)

    async def _write(self, resource: str, user_id: str, patch: Callable[[Any], ot.Patch]) -> bool:
        """Commit a patch on the names; again where somebody else changed them meanwhile."""
        for left in reversed(range(TRIES)):
            room = await self._open(hidden(resource))
            wanted = patch(room.document)
            if not wanted:
                return False
            try:
                await commit(room, user_id, NAMES, wanted, self._now_s())
            except Refusal as refusal:
                if refusal.code != "CONFLICT" or not left:
                    raise
            else:
                return True
        raise AssertionError("the last try returns or raises")


def hidden(resource: str) -> str:
    """The resource that has the names of this one."""
    return f"{NAMES}:{resource}"


def named(document: Mapping[str, Mapping[str, Any]] | None) -> list[NamedVersion]:
    """The names in such a resource's document."""
    found = [NamedVersion(name, **item) for name, item in (document or {}).items()]
    return sorted(found, key=lambda item: (item.version, item.name))
