"""The form of a change for plain clients: RFC 6902 operations alone."""

from __future__ import annotations

from typing import Any

from gateway.ot.api import Patch, apply_patch, identical
from gateway.ot.kernel.paths import format_pointer

NOOP = {"op": "noop"}
STANDARD = frozenset({"add", "remove", "replace", "move", "copy", "test"})


# More operations than this cost more messages than one `replace` that holds them all.
PLAIN_OPERATIONS_MAX = 16


def plain(before: Any, patch: Patch, after: Any) -> Patch:
    """The standard operations of `patch`, in order, the others as the `replace` of what they change.

    None where nothing changes. Past `PLAIN_OPERATIONS_MAX` it is one: `collapse(before, after)`.
    """
    if len(patch) > PLAIN_OPERATIONS_MAX:
        return _effective(collapse(before, after))
    if all(operation["op"] in STANDARD for operation in patch):
        return patch
    operations: Patch = []
    for index, operation in enumerate(patch):
        then = after if index == len(patch) - 1 else apply_patch(before, [operation])
        standard = operation["op"] in STANDARD
        operations += [operation] if standard else _effective(collapse(before, then))
        before = then
    return operations


def _effective(operation: dict[str, Any]) -> Patch:
    return [] if operation["op"] == "noop" else [operation]


def collapse(before: Any, after: Any) -> dict[str, Any]:
    """`{"op": "noop"}` for identical documents, else the `replace` of the smallest node that differs.

    One `replace` must cover every difference, so it descends while exactly one child differs and all
    children are on both sides.
    """
    if identical(before, after):
        return NOOP
    path: list[str | int] = []
    step = _only_difference(before, after)
    while step is not None:
        path.append(step)
        before, after = before[step], after[step]
        step = _only_difference(before, after)
    return {"op": "replace", "path": format_pointer(tuple(path)), "value": after}


def _only_difference(before: Any, after: Any) -> str | int | None:
    """The key or index of the one child in which two containers differ, None where there is no such one."""
    keys: Any
    if type(before) is dict and type(after) is dict and before.keys() == after.keys():
        keys = before
    elif type(before) is list and type(after) is list and len(before) == len(after):
        keys = range(len(before))
    else:
        return None
    found: str | int | None = None
    for key in keys:
        if not identical(before[key], after[key]):
            if found is not None:
                return None
            found = key
    return found
