"""Versions that somebody gave a name: they are found by it, and stay readable when old history goes.

The names of a resource are a hidden resource of the log itself, `names:TYPE:ID`: an object with an item for
each name, written by ordinary changes. So they are ordered, kept, backed up and told to every node as all
changes are.

They may outlive what they were given to: where a Redis server lost its newest changes, and the names lie on
another one, others may have made a version of the same number since. So a name knows its document, by digest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
import trio

from gateway import ot
from gateway.errors import Refusal
from gateway.hub.index_rules import NAMES
from gateway.ports import Snapshot
from gateway.rooms.room import Room
from gateway.rooms.waiter import commit

NAMES_MAX = 1000
TRIES = 5


class NamedVersion(NamedTuple):
    """A name of a version, who gave it and when (Unix ms).

    `digest` is of the document that was named; None where the name is older than digests are.
    """

    name: str
    version: int
    user_id: str
    timestamp: int
    digest: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What callers are told of it."""
        fields = self._asdict()
        del fields["digest"]
        return fields

    async def is_of(self, document: bytes) -> bool:
        """Whether this document was named, as far as that is known."""
        return self.digest is None or self.digest == await digest_of(document)


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

    async def give(self, resource: str, name: str, found: Snapshot, user_id: str) -> NamedVersion:
        """Give a version a name; one that another version had becomes this one's."""
        digest = await digest_of(found.document)
        given = NamedVersion(name, found.version, user_id, self._wall_ms(), digest)
        item = given._asdict()
        del item["name"]

        def patch(document: Any) -> ot.Patch:
            found = document or {}
            if name not in found and len(found) >= NAMES_MAX:
                text = f"{resource} has {NAMES_MAX:,} named versions, the most: drop a name first."
                raise Refusal("TOO_LARGE", text)
            first: ot.Patch = [] if document is not None else [{"op": "add", "path": "", "value": {}}]
            return [*first, {"op": "add", "path": ot.pointer((name,)), "value": item}]

        await self._write(resource, user_id, patch)
        return given

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


async def digest_of(document: bytes) -> str:
    """What tells a document (JSON) from others; the order of its members doesn't."""
    parsed = orjson.loads(document)
    await trio.lowlevel.checkpoint()  # a megabyte is milliseconds of each
    ordered = orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS)
    return blake2b(ordered, digest_size=12).hexdigest()


def hidden(resource: str) -> str:
    """The resource that has the names of this one."""
    return f"{NAMES}:{resource}"


def named(document: Mapping[str, Mapping[str, Any]] | None) -> list[NamedVersion]:
    """The names in such a resource's document."""
    found = [NamedVersion(name, **item) for name, item in (document or {}).items()]
    return sorted(found, key=lambda item: (item.version, item.name))
