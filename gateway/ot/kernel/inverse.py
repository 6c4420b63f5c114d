"""Inverses of operations, and what a document would grow by."""

from __future__ import annotations

from typing import Any

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
    get,
    has,
    own_of,
)
from gateway.ot.kernel.paths import after_remove
from gateway.ot.kernel.text import invert_delta
from gateway.ot.kernel.transform import inverse_move
from gateway.ot.kernel.values import UNBOUNDED_BYTES, check_integer, measure, string_bytes


def invert(document: Any, operations: Any) -> list[Operation]:
    """The operations that lead from the document after `operations` back to `document`."""
    inverses: list[Operation] = []
    for operation in operations:
        if operation[0] != TST:
            inverses.append(invert_one(document, operation))
            document = apply_one(document, operation, None)  # what is replaced goes into the inverse
    inverses.reverse()
    return inverses


def invert_one(document: Any, operation: Operation) -> Operation:
    kind = operation[0]
    path = operation[1]
    if kind == INS:
        return (REM, path)
    if kind == REM:
        return (INS if type(path[-1]) is int else SET, path, get(document, path))
    if kind == SET:
        return (SET, path, get(document, path)) if has(document, path) else (REM, path)
    if kind == TXT:
        return (TXT, path, invert_delta(get(document, path), operation[2]))
    if kind == INC:
        return (INC, path, -operation[2])
    return inverse_move(path, operation[2])


def growth(document: Any, operations: Any, depth_max: int) -> int:
    """At most how many bytes `operations` add to `document`; KernelError where it can't hold the outcome.

    Only what they insert is walked, so a title costs nothing.
    """
    total = 0
    own = own_of(operations)
    for operation in operations:
        total += growth_of(document, operation, depth_max)
        if len(operations) > 1 and operation[0] != TST:
            document = apply_one(document, operation, own)
    return total


def growth_of(document: Any, operation: Operation, depth_max: int) -> int:
    kind = operation[0]
    if kind in (INS, SET):
        path = operation[1]
        name = string_bytes(path[-1]) if path and type(path[-1]) is str else 0
        return name + 2 + measure(operation[2], depth_max - len(path), UNBOUNDED_BYTES)
    if kind == TXT:
        total = 0
        for component in operation[2]:
            if type(component) is str:
                total += string_bytes(component)
        return total
    if kind == MOV:
        place = after_remove(operation[2], operation[1])
        measure(get(document, operation[1]), depth_max - len(place), UNBOUNDED_BYTES)
        return string_bytes(place[-1]) if type(place[-1]) is str else 0
    if kind == INC:
        check_integer(get(document, operation[1]) + operation[2])
        return 20
    return 0
