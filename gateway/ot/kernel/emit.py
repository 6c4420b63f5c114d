# ruff: noqa: SIM110 (plain loops compile to C, generators do not)
"""From kernel operations back to a JSON Patch, and the form in which operations are committed."""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import ENTRY_UNITS, NODE_UNITS, Budget, drawn
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
)
from gateway.ot.kernel.inverse import invert_one
from gateway.ot.kernel.paths import Path, after_remove, is_inside, starts_with, written_pointer
from gateway.ot.kernel.sets import double_of, is_keyed, items_at, keys_of, set_item, without_doubles
from gateway.ot.kernel.text import write_delta
from gateway.ot.kernel.transform import CALLS_PER_PAIR, CALLS_SPARE, transform


def emit(document: Any, operations: Any, tests: bool, budget: Budget | None) -> list[dict[str, Any]]:
    """The JSON Patch of `operations` on `document`, their tests included or left out."""
    patch: list[dict[str, Any]] = []
    draws = drawn(budget)
    own = own_of(operations)
    last = len(operations) - 1
    for index, operation in enumerate(operations):
        draws.charge(ENTRY_UNITS)
        emit_one(document, operation, tests, patch, draws)
        if index < last and moves_nodes(operation):
            document = apply_one(document, operation, own, draws)
    return patch


def moves_nodes(operation: Operation) -> bool:
    """Does an operation change which nodes there are? What one text or number is, emission doesn't ask."""
    kind = operation[0]
    return bool(kind != TST and kind != TXT and kind != INC)


def emit_one(
    document: Any, operation: Operation, tests: bool, patch: list[dict[str, Any]], budget: Budget
) -> None:
    kind = operation[0]
    if kind == TST and not (tests and operation[1] is not None):
        return
    if kind == MOV:
        emit_move(document, operation, patch, budget)
        return
    pointer = written_pointer(operation[1], budget)
    if kind == SET:
        replaces = document is not None and has(document, operation[1])
        patch.append({"op": "replace" if replaces else "add", "path": pointer, "value": operation[2]})
    elif kind == INS:
        patch.append({"op": "add", "path": pointer, "value": operation[2]})
    elif kind == REM:
        patch.append({"op": "remove", "path": pointer})
    elif kind == TXT:
        patch.append({"op": "text", "path": pointer, "value": write_delta(operation[2])})
    elif kind == INC:
        patch.append({"op": "inc", "path": pointer, "value": operation[2]})
    else:
        patch.append({"op": "test", "path": pointer, "value": operation[2]})


def emit_move(document: Any, move: Operation, patch: list[dict[str, Any]], budget: Budget) -> None:
    for hop in hops(document, move):
        target = written_pointer(after_remove(hop[2], hop[1]), budget)
        patch.append({"op": "move", "from": written_pointer(hop[1], budget), "path": target})


def hops(document: Any, move: Operation) -> list[Operation]:
    """A move, or the two that stand for it.

    A move into the next sibling has no RFC 6902 form, for `from` would be a prefix of `path`: it goes by way
    of the end of the array.
    """
    if not needs_hops(move):
        return [move]
    source = move[1]
    destination = after_remove(move[2], source)
    size = len(get(document, source[:-1]))
    end = (*source[:-1], size)
    last = (*source[:-1], size - 1)
    return [(MOV, source, end), (MOV, last, destination)]


def settle(document: Any, operations: Any, tests: bool, budget: Budget | None) -> Any:
    """`operations` as they are committed: what `lower` makes of what `emit` writes."""
    for operation in operations:
        if (operation[0] == TST and not tests) or (operation[0] == MOV and needs_hops(operation)):
            return settled(document, operations, tests, drawn(budget))
    return operations


def needs_hops(move: Operation) -> bool:
    """Would `from` be a prefix of `path`?"""
    return is_inside(after_remove(move[2], move[1]), move[1])


def settled(document: Any, operations: Any, tests: bool, budget: Budget) -> list[Operation]:
    result: list[Operation] = []
    own = own_of(operations)
    for operation in operations:
        if operation[0] == MOV:
            result.extend(hops(document, operation))
        elif tests or operation[0] != TST:
            result.append(operation)
        if moves_nodes(operation):
            document = apply_one(document, operation, own, budget)
    return result


def normalise(document: Any, operations: Any, strategies: Any, budget: Budget | None) -> Any:
    """`operations` without those that would leave an id in a `set` twice: what came first stays.

    Of a `set` that is written as a whole, the last item with the id does.
    """
    if not strategies:
        return operations
    draws = drawn(budget)
    operations = with_single_ids(operations, strategies, draws)
    if not gives_ids(operations, strategies):
        return operations
    kept = without_double_ids(document, operations, strategies, draws)
    while kept is not operations:  # without one, another may leave an id there twice
        operations = kept
        kept = without_double_ids(document, operations, strategies, draws)
    return kept


def with_single_ids(operations: Any, strategies: Any, budget: Budget) -> Any:
    """The operations, in whose values no `set` has an id twice; the same list where none had."""
    kept = operations
    for index, operation in enumerate(operations):
        if operation[0] != SET or (type(operation[2]) is not dict and type(operation[2]) is not list):
            continue
        value = operation[2]
        for container, rule in strategies.items():
            if is_keyed(rule) and starts_with(container, operation[1]):
                value = without_doubles_in(value, container[len(operation[1]) :], rule, budget)
        if value is not operation[2]:
            kept = [*kept[:index], (SET, operation[1], value), *kept[index + 1 :]]
    return kept


def without_doubles_in(value: Any, path: Path, rule: Any, budget: Budget) -> Any:
    """A value without the doubles of the `set` at a path in it; the same one where there are none."""
    items = items_at(value, path)
    budget.charge(NODE_UNITS * len(items))
    keys = keys_of(items, rule)
    if keys is None or len(set(keys)) == len(keys):
        return value
    return edited(value, SET, path, without_doubles(items, keys)[0], None, budget)


def without_double_ids(document: Any, operations: Any, strategies: Any, budget: Budget) -> Any:
    """The same list where nothing is left out. Tests aren't run: `apply` does, and says which one failed."""
    kept: list[Operation] = []
    rest = list(operations)
    own = own_of(rest)
    is_same = True
    while rest:
        operation = rest.pop(0)
        if double_of(document, operation, rest, strategies, budget) >= 0:
            # What follows in the list was written for a document with it.
            undone = [invert_one(document, operation, budget)]
            _, rest, _ = transform(undone, rest, CALLS_PER_PAIR, CALLS_SPARE, budget)
            is_same = False
        else:
            kept.append(operation)
            if operation[0] != TST:
                document = apply_one(document, operation, own, budget)
    return operations if is_same else kept


def gives_ids(operations: Any, strategies: Any) -> bool:
    """May an operation give an id to an item of a `set`?"""
    for operation in operations:
        if set_item(operation, strategies) is not None:
            return True
    return False


def touched(operations: Any) -> set[str] | None:
    """The members of the root that operations touch; None when the root itself is set or is no object."""
    members: set[str] = set()
    for operation in operations:
        if operation[0] == TST:
            continue
        if not operation[1] or type(operation[1][0]) is not str:
            return None
        members.add(operation[1][0])
        if operation[0] == MOV:
            members.add(operation[2][0])
    return members
