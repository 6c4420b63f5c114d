"""A cursor past the changes that came since it was told, for who knows none of them.

Everybody who is there carries cursors past each change that comes. Who subscribes later knows no change
before: they get cursors as of the head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway import ot
from gateway.history.pointers import parts, value_at
from gateway.rooms.history import History
from gateway.rooms.window import Kept

# A text that was replaced is compared with the new one up to this length; in a longer one the place is lost.
COMPARED_LENGTH_MAX = 10_000
OFFSETS = ("position", "anchor")

Delta = tuple[Any, ...]


def at_head(cursor: dict[str, Any], client_id: str, history: History) -> dict[str, Any]:
    """The cursor of a client as of the head: its field alone where its text is gone, and as it was told where
    the window doesn't reach back to its version."""
    version, head = cursor.get("version", history.version), history.version
    if version >= head or not history.covers(version):
        return cursor
    nowhere = {"field": cursor["field"]}
    moved = {name: cursor[name] for name in OFFSETS if name in cursor}
    for delta, author in _deltas(history, version, parts("/" + cursor["field"])):
        if delta is None:
            return nowhere
        moved = {name: carried(delta, at, author != client_id) for name, at in moved.items()}
    return {**nowhere, **moved, "version": head}


def _deltas(history: History, version: int, path: list[str]) -> Iterator[tuple[Delta | None, str]]:
    """What each change since `version` did to the text at a path, and whose it is; None: it left no text."""
    changes = history.since(version)
    afters = [*(change.before for change in changes[1:]), history.document]
    for change, after in zip(changes, afters, strict=True):
        before, text = value_at(change.before, path), value_at(after, path)
        if not (isinstance(before, str) and isinstance(text, str)):
            yield None, change.client_id
        elif before is not text and before != text:
            yield _delta(change, path, before, text), change.client_id


def _delta(change: Kept, path: list[str], before: str, text: str) -> Delta | None:
    if len(change.operations) == 1:
        (operation,) = change.operations
        if operation[0] == "txt" and [str(part) for part in operation[1]] == path:
            delta: Delta = operation[2]
            return delta
    if max(len(before), len(text)) > COMPARED_LENGTH_MAX:
        return None
    (operation,) = ot.difference(before, text)
    found: Delta = operation[2]
    return found


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
