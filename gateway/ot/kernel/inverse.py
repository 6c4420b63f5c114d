"""Inverses of operations, and what a document would grow by."""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import COMPONENT_UNITS, ENTRY_UNITS, Budget, drawn
from gateway.ot.kernel.documents import (
    INC,
    INS,
    MOV,
    REM,
    SET,
    TST,
    TXT,
    Operation,
    apply_one,
    edited,
    get,
    has,
    own_of,
    texts_upto,
)
from gateway.ot.kernel.longtext import long_text
from gateway.ot.kernel.paths import after_remove
from gateway.ot.kernel.text import invert_delta
from gateway.ot.kernel.transform import inverse_move
from gateway.ot.kernel.values import UNBOUNDED_BYTES, check_height, check_integer, measured, string_bytes


def invert(document: Any, operations: Any, budget: Budget | None) -> list[Operation]:
    """The operations that lead from the document after `operations` back to `document`.

    What is replaced or removed goes into its inverse. The run's own containers may be in there, and stay as
    they are: nothing leads to them from the run's document any more.
    """
    inverses: list[Operation] = []
    draws = drawn(budget)
    own = own_of(operations)
    index = 0
    count = len(operations)
    while index < count:
        operation = operations[index]
        end = texts_upto(document, operations, index)
        if end > index + 1:
            document = invert_texts(document, operations, index, end, inverses, own, draws)
            index = end - 1
        elif operation[0] != TST:
            inverses.append(invert_one(document, operation, draws))
            if index < count - 1:
                document = apply_one(document, operation, own, draws)
        index += 1
    inverses.reverse()
    return inverses


def invert_texts(
    document: Any,
    operations: Any,
    first: int,
    end: int,
    inverses: list[Operation],
    own: list[Any] | None,
    budget: Budget,
) -> Any:
    """Append the inverses of the edits `first ... end` of one long text; the document after them."""
    path = operations[first][1]
    text = long_text(get(document, path), budget)
    for i in range(first, end):
        delta = operations[i][2]
        budget.charge(ENTRY_UNITS + COMPONENT_UNITS * len(delta))
        inverses.append((TXT, path, text.edit(delta, budget)))
    return edited(document, SET, path, text.whole(budget), own, budget)


def invert_one(document: Any, operation: Operation, budget: Budget) -> Operation:
    kind = operation[0]
    path = operation[1]
    budget.charge(ENTRY_UNITS)
    if kind == INS:
        return (REM, path)
    if kind == REM:
        return (INS if type(path[-1]) is int else SET, path, get(document, path))
    if kind == SET:
        return (SET, path, get(document, path)) if has(document, path) else (REM, path)
    if kind == TXT:
        budget.charge(COMPONENT_UNITS * len(operation[2]))
        return (TXT, path, invert_delta(get(document, path), operation[2]))
    if kind == INC:
        return (INC, path, -operation[2])
    return inverse_move(path, operation[2])


def growth(document: Any, operations: Any, depth_max: int, budget: Budget | None) -> int:
    """At most how many bytes `operations` add to `document`; KernelError where it can't hold the outcome.

    Only what they insert is walked, so a title costs nothing.
    """
    total = 0
    draws = drawn(budget)
    own = own_of(operations)
    last = len(operations) - 1
    for index, operation in enumerate(operations):
        total += growth_of(document, operation, depth_max, draws)
        if index < last and operation[0] != TST and operation[0] != TXT:
            document = apply_one(document, operation, own, draws)
    return total


def growth_of(document: Any, operation: Operation, depth_max: int, budget: Budget) -> int:
    kind = operation[0]
    budget.charge(ENTRY_UNITS)
    if kind in (INS, SET):
        path = operation[1]
        name = string_bytes(path[-1]) if path and type(path[-1]) is str else 0
        return name + 2 + measured(operation[2], depth_max - len(path), UNBOUNDED_BYTES, budget)
    if kind == TXT:
        total = 0
        for component in operation[2]:
            if type(component) is str:
                total += string_bytes(component)
        return total
    if kind == MOV:
        place = after_remove(operation[2], operation[1])
        if len(place) > len(operation[1]):  # else it nests no deeper than it did
            check_height(get(document, operation[1]), depth_max - len(place), budget)
        return string_bytes(place[-1]) if type(place[-1]) is str else 0
    if kind == INC:
        check_integer(get(document, operation[1]) + operation[2])
        return 20
    return 0
