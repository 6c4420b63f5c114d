"""Cursors past the changes that came since they were told, for who knows none of those changes.

Everybody who is there carries cursors past each change that comes. Who subscribes later knows no change
before that: they get cursors as of the head. So cursors are carried as they are told, when somebody is told
all of them, and before the window loses what they would be carried past.

What one `carry` does is bounded, for a client chooses what it would take, and each field has its share;
beyond that its cursors are left with their field alone. Other nodes carry for themselves, and the leases keep
a cursor as it was told: a node that opens the room later shows it alone in its field, where its window
doesn't reach back so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from gateway.history.pointers import parts, value_at
from gateway.rooms.history import History
from gateway.rooms.roster import Presence
from gateway.rooms.window import Kept

# Of one `carry`: some 6 ms, 10 on a slow machine.
CARRY_UNITS = 4_000_000
# Measured: a component of a pointer that is followed; a cursor that is moved, and each component of a delta.
PART_UNITS = 100
MOVE_UNITS = 100
COMPONENT_UNITS = 20
OFFSETS = ("position", "anchor")

Path = tuple[str, ...]
Delta = tuple[Any, ...]
UNCHANGED: Delta = ()


def carry(entries: Sequence[Presence], history: History) -> None:
    """Put cursors where they stand at the head: as their field alone where nobody can say, or not cheaply.

    Those that the window doesn't reach back to stay as they were told.
    """
    by_path: dict[Path, list[Presence]] = {}
    for entry in entries:
        version = entry.cursor.get("version", history.version)
        if version < history.version and history.covers(version):
            by_path.setdefault(_path_of(entry.cursor["field"]), []).append(entry)
    if by_path:
        units = CARRY_UNITS // len(by_path)
        for path, standing in by_path.items():
            _carry_along(path, standing, history, ot.budget(units))


def _path_of(field: str) -> Path:
    """Where a field is: a pointer, with or without its first slash, or else a member's name."""
    try:
        return tuple(parts(field if field.startswith("/") else f"/{field}"))
    except ValueError:
        return (field,)


def _carry_along(path: Path, standing: Sequence[Presence], history: History, budget: ot.Budget) -> None:
    """All cursors in one field; where the budget runs out all are given up."""
    cursors = [(entry.client_id, entry.cursor.copy()) for entry in standing]
    try:
        _move_along(path, cursors, history, budget)
    except PatchError:
        for _, cursor in cursors:
            give_up(cursor)
    for entry, (_, cursor) in zip(standing, cursors, strict=True):
        if "version" in cursor:
            cursor["version"] = history.version
        entry.cursor = cursor


def _move_along(
    path: Path, cursors: Sequence[tuple[str, dict[str, Any]]], history: History, budget: ot.Budget
) -> None:
    """Move (client_id, cursor) pairs past what came since each was told; PatchError where it is too much."""
    first = min(cursor["version"] for _, cursor in cursors)
    text = value_at(history.document_at(first), path)
    for number, change in enumerate(history.since(first), first + 1):
        ot.draw(budget, PART_UNITS * len(path))
        before, text = text, value_at(history.document_at(number), path)
        delta = _delta(change, path, before, text, budget)
        if delta != UNCHANGED:
            ot.draw(budget, len(cursors) * (MOVE_UNITS + COMPONENT_UNITS * len(delta or ())))
            for client_id, cursor in cursors:
                if cursor.get("version", number) < number:
                    _move(cursor, delta, change.client_id != client_id)


def _move(cursor: dict[str, Any], delta: Delta | None, stays: bool) -> None:
    if delta is None:
        give_up(cursor)
    else:
        for name in OFFSETS:
            if name in cursor:
                cursor[name] = carried(delta, cursor[name], stays)


def give_up(cursor: dict[str, Any]) -> None:
    """Leave the field alone."""
    for name in (*OFFSETS, "version"):
        cursor.pop(name, None)


def _delta(change: Kept, path: Path, before: Any, text: Any, budget: ot.Budget) -> Delta | None:
    """What a change did to the text that is at a path; None: nobody can say."""
    if not (isinstance(before, str) and isinstance(text, str)):
        return None
    if before is text or before == text:
        return UNCHANGED
    if len(change.operations) == 1:
        (operation,) = change.operations
        if operation[0] == "txt" and tuple([str(part) for part in operation[1]]) == path:
            delta: Delta = operation[2]
            return delta
    (operation,) = ot.difference(before, text, budget)
    compared: Delta = operation[2]
    return compared


def carried(delta: Delta, offset: int, stays: bool) -> int:
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
