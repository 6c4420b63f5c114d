"""The operations that lead from one document to another, for merging a whole state into pending edits."""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import Budget
from gateway.ot.kernel.documents import INS, REM, SET, TXT, Operation
from gateway.ot.kernel.paths import Path
from gateway.ot.kernel.spans import difference
from gateway.ot.kernel.values import same


def differences(before: Any, after: Any, path: Path, operations: list[Operation], budget: Budget) -> None:
    """Append what makes `after` of `before`: members one by one, arrays by the span that differs."""
    if same(before, after, True, budget):
        return
    kind = type(before)
    if kind is not type(after) or (kind is not dict and kind is not list and kind is not str):
        operations.append((SET, path, after))
    elif kind is dict:
        differences_of_members(before, after, path, operations, budget)
    elif kind is list:
        differences_of_items(before, after, path, operations, budget)
    else:
        operations.append((TXT, path, difference(before, after, budget)))


def differences_of_members(
    before: dict[str, Any], after: dict[str, Any], path: Path, operations: list[Operation], budget: Budget
) -> None:
    operations.extend([(REM, (*path, key)) for key in before if key not in after])
    for key, value in after.items():
        if key in before:
            differences(before[key], value, (*path, key), operations, budget)
        else:
            operations.append((SET, (*path, key), value))


def differences_of_items(
    before: list[Any], after: list[Any], path: Path, operations: list[Operation], budget: Budget
) -> None:
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and same(before[start], after[start], True, budget):
        start += 1
    tail = 0
    while tail < shorter - start and same(
        before[len(before) - 1 - tail], after[len(after) - 1 - tail], True, budget
    ):
        tail += 1
    end = len(before) - tail
    new_end = len(after) - tail
    if end == new_end:
        for index in range(start, end):
            differences(before[index], after[index], (*path, index), operations, budget)
        return
    operations.extend([(REM, (*path, start))] * (end - start))
    operations.extend([(INS, (*path, index), after[index]) for index in range(start, new_end)])
