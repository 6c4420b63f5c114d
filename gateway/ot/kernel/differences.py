"""The operations that lead from one document to another, for merging a whole state into pending edits.

Each value is compared once, so the work is that of one walk, however deep they differ.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import NODE_UNITS, Budget
from gateway.ot.kernel.documents import INS, REM, SET, TXT, Operation
from gateway.ot.kernel.spans import difference
from gateway.ot.kernel.values import same


def differences(before: Any, after: Any, budget: Budget) -> list[Operation]:
    """What makes `after` of `before`: members one by one, arrays by the span that differs."""
    operations: list[Operation] = []
    differences_at([], before, after, operations, budget)
    return operations


def differences_at(
    place: list[Any], before: Any, after: Any, operations: list[Operation], budget: Budget
) -> None:
    """Append those of the value at `place`, which is lent: a path is made only of where they differ."""
    kind = type(before)
    if kind is dict and type(after) is dict:
        differences_of_members(place, before, after, operations, budget)
    elif kind is list and type(after) is list:
        differences_of_items(place, before, after, operations, budget)
    elif same(before, after, True, budget):
        return
    elif kind is str and type(after) is str:
        operations.append((TXT, tuple(place), difference(before, after, budget)))
    else:
        operations.append((SET, tuple(place), after))


def differences_of_members(
    place: list[Any],
    before: dict[str, Any],
    after: dict[str, Any],
    operations: list[Operation],
    budget: Budget,
) -> None:
    budget.charge(NODE_UNITS * (1 + len(before) + len(after)))
    operations.extend([(REM, (*place, key)) for key in before if key not in after])
    for key, value in after.items():
        if key not in before:
            operations.append((SET, (*place, key), value))
        elif before[key] is not value:
            place.append(key)
            differences_at(place, before[key], value, operations, budget)
            place.pop()


def differences_of_items(
    place: list[Any], before: list[Any], after: list[Any], operations: list[Operation], budget: Budget
) -> None:
    budget.charge(NODE_UNITS + 3 * len(after))
    if len(before) != len(after):
        differences_of_span(place, before, after, operations, budget)
        return
    for index in range(len(before)):
        if before[index] is not after[index]:
            place.append(index)
            differences_at(place, before[index], after[index], operations, budget)
            place.pop()


def differences_of_span(
    place: list[Any], before: list[Any], after: list[Any], operations: list[Operation], budget: Budget
) -> None:
    """Of arrays of two lengths, all between their common ends goes, and comes."""
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and same(before[start], after[start], True, budget):
        start += 1
    tail = 0
    while tail < shorter - start and same(
        before[len(before) - 1 - tail], after[len(after) - 1 - tail], True, budget
    ):
        tail += 1
    operations.extend([(REM, (*place, start))] * (len(before) - tail - start))
    operations.extend([(INS, (*place, index), after[index]) for index in range(start, len(after) - tail)])
