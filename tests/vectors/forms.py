"""How operations and strategies are written in a vector: JSON that any language reads."""

from __future__ import annotations

from typing import Any

from gateway import ot


def write_operations(operations: ot.Operations) -> list[Any]:
    """`[["set", ["a", 0], "value"], ...]`: in a path a number is an index, a string a member."""
    return [[_written(part) for part in operation] for operation in operations]


def _written(part: Any) -> Any:
    return list(part) if type(part) is tuple else part


def read_operations(written: list[Any]) -> list[ot.Operation]:
    return [_read_operation(entry) for entry in written]


def _read_operation(entry: list[Any]) -> ot.Operation:
    kind, path, *rest = entry
    typed = None if path is None else tuple(path)
    if kind in ("mov", "txt"):
        return (kind, typed, tuple(rest[0]))
    return (kind, typed, *rest)


def write_strategies(strategies: ot.Strategies | None) -> list[Any]:
    """`[{"path": ["tags"], "merge": "set"}, ...]`, `merge` as a schema's `x-merge` has it."""
    return [{"path": list(path), "merge": _merge_name(rule)} for path, rule in (strategies or {}).items()]


def _merge_name(rule: Any) -> Any:
    if isinstance(rule, str):
        return rule
    return rule[0] if len(rule) == 1 else {rule[0]: rule[1]}


def read_strategies(written: list[Any]) -> ot.Strategies:
    return {tuple(entry["path"]): _rule(entry["merge"]) for entry in written}


def _rule(merge: Any) -> Any:
    if isinstance(merge, dict):
        ((name, key),) = merge.items()
        return (name, key)
    return merge if merge in ("text", "counter") else (merge,)
