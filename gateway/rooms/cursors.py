"""Cursors past the changes that came since they were told, for who knows none of those changes.

Everybody who is there carries cursors past each change that comes. Who subscribes later knows no change
before that: they get cursors as of the head. So cursors are carried when somebody is told all of them, and
before the window loses what they would be carried past.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway import ot
from gateway.history.pointers import parts, value_at
from gateway.rooms.history import History
from gateway.rooms.roster import Presence
from gateway.rooms.window import Kept

# A text that was replaced is compared with the new one up to this length; in a longer one the place is lost.
COMPARED_LENGTH_MAX = 10_000
OFFSETS = ("position", "anchor")

Delta = tuple[Any, ...]
UNCHANGED: Delta = ()


def carry_before(entries: Sequence[Presence], history: History, version: int) -> None:
    """Carry all cursors where one was told before a version: the window loses what came before that."""
    start = history.start  # what is older can't be carried, now or later
    if any(start <= entry.cursor.get("version", version) < version for entry in entries):
        carry(entries, history)


def carry(entries: Iterable[Presence], history: History) -> None:
    """Put cursors where they stand at the head: as their field alone where the text is gone.

    Those that the window doesn't reach back to stay as they were told.
    """
    found: dict[tuple[int, str], Delta | None] = {}
    for entry in entries:
        cursor = entry.cursor
        version = cursor.get("version", history.version)
        if version < history.version and history.covers(version):
            entry.cursor = _at_head(cursor, entry.client_id, history, found)


def _at_head(
    cursor: dict[str, Any], client_id: str, history: History, found: dict[tuple[int, str], Delta | None]
) -> dict[str, Any]:
    """One cursor; `found` is what changes, by version, did to a field, as far as that is known."""
    field = cursor["field"]
    moved = {name: cursor[name] for name in OFFSETS if name in cursor}
    for number, change in enumerate(history.since(cursor["version"]), cursor["version"] + 1):
        key = number, field
        if key not in found:
            found[key] = _delta(change, history.document_at(number), field)
        delta = found[key]
        if delta is None:
            return {"field": field}
        if delta:
            stays = change.client_id != client_id
            moved = {name: carried(delta, at, stays) for name, at in moved.items()}
    return {"field": field, **moved, "version": history.version}


def _delta(change: Kept, after: Any, field: str) -> Delta | None:
    """What a change did to the text of a field (a member's name or a pointer); None: nobody can say."""
    path = parts(field if field.startswith("/") else f"/{field}")
    before, text = value_at(change.before, path), value_at(after, path)
    if not (isinstance(before, str) and isinstance(text, str)):
        return None
    if before is text or before == text:
        return UNCHANGED
    if len(change.operations) == 1:
        (operation,) = change.operations
        if operation[0] == "txt" and [str(part) for part in operation[1]] == path:
            delta: Delta = operation[2]
            return delta
    if max(len(before), len(text)) > COMPARED_LENGTH_MAX:
        return None
    (operation,) = ot.difference(before, text)
    compared: Delta = operation[2]
    return compared


def carried(delta: Iterable[Any], offset: int, stays: bool) -> int:
    """Where an offset in a text, in code points, is after a delta; `stays`: left of what goes in at it."""
    position = 0
    for component in delta:
        if position > offset:
            break
        if isinstance(component, str):
            if position < offset or not stays:
                offset += len(component)
            position += len(component)
        elif component > 0:
            position += component
        else:
            offset = max(position, offset + component)
    return offset
