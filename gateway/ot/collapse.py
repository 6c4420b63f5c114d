"""The form of a change for plain clients: RFC 6902 operations alone, and few bytes of them.

What the operations touch falls apart into *places* that have nothing to do with each other: the member that
is replaced, or the container that something is added to, removed from or moved between. Each place is told by
its operations, or by one `replace`, whichever is less to send. The whole document is never looked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from gateway.errors import PatchError
from gateway.ot.api import UNLIMITED, Patch, apply_patch, identical, size
from gateway.ot.kernel.paths import format_pointer, parse_pointer

NOOP = {"op": "noop"}
STANDARD = frozenset({"add", "remove", "replace", "move", "copy", "test"})

# What one more message costs beside its operation, in bytes: so much smaller an operation has to be.
MESSAGE_BYTES = 250
# A place is told operation by operation without a look at sizes where there are so few.
PLAIN_OPERATIONS_MAX = 16
# A smaller place is sent whole where its operations have no standard form.
WHOLE_BYTES = 4096

Tokens = tuple[str, ...]


class _Part:
    """A part of the document, and the operations that change something in it, in order."""

    __slots__ = ("patch", "paths")

    def __init__(self) -> None:
        self.paths: list[Tokens] = []
        self.patch: Patch = []

    @property
    def standard(self) -> int:
        """How many of them are standard operations."""
        return sum(operation["op"] in STANDARD for operation in self.patch)


def plain(before: Any, patch: Patch, after: Any) -> Patch:
    """The standard operations that do what `patch` does; none where nothing changes.

    `text` and `inc` become the `replace` of their member.
    """
    if len(patch) == 1:
        operation = patch[0]
        return patch if operation["op"] in STANDARD else _replaced(before, after, [operation["path"]])
    if len(patch) <= PLAIN_OPERATIONS_MAX and all(operation["op"] in STANDARD for operation in patch):
        return patch
    told: Patch = []
    places = _parts(patch)
    for place in places:
        told += _told(before, place, after)
    if len(told) > PLAIN_OPERATIONS_MAX:
        path = _common([path for place in places for path in place.paths])
        if _smaller(after, [path], _bytes_of(told)):
            return [{"op": "replace", "path": format_pointer(path), "value": _value_at(after, path)}]
    return told


def _bytes_of(patch: Patch) -> int:
    """What it is to send, without the first message's own."""
    return len(orjson.dumps(patch)) + MESSAGE_BYTES * (len(patch) - 1)


def _common(paths: Sequence[Tokens]) -> Tokens:
    """The place that holds all of these."""
    first, last = min(paths), max(paths)
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return first[:depth]


def _told(before: Any, place: _Part, after: Any) -> Patch:
    paths = [format_pointer(path) for path in place.paths]
    few = len(place.patch) <= PLAIN_OPERATIONS_MAX
    if place.standard == len(place.patch):
        if few or not _smaller(after, place.paths, _bytes_of(place.patch)):
            return place.patch
    elif few and place.standard and not _smaller(after, place.paths, WHOLE_BYTES):
        return _one_by_one(before, place.patch)
    return _replaced(before, after, paths)


def _smaller(after: Any, paths: Sequence[Tokens], most: int) -> bool:
    """Whether what is there is at most so many bytes."""
    for path in paths:
        try:
            most -= size(_value_at(after, path), max(0, most))
        except PatchError:
            return False
    return most >= 0


def _one_by_one(before: Any, patch: Patch) -> Patch:
    told: Patch = []
    for operation in patch:
        before = apply_patch(before, [operation], UNLIMITED)
        if operation["op"] not in STANDARD:
            path = operation["path"]
            operation = {"op": "replace", "path": path, "value": _value_at(before, parse_pointer(path))}
        told.append(operation)
    return told


def _replaced(before: Any, after: Any, paths: Sequence[str]) -> Patch:
    """Each of these places as it is now, but for texts and numbers that are as they were."""
    told: Patch = []
    for path in paths:
        tokens = parse_pointer(path)
        value = _value_at(after, tokens)
        if type(value) in (dict, list) or not identical(_value_at(before, tokens), value):
            told.append({"op": "replace", "path": path, "value": value})
    return told


def _value_at(document: Any, tokens: Sequence[str]) -> Any:
    for token in tokens:
        document = document[int(token)] if type(document) is list else document[token]
    return document


# --------------------------------------------------------------------------------------------- places


def _touched(operation: dict[str, Any]) -> list[Tokens]:
    """The places that an operation changes or reads."""
    path = tuple(parse_pointer(operation["path"]))
    kind = operation["op"]
    if kind in ("add", "remove", "move", "copy"):
        path = path[:-1]
    if kind in ("move", "copy"):
        return [path, tuple(parse_pointer(operation["from"]))[:-1]]
    return [path]


def _parts(patch: Patch) -> list[_Part]:
    """The patch by places: no operation of one changes anything in another."""
    touched = [_touched(operation) for operation in patch]
    tops: list[Tokens] = []
    for path in sorted({path for paths in touched for path in paths}):  # what is above comes before
        if not tops or path[: len(tops[-1])] != tops[-1]:
            tops.append(path)
    top_of = {top: top for top in tops}
    where = [_tops(paths, top_of) for paths in touched]
    joined = {top: top for top in tops}  # a forest: operations between places join them

    def root(top: Tokens) -> Tokens:
        while joined[top] is not top:
            top = joined[top]
        return top

    for found in where:
        for other in found[1:]:
            joined[root(other)] = root(found[0])
    places: dict[Tokens, _Part] = {}
    for operation, found in zip(patch, where, strict=True):
        places.setdefault(root(found[0]), _Part()).patch.append(operation)
    for top in tops:
        places[root(top)].paths.append(top)
    return list(places.values())


def _tops(paths: Sequence[Tokens], top_of: dict[Tokens, Tokens]) -> list[Tokens]:
    found = []
    for path in paths:
        depth = 0
        while path[:depth] not in top_of:
            depth += 1
        found.append(top_of[path[:depth]])
    return found
