"""The way back: the patch on the present document that brings an older one back, or one member of it."""

from __future__ import annotations

from typing import Any

from gateway import ot
from gateway.errors import PatchError
from gateway.history.pointers import MISSING, parts, value_at

# What differs in more places is replaced member by member, or as a whole: a patch has a bound.
PLACES_MAX = 500
# So is what takes more work to compare, some ten milliseconds: a megabyte that differs in one place does not.
WORK_MAX = 10_000_000


class CannotRestore(ValueError):
    """There is no such way back; the message says why, and what to ask for instead."""


def restoring(head: Any, old: Any, path: str = "") -> ot.Patch:
    """The patch on `head` after which the value at `path` is what it was in `old`; empty where it is.

    Raises CannotRestore.
    """
    try:
        place = parts(path)
    except ValueError:
        raise CannotRestore('path must be a JSON Pointer such as "/title".') from None
    if not place:
        return _whole(head, old)
    wanted, present = value_at(old, place), value_at(head, place)
    if wanted is MISSING and present is MISSING:
        raise CannotRestore(f"There was nothing at {path} then, and there is nothing now.")
    _check_holders(head, place)
    if wanted is MISSING:
        return [{"op": "remove", "path": path}]
    if present is not MISSING and ot.identical(wanted, present):
        return []
    return [{"op": "add", "path": path, "value": wanted}]


def _whole(head: Any, old: Any) -> ot.Patch:
    if old is None:
        raise CannotRestore("There was no document at that version; DELETE removes this one.")
    if head is None:
        return [{"op": "add", "path": "", "value": old}]
    patch = _by_places(head, old)
    if patch is None and isinstance(head, dict) and isinstance(old, dict):
        patch = _by_members(head, old)
    return [{"op": "replace", "path": "", "value": old}] if patch is None else patch


def _by_places(head: Any, old: Any) -> ot.Patch | None:
    """The patch that writes the places that differ; None where they are too many, or too much work."""
    budget = ot.budget(WORK_MAX)
    try:
        operations = ot.difference(head, old, budget)
        return ot.emit(head, operations, budget=budget) if len(operations) <= PLACES_MAX else None
    except PatchError:
        return None


def _by_members(head: dict[str, Any], old: dict[str, Any]) -> ot.Patch | None:
    """The patch that writes the members of the root that differ, each whole; None where they are too many."""
    gone = [name for name in head if name not in old]
    differing = [name for name in old if name not in head or not ot.identical(head[name], old[name])]
    if len(gone) + len(differing) > PLACES_MAX:
        return None
    removed = [{"op": "remove", "path": ot.pointer((name,))} for name in gone]
    return removed + [{"op": "add", "path": ot.pointer((name,)), "value": old[name]} for name in differing]


def _check_holders(head: Any, place: list[str]) -> None:
    """A slot of an array may hold something else by now, and a place needs what it is in."""
    for depth in range(len(place)):
        holder = value_at(head, place[:depth])
        where = "/" + "/".join(place[:depth]) if depth else "the document"
        if isinstance(holder, list):
            raise CannotRestore(f"Places in an array move: restore the whole array, {where}.")
        if not isinstance(holder, dict):
            raise CannotRestore(f"{where} is no object now: restore that first.")
