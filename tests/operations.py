"""Shorthand of operations as a patch has them."""

from __future__ import annotations

from typing import Any

Entry = dict[str, Any]


def add(path: str, value: Any) -> Entry:
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Any) -> Entry:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> Entry:
    return {"op": "remove", "path": path}


def move(source: str, path: str) -> Entry:
    return {"op": "move", "from": source, "path": path}


def text(path: str, *components: Any) -> Entry:
    return {"op": "text", "path": path, "value": list(components)}
