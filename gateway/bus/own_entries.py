"""Who is present by one node: what it keeps in Redis, and takes out again."""

from __future__ import annotations

from itertools import islice

import trio

Place = tuple[str, str]  # a resource and a session
# A server that moved partitions, was restarted or failed over may have lost what was removed so long ago.
REMOVED_KEPT_S = 60.0


class OwnEntries:
    """The entries of a node's sessions by place, and which were removed lately."""

    def __init__(self) -> None:
        self._entries: dict[Place, bytes] = {}
        self._removed_s: dict[Place, float] = {}

    def put(self, place: Place, entry: bytes) -> None:
        """Have it, instead of what was there."""
        self._entries[place] = entry

    def remove(self, place: Place) -> bool:
        """Have it no more; whether there was one."""
        if self._entries.pop(place, None) is None:
            return False
        self._removed_s.pop(place, None)
        self._removed_s[place] = trio.current_time()
        self._forget()
        return True

    def get(self, place: Place) -> bytes | None:
        """The entry, or None where there is none any more."""
        return self._entries.get(place)

    def places(self) -> list[Place]:
        """Of all entries, and of those that were removed lately: what may have to be written again."""
        return [*self._entries, *(place for place in self._removed_s if place not in self._entries)]

    def resources(self) -> list[str]:
        """In which somebody is present."""
        return list({resource for resource, _ in self._entries})

    def _forget(self) -> None:
        """The oldest two that are old: one comes at a time, so they don't become many."""
        before_s = trio.current_time() - REMOVED_KEPT_S
        for place, removed_s in list(islice(self._removed_s.items(), 2)):
            if removed_s < before_s:
                del self._removed_s[place]
