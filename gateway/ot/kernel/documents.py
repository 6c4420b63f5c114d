# ruff: noqa: SIM110 (plain loops compile to C, generators do not)
"""Documents and kernel operations: looking up, and applying with path copies.

An operation is a tuple, its kind first, all coordinates from before the operation:

    ("ins", place, value)       an element before the gap place[-1]
    ("rem", path)               a node goes
    ("set", path, value)        a member or an element or the root gets a value
    ("mov", path, place)        a node goes to a gap or to an absent member
    ("txt", path, delta)        see text.py
    ("inc", path, integer)
    ("tst", path, value)        `apply` compares; the path is None when a concurrent edit took the target
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import COMPONENT_UNITS, ENTRY_UNITS, LEVEL_UNITS, Budget, drawn
from gateway.ot.kernel.errors import CONFLICT, INVALID, KernelError
from gateway.ot.kernel.longtext import LONG_LENGTH, long_text
from gateway.ot.kernel.paths import Path, after_remove, format_pointer, shown
from gateway.ot.kernel.text import apply_delta
from gateway.ot.kernel.values import ABSENT, same

Operation = tuple[Any, ...]

INS = "ins"
REM = "rem"
SET = "set"
MOV = "mov"
TXT = "txt"
INC = "inc"
TST = "tst"

# By any equal string, as unpickling gives, the kind that can be compared by identity.
KINDS: dict[Any, Any] = {kind: kind for kind in (INS, REM, SET, MOV, TXT, INC, TST)}

# Containers that a run of edits remembers as its own. A patch edits the same few.
OWN_MAX = 16


def missing(path: Path) -> KernelError:
    return KernelError(INVALID, f"nothing is at {shown(format_pointer(path))}")


def child_of(parent: Any, path: Path, depth: int) -> Any:
    """The child of `parent` at `path[depth]`."""
    token = path[depth]
    if type(parent) is dict:
        members: dict[Any, Any] = parent
        child = members.get(token, ABSENT)
        if child is not ABSENT:
            return child
    elif type(parent) is list and type(token) is int:
        items: list[Any] = parent
        if 0 <= token < len(items):
            return items[token]
    raise missing(path[: depth + 1])


def get(document: Any, path: Path) -> Any:
    """The value at a typed path; KernelError when there is none."""
    for depth in range(len(path)):
        document = child_of(document, path, depth)
    return document


def has(document: Any, path: Path) -> bool:
    """Is there a node at `path`, whose container exists?"""
    if not path:
        return True
    parent = get(document, path[:-1])
    token = path[-1]
    if type(parent) is dict:
        return token in parent
    return type(parent) is list and type(token) is int and token < len(parent)


def shallow(container: Any, path: Path, depth: int, budget: Budget) -> Any:
    """A copy of one container, the one at `path[:depth]`."""
    if type(container) is dict:
        members: dict[Any, Any] = container
        budget.charge_object(len(members))
        return members.copy()
    if type(container) is list:
        items: list[Any] = container
        budget.charge_array(len(items))
        return items[:]
    raise missing(path[: depth + 1])


def is_own(container: Any, own: list[Any] | None) -> bool:
    """Was the container copied by the run of edits that `own` belongs to?"""
    if own is None:
        return False
    for i in range(len(own)):
        if own[i] is container:
            return True
    return False


def copied(container: Any, path: Path, depth: int, own: list[Any] | None, budget: Budget) -> Any:
    """A copy of the container at `path[:depth]`, which is the run's own from now on."""
    copy = shallow(container, path, depth, budget)
    if own is not None:
        if len(own) >= OWN_MAX:
            own.clear()
        own.append(copy)
    return copy


def own_of(operations: Any) -> list[Any] | None:
    """The `own` of a run through `operations`; one alone has nothing to gain from it."""
    return [] if len(operations) > 1 else None


def apply(document: Any, operations: Any, budget: Budget | None) -> Any:
    """The document after `operations`; containers off their paths are shared with the old one."""
    draws = drawn(budget)
    own = own_of(operations)
    index = 0
    count = len(operations)
    try:
        while index < count:
            end = texts_upto(document, operations, index)
            if end > index + 1:
                document = apply_texts(document, operations, index, end, own, draws)
                index = end
            else:
                document = apply_one(document, operations[index], own, draws)
                index += 1
    except KernelError as error:
        if operations[index][0] == TST:
            error.test = tests_in(operations[:index])
        raise
    return document


