"""ShareDB's default type, json0: what virtual users write in it, and a replica's way to apply it.

Written from the README of ottypes/json0, without its code. Strings count UTF-16 units, as JavaScript's do.
"""

from __future__ import annotations

from typing import Any

from loadtest.replica import ReplicaError, value_at

URI = "http://sharejs.org/types/JSONv0"
Component = dict[str, Any]


def utf16_slice(text: str, start: int, end: int | None = None) -> str:
    """text[start:end] in UTF-16 units."""
    if text.isascii():
        return text[start:end]
    units = text.encode("utf-16-le", "surrogatepass")
    return units[2 * start : None if end is None else 2 * end].decode("utf-16-le", "surrogatepass")


def utf16_length(text: str) -> int:
    """The length of a text in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def path_of(pointer: str, document: Any) -> list[str | int]:
    """A JSON Pointer as json0's path: numbers where the document has arrays, or where the parts are
    digits."""
    path: list[str | int] = []
    for token in pointer.strip("/").split("/"):
        if isinstance(document, list) or (document is None and token.isdigit()):
            path.append(len(document or ()) if token == "-" else int(token))
        else:
            path.append(token)
        if isinstance(document, list | dict):
            document = _child(document, path[-1])
    return path


def _child(node: Any, key: str | int) -> Any:
    if isinstance(node, list):
        return node[key] if isinstance(key, int) and key < len(node) else None
    return node.get(key)


def translate(edit: dict[str, Any], document: Any) -> list[Component]:
    """An edit of `loadtest.content` as json0; `document` is None for users that keep none."""
    path = path_of(edit["path"], document)
    kind = edit["op"]
    if kind == "replace":
        return [{"p": path, "od": None, "oi": edit["value"]}]
    if kind == "add":
        return [{"p": path, "li": edit["value"]}]
    if kind == "remove":
        return [{"p": path, "ld": value_at(document, edit["path"])}]
    return _text(path, edit["value"], value_at(document, edit["path"]))


def _text(path: list[str | int], components: list[Any], text: str) -> list[Component]:
    """[retain, "inserted" or {"d": n}] as an insertion or a deletion in json0."""
    at, change = (components[0], components[1]) if isinstance(components[0], int) else (0, components[0])
    position = utf16_length(text[:at])
    if isinstance(change, str):
        return [{"p": [*path, position], "si": change}]
    return [{"p": [*path, position], "sd": text[at : at + change["d"]]}]


def apply(document: Any, operations: list[Component]) -> Any:
    """The document after an operation; changes it in place. Raises ReplicaError."""
    try:
        for one in operations:
            document = one["create"]["data"] if "create" in one else _component(document, one)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ReplicaError(f"malformed json0: {error!r}") from None
    return document


def _component(document: Any, one: Component) -> Any:
    if "si" in one or "sd" in one:
        *path, at = one["p"]
        return _edit_text(document, path, at, one.get("si", ""), one.get("sd", ""))
    if one.get("t") == "text0":
        for part in one["o"]:
            document = _edit_text(document, one["p"], part["p"], part.get("i", ""), part.get("d", ""))
        return document
    *path, key = one["p"]
    parent = document
    for step in path:
        parent = parent[step]
    if "na" in one:
        parent[key] += one["na"]
    elif "lm" in one:
        parent.insert(one["lm"], parent.pop(key))
    elif "ld" in one or "li" in one:
        _list(parent, key, one)
    elif "oi" in one:
        parent[key] = one["oi"]
    else:
        parent.pop(key, None)
    return document


def _list(parent: list[Any], key: int, one: Component) -> None:
    if "ld" in one:
        del parent[key]
    if "li" in one:
        parent.insert(key, one["li"])


def _edit_text(document: Any, path: list[Any], at: int, inserted: str, removed: str) -> Any:
    parent: Any = None
    text = document
    for step in path:
        parent, text = text, text[step]
    rest = at + utf16_length(removed)
    if utf16_slice(text, at, rest) != removed:
        raise ReplicaError(f"there is no {removed!r} at {at} of {path}")
    changed = utf16_slice(text, 0, at) + inserted + utf16_slice(text, rest)
    if parent is None:
        return changed
    parent[path[-1]] = changed
    return document
