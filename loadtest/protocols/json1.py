"""ShareDB with ottypes/json1: what virtual users write in it, and a replica's way to apply it.

Written from json1's spec.md, without its code. Moves (`p`, `d`) aren't written by these users, and so not
applied here; texts are `text-unicode` edits (`es`), which count code points.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadtest.protocols.json0 import path_of
from loadtest.replica import ReplicaError, apply_text, value_at

URI = "http://sharejs.org/types/JSONv1"
Descent = list[Any]


def translate(edit: dict[str, Any], document: Any) -> Descent:
    """An edit of `loadtest.content` as json1; `document` is None for users that keep none."""
    path = path_of(edit["path"], document)
    kind = edit["op"]
    if kind == "replace":
        return [*path, {"r": True, "i": edit["value"]}]
    if kind == "add":
        return [*path, {"i": edit["value"]}]
    if kind == "remove":
        return [*path, {"r": True}]
    text = value_at(document, edit["path"])
    at, change = edit["value"] if len(edit["value"]) == 2 else (0, edit["value"][0])
    removed = change if isinstance(change, str) else {"d": text[at : at + change["d"]]}
    return [*path, {"es": [at, removed] if at else [removed]}]


class _Node:
    """A place of an operation: what happens there, and the places below."""

    __slots__ = ("below", "what")

    def __init__(self) -> None:
        self.what: dict[str, Any] = {}
        self.below: dict[Any, _Node] = {}


def _tree(descent: Descent) -> _Node:
    root = _Node()
    _read(root, descent)
    return root


def _read(node: _Node, descent: Descent) -> None:
    for part in descent:
        if isinstance(part, dict):
            node.what.update(part)
        elif isinstance(part, list):
            _read(node, part)
        else:
            node = node.below.setdefault(part, _Node())


def apply(document: Any, operations: list[Any]) -> Any:
    """The document after each of some operations; changes it in place. Raises ReplicaError."""
    try:
        for one in operations:
            document = one["create"]["data"] if isinstance(one, dict) else _apply(document, one)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ReplicaError(f"malformed json1: {error!r}") from None
    return document


def _apply(document: Any, descent: Descent) -> Any:
    """Everything is picked up first, by the places before; then dropped, by the places after."""
    if not descent:
        return document
    holder = [document]
    root = _Node()
    root.below[0] = _tree(descent)
    _pick(holder, root)
    _drop(holder, root)
    return holder[0] if holder else None


def _ordered(node: _Node, backwards: bool) -> Iterator[tuple[Any, _Node]]:
    return iter(sorted(node.below.items(), key=lambda item: str(item[0]).zfill(12), reverse=backwards))


def _pick(parent: Any, node: _Node) -> None:
    for key, below in _ordered(node, backwards=True):
        if {"p", "d"} & below.what.keys():
            raise ReplicaError("a json1 move, which nobody here writes")
        if not _removes(below):
            continue
        _pick(parent[key], below)
        if "r" in below.what:
            del parent[key]


def _removes(node: _Node) -> bool:
    return "r" in node.what or any(_removes(below) for below in node.below.values())


def _drop(parent: Any, node: _Node) -> None:
    for key, below in _ordered(node, backwards=False):
        if "i" in below.what:
            if isinstance(parent, list):
                parent.insert(key, below.what["i"])
            else:
                parent[key] = below.what["i"]
        if "es" in below.what:
            parent[key] = apply_text(parent[key], [_plain(one) for one in below.what["es"]])
        if "ena" in below.what:
            parent[key] += below.what["ena"]
        if any(_changes(one) for one in below.below.values()):
            _drop(parent[key], below)


def _plain(component: Any) -> Any:
    """A deletion by its length, where it says the text."""
    if isinstance(component, dict) and isinstance(component["d"], str):
        return {"d": len(component["d"])}
    return component


def _changes(node: _Node) -> bool:
    return bool({"i", "es", "ena"} & node.what.keys()) or any(_changes(one) for one in node.below.values())
