"""Applies what the gateway sends: RFC 6902 by the public `jsonpatch` package, and the two extensions.

Nothing of the gateway is used here, so that a client on it is independent of the server's own code.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import jsonpatch
import jsonpointer


def apply(document: Any, operations: Sequence[dict[str, Any]]) -> Any:
    """The document after the operations; the one passed in stays as it is."""
    document = copy.deepcopy(document)
    for operation in operations:
        document = _apply_one(document, operation)
    return document


def _apply_one(document: Any, operation: dict[str, Any]) -> Any:
    if operation["op"] == "noop":
        return document
    if operation["op"] not in ("text", "inc"):
        return jsonpatch.JsonPatch([operation]).apply(document)
    value = jsonpointer.resolve_pointer(document, operation["path"])
    if operation["op"] == "inc":
        value += operation["value"]
    else:
        value = _text(value, operation["value"])
    return jsonpatch.JsonPatch([{"op": "replace", "path": operation["path"], "value": value}]).apply(document)


def _text(text: str, delta: Sequence[Any]) -> str:
    """Retain (a number), insert (a string), delete ({"d": n}), in code points."""
    pieces, at = [], 0
    for component in delta:
        if isinstance(component, str):
            pieces.append(component)
        elif isinstance(component, int):
            pieces.append(text[at : at + component])
            at += component
        else:
            at += component["d"]
    return "".join(pieces) + text[at:]