def tests_in(operations: Any) -> int:
    """How many of the operations are tests."""
    return sum(operation[0] == TST for operation in operations)


def texts_upto(document: Any, operations: Any, first: int) -> int:
    """Where a series of edits of one long text that begins at `first` ends; `first` where none does."""
    if first + 1 == len(operations) or operations[first][0] != TXT or operations[first + 1][0] != TXT:
        return first
    path = operations[first][1]
    text = get(document, path)
    end = first
    if type(text) is str and len(text) > LONG_LENGTH:
        while end < len(operations) and operations[end][0] == TXT and operations[end][1] == path:
            end += 1
    return end


def apply_texts(
    document: Any, operations: Any, first: int, end: int, own: list[Any] | None, budget: Budget
) -> Any:
    """The document after the edits `first ... end` of one long text."""
    path = operations[first][1]
    text = long_text(get(document, path), budget)
    for i in range(first, end):
        budget.charge(ENTRY_UNITS + COMPONENT_UNITS * len(operations[i][2]))
        text.edit(operations[i][2], budget)
    return edited(document, SET, path, text.whole(budget), own, budget)


def apply_one(document: Any, operation: Operation, own: list[Any] | None, budget: Budget) -> Any:
    """The document after one operation.

    What is in `own` changes in place: containers that the same run of operations copied before, and that are
    in the run's document only. Where the document before the operation is needed afterwards, `own` is None.
    """
    given = operation[0]
    kind: Any = KINDS.get(given, given)
    path = operation[1]
    budget.charge(ENTRY_UNITS)
    if kind is TST:
        check_test(document, operation, budget)
        return document
    if kind is MOV:
        value = get(document, path)
        document = edited(document, REM, path, None, own, budget)
        place = after_remove(operation[2], path)
        return edited(document, INS if type(place[-1]) is int else SET, place, value, own, budget)
    return edited(document, kind, path, operation[2] if len(operation) > 2 else None, own, budget)


def check_test(document: Any, operation: Operation, budget: Budget) -> None:
    path = operation[1]
    if path is None:
        raise KernelError(CONFLICT, "what the patch tests was removed by a concurrent edit")
    try:
        found = get(document, path)
    except KernelError as error:
        raise KernelError(CONFLICT, error.message) from None
    if not same(found, operation[2], False, budget):
        raise KernelError(CONFLICT, f"the value at {shown(format_pointer(path))} is not the one tested for")


def edited(document: Any, kind: str, path: Path, argument: Any, own: list[Any] | None, budget: Budget) -> Any:
    """The document with one edit; the containers on `path` are the run's own."""
    last = len(path) - 1
    if last < 0:
        return edited_value(document, kind, argument, budget)
    budget.charge(LEVEL_UNITS * last)
    root = document if is_own(document, own) else copied(document, path, 0, own, budget)
    parent = root
    for depth in range(last):
        child = child_of(parent, path, depth)
        if not is_own(child, own):
            child = copied(child, path, depth + 1, own, budget)
            parent[path[depth]] = child
        parent = child
    edit_container(parent, kind, path, argument, budget)
    return root


def edit_container(parent: Any, kind: str, path: Path, argument: Any, budget: Budget) -> None:
    """Carry out an edit in its own, already copied container."""
    last = len(path) - 1
    token = path[last]
    if kind is INS:
        if type(parent) is not list or type(token) is not int or not 0 <= token <= len(parent):
            raise missing(path)
        budget.charge(len(parent) >> 1)
        parent.insert(token, argument)
    elif kind is SET and type(parent) is dict and type(token) is str:
        parent[token] = argument
    elif kind is REM:
        child_of(parent, path, last)
        if type(parent) is list:
            budget.charge((len(parent) - token) >> 1)
        del parent[token]
    else:
        parent[token] = edited_value(child_of(parent, path, last), kind, argument, budget)


def edited_value(value: Any, kind: str, argument: Any, budget: Budget) -> Any:
    """The new value of a node that stays where it is."""
    if kind is SET:
        return argument
    if kind is TXT:
        if type(value) is not str:
            raise KernelError(INVALID, "a text operation needs a string")
        budget.charge_text(value)
        budget.charge(COMPONENT_UNITS * len(argument))
        return apply_delta(value, argument)
    if kind is INC:
        if type(value) is not int:
            raise KernelError(INVALID, "inc needs an integer")
        return value + argument
    raise KernelError(INVALID, f"operation {shown(str(kind))} does not fit there")
