"""What each append of a room leaves to do, once its authors know: quickly told that it is nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.config import Config
from gateway.hub.child_items import CHILD, PARENT_FIELD
from gateway.hub.children import Children
from gateway.hub.listener import Listener
from gateway.ports import Batch
from gateway.rooms.room import Room


class Settled:
    """See the module. `note` hears of each; `save_snapshot` begins one of the room's head."""

    __slots__ = ("_children", "_config", "_listener", "_save_snapshot", "note")

    def __init__(
        self, config: Config, listener: Listener, children: Children, save_snapshot: Callable[[Room], None]
    ) -> None:
        self._config = config
        self._listener = listener
        self._children = children
        self._save_snapshot = save_snapshot
        self.note: Callable[[Room], None] | None = None

    def done(self, room: Room, batch: Batch, in_doubt: bool) -> None:
        """An append of the room, the batch, was answered; in doubt: it may be stored or not."""
        history = room.history
        before = history.document_at(batch.base) if history.covers(batch.base) else None
        if self.note is not None:
            self.note(room)
        if room.resource in self._listener.held:
            self._listener.release(room)
        if room.type == CHILD and in_doubt:
            self._children.doubt(room, before, batch.records)
        elif room.type == CHILD and self._may_have_moved(room, before):
            self._children.look(room, before)
        limits = self._config.limits
        room.trim(limits.window_versions_max, limits.window_bytes_max)
        if history.version - history.snapshot_version >= self._config.log.snapshot_versions:
            history.snapshot_version = history.version
            self._save_snapshot(room)

    def _may_have_moved(self, room: Room, before: Any) -> bool:
        """Whether an event is, or was, in a calendar."""
        return room in self._children.parents or _names_parent(before) or _names_parent(room.document)


def _names_parent(document: Any) -> bool:
    return isinstance(document, dict) and PARENT_FIELD in document
