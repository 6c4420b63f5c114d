"""The operations that lead from one document to another, for merging a whole state into pending edits."""

from __future__ import annotations

from typing import Any

from gateway.ot.api import Operation, identical
from gateway.ot.kernel.budget import drawn
from gateway.ot.kernel.documents import INS, REM, SET, TXT
from gateway.ot.kernel.paths import Path
from gateway.ot.kernel.spans import difference as text_difference


def difference(before: Any, after: Any) -> list[Operation]:
    """Operations on `before` that give `after`: members one by one, arrays by the span that differs."""
    operations: list[Operation] = []
    _compare(before, after, (), operations)
    return operations


def _compare(before: Any, after: Any, path: Path, operations: list[Operation]) -> None:
    if identical(before, after):
        return
    kind = type(before)
    if kind is not type(after) or kind not in (dict, list, str):
        operations.append((SET, path, after))
    elif kind is dict:
        _compare_members(before, after, path, operations)
    elif kind is list:
        _compare_items(before, after, path, operations)
    else:
        operations.append((TXT, path, text_difference(before, after, drawn(None))))


def _compare_members(
    before: dict[str, Any], after: dict[str, Any], path: Path, operations: list[Operation]
) -> None:
    operations.extend((REM, (*path, key)) for key in before if key not in after)
    for key, value in after.items():
        if key in before:
            _compare(before[key], value, (*path, key), operations)
        else:
            operations.append((SET, (*path, key), value))


def _compare_items(before: list[Any], after: list[Any], path: Path, operations: list[Operation]) -> None:
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and identical(before[start], after[start]):
        start += 1
    end = 0
    while end < shorter - start and identical(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if len(old) == len(new):
        for offset, (one, other) in enumerate(zip(old, new, strict=True)):
            _compare(one, other, (*path, start + offset), operations)
        return
    operations.extend((REM, (*path, start)) for _ in old)
    operations.extend((INS, (*path, start + offset), item) for offset, item in enumerate(new))
