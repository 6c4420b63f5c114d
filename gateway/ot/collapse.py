"""The form of a change for plain clients: exactly one RFC 6902 operation."""

from __future__ import annotations

from typing import Any

from gateway.ot.api import Patch, identical
from gateway.ot.kernel.paths import format_pointer

STANDARD = frozenset({"add", "remove", "replace", "move", "copy", "test"})


def plain(before: Any, patch: Patch, after: Any) -> dict[str, Any]:
    """The one operation of `patch` where it is one of the standard ones, else `collapse(before, after)`."""
    if len(patch) == 1 and patch[0]["op"] in STANDARD:
        return patch[0]
    return collapse(before, after)


def collapse(before: Any, after: Any) -> dict[str, Any]:
    """`{"op": "noop"}` for identical documents, else the `replace` of the smallest node that differs.

    One `replace` must cover every difference, so it descends while exactly one child differs and all
    children are on both sides.
    """
    if identical(before, after):
        return {"op": "noop"}
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
