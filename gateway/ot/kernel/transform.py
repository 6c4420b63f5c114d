"""Transformation of concurrent operations (docs/reference/merging.md#transform).

`against(a, b, later)` is T(a, b): what `a` becomes after `b`, both defined on one document. `later` tells
whether `a` comes after `b` in the server's order. [] means that nothing is left to do. With it TP1 holds:
b then T(a, b) gives the document that a then T(b, a) gives. One server orders all changes, so TP1 is enough.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import APART_UNITS, COMPONENT_UNITS, PAIR_UNITS, STEP_UNITS, Budget, drawn
from gateway.ot.kernel.documents import INC, INS, KINDS, MOV, REM, SET, TST, TXT, Operation
from gateway.ot.kernel.errors import CONFLICT, KernelError
from gateway.ot.kernel.paths import (
    Path,
    after_insert,
    after_move,
    after_remove,
    is_inside,
    is_own_place,
    is_same_place,
    shares,
    starts_with,
)
from gateway.ot.kernel.text import transform_delta
from gateway.ot.kernel.values import same

CALLS_PER_PAIR = 20
CALLS_SPARE = 1000

# What a list lost on its way past another, as bits.
EARLIER_MOVE_CUT = 1  # a move of the earlier list became a removal
LATER_GONE = 2  # an operation of the later list became nothing
LATER_WRITE_LOST = 4  # ... and it was no removal; or a move of it became a removal
LATER_WRITES_OVER = 8  # an operation of the later list replaces or removes what the earlier one wrote
ONLY_WRITES_OVER = 16  # ... and that is all: one `set`, beside operations at its very place or elsewhere


def moved_to(operation: Operation, path: Path) -> Operation:
    """The same operation at another path."""
    if path is operation[1]:
        return operation
    return (operation[0], path) if len(operation) == 2 else (operation[0], path, operation[2])


def against(a: Operation, b: Operation, later: bool) -> list[Operation]:
    """T(a, b)."""
    result = past(known([a])[0], known([b])[0], later, drawn(None))
    return result if type(result) is list else [result]


def known(operations: Any) -> Any:
    """`operations` with kinds that can be compared by identity, as all of this module does.

    Comparing seven strings of three letters by value was a fifth of a transformation. Operations that were
    pickled have equal kinds, but not the same ones.
    """
    for operation in operations:
        if not is_known(operation):
            return [(KINDS.get(other[0], other[0]), *other[1:]) for other in operations]
    return operations


def is_known(operation: Operation) -> bool:
    """Can the operation's kind be compared by identity?"""
    kind = operation[0]
    return (
        kind is SET or kind is INS or kind is REM or kind is MOV or kind is TXT or kind is INC or kind is TST
    )


def past(a: Operation, b: Operation, later: bool, budget: Budget) -> Any:
    """T(a, b): the operation where it is exactly one, which spares a list, else a list."""
    at = b[1]
    budget.charge(PAIR_UNITS if at is None else PAIR_UNITS + STEP_UNITS * len(at))
    if a[1] is None:
        return a
    if a[0] is MOV:
        return move_against(a, b, later)
    kind = b[0]
    if kind is SET:
        return against_set(a, b, later, budget)
    if kind is INS:
        return moved_to(a, after_insert(a[1], b[1], not later and a[0] is INS))
    if kind is REM:
        return against_remove(a, b[1], later)
    if kind is MOV:
        return against_move(a, b, later)
    if kind is TXT and a[0] is TXT and a[1] == b[1]:
        budget.charge(COMPONENT_UNITS * (len(a[2]) + len(b[2])))
        delta = transform_delta(a[2], b[2], later)
        return (TXT, a[1], delta) if delta else []
    return a  # a test or an increment changes no other operation


def gone(a: Operation) -> Any:
    """What is left of an operation whose target went: nothing, but a test that now fails stays one."""
    return (TST, None, a[2]) if a[0] is TST else []


def against_remove(a: Operation, removed: Path, later: bool) -> Any:
    path = a[1]
    if not starts_with(path, removed):
        return moved_to(a, after_remove(path, removed))
    kind = a[0]
    if len(path) > len(removed):
        return gone(a)
    if kind is INS:
        return a
    if kind is SET and later:
        return (INS, path, a[2]) if type(path[-1]) is int else a
    return gone(a)


def against_set(a: Operation, b: Operation, later: bool, budget: Budget) -> Any:
    path = a[1]
    at = b[1]
    if not starts_with(path, at):
        return a
    kind = a[0]
    if len(path) > len(at):
        return gone(a)
    if kind is SET:
        return a if later and not same(a[2], b[2], True, budget) else []
    if kind is INS or kind is TST or (kind is REM and later):
        return a
    return []


def against_move(a: Operation, b: Operation, later: bool) -> Any:
    """T(a, b) of any `a` but a move against a move."""
    kind = a[0]
    path = a[1]
    source = b[1]
    target = b[2]
    if kind is SET and path == target and type(path[-1]) is str:
        return (SET, after_remove(path, source), a[2]) if later else []
    result = moved_to(a, after_move(path, source, target, kind is INS, not later))
    if (kind is REM or kind is SET) and is_inside(source, path) and not is_inside(target, path):
        # Delete chases: what was moved out of the deleted or replaced node goes too.
        destination = after_remove(target, source)
        return [(REM, destination), moved_to(result, after_remove(result[1], destination))]
    return result


def move_against(a: Operation, b: Operation, later: bool) -> Any:
    """T(a, b) of a move against anything."""
    kind = b[0]
    at = b[1]
    source = a[1]
    target = a[2]
    if kind is INS:
        return move(a, after_insert(source, at, False), after_insert(target, at, not later))
    if kind is REM:
        if starts_with(source, at):
            return []
        if is_inside(target, at):
            return (REM, after_remove(source, at))
        return move(a, after_remove(source, at), after_remove(target, at))
    if kind is SET:
        if is_inside(source, at):
            return []
        if target == at and type(at[-1]) is str:
            return [(REM, at), a] if later else (REM, source)
        if is_inside(target, at):
            return (REM, source)
    if kind is MOV:
        return move_against_move(a, b, later)
    return a


def move(a: Operation, source: Path, target: Path) -> Any:
    """The move `a` with other coordinates, or nothing where it would end on its own place."""
    if source is a[1] and target is a[2]:
        return a
    return [] if is_own_place(source, target) else (MOV, source, target)


def inverse_move(source: Path, target: Path) -> Operation:
    """The move that puts the node back, in coordinates after the move."""
    destination = after_remove(target, source)
    back = source if type(destination[-1]) is str else after_insert(source, destination, False)
    return (MOV, destination, back)


def move_against_move(a: Operation, b: Operation, later: bool) -> Any:
    source = a[1]
    target = a[2]
    other_source = b[1]
    other_target = b[2]
    if source == other_source:
        if not later:
            return []
        onward = after_move(target, other_source, other_target, True, False)
        return move(a, after_remove(other_target, other_source), onward)
    if is_inside(target, other_source) and is_inside(other_target, source):  # a cycle
        return [] if later else [inverse_move(other_source, other_target), a]
    if target == other_target and type(target[-1]) is str:
        return same_member(a, b, later)
    return move(
        a,
        after_move(source, other_source, other_target, False, False),
        after_move(target, other_source, other_target, True, not later),
    )


def same_member(a: Operation, b: Operation, later: bool) -> Any:
    """Two moves of different nodes onto one member: the later one has it."""
    source = a[1]
    other_source = b[1]
    other_target = b[2]
    if later and starts_with(source, other_source):
        return []
    if not later and starts_with(other_source, source):
        return [inverse_move(other_source, other_target), a]
    onward = after_move(source, other_source, other_target, False, False)
    if not later:
        return (REM, onward)
    place = after_remove(other_target, other_source)
    return [(REM, place), (MOV, onward, place)]


def loss(operation: Operation, result: Any) -> int:
    """The loss bits of T(operation, b, earlier)."""
    if type(result) is not list and operation[0] is MOV and result[0] is REM:
        return EARLIER_MOVE_CUT
    return 0


def later_loss(operation: Operation, b: Operation, result: Any) -> int:
    """The loss bits of T(operation, b, later)."""
    kind = operation[0]
    if type(result) is list:
        if result:
            return LATER_WRITES_OVER
        return LATER_GONE if kind is REM else LATER_GONE | LATER_WRITE_LOST
    if kind is MOV:
        return LATER_WRITE_LOST if result[0] is REM else 0
    if b[1] is not None and (kind is SET or kind is REM):
        path = operation[1]
        if starts_with(b[1], path) or (b[0] is MOV and starts_with(b[2], path)):
            return LATER_WRITES_OVER
    return 0


class Work:
    """What one transformation of lists may still do, and what it lost so far."""

    def __init__(self, calls_left: int, budget: Budget) -> None:
        self.calls_left = calls_left
        self.budget = budget
        self.losses = 0


def transform(
    earlier: Any, later: Any, calls_per_pair: int, calls_spare: int, budget: Budget | None
) -> tuple[list[Operation], list[Operation], int]:
    """Two concurrent lists, each past the other, and the loss bits."""
    work = Work(calls_per_pair * len(earlier) * len(later) + calls_spare, drawn(budget))
    passed = list(known(earlier))
    crossed: list[Operation] = []
    for operation in known(later):
        passed = pass_one(operation, passed, crossed, work)
    return passed, crossed, work.losses


def pass_one(
    operation: Operation, earlier: list[Operation], crossed: list[Operation], work: Work
) -> list[Operation]:
    """Take one later operation past all earlier ones, to `crossed`; the earlier ones past it."""
    passed: list[Operation] = []
    work.budget.charge(APART_UNITS * len(earlier))
    for index in range(len(earlier)):
        other = earlier[index]
        if are_apart(operation, other):
            passed.append(other)
            continue
        own = meet(other, operation, passed, work)
        if type(own) is list:
            rest = earlier[index + 1 :]
            passed.extend(pass_several(own, rest, crossed, work) if own else rest)
            return passed
        operation = own
    crossed.append(operation)
    return passed


def pass_several(
    operations: list[Operation], earlier: list[Operation], crossed: list[Operation], work: Work
) -> list[Operation]:
    """As `pass_one`, for what one operation became.

    Lay the lists out as the word e_n' .. e_1' l_1 .. l_m, in which a prime means "undone": rewrite each
    neighbouring pair e' l to T(l, e) T(e, l)' until every l stands left. No recursion, so a chain of
    expansions costs work, which is capped, but never stack.
    """
    earlier.reverse()  # the earlier operations to be met, the next one last
    ahead: list[Operation] = operations[::-1]  # the rest of the word, its first symbol last
    is_later: list[bool] = [True] * len(ahead)
    while ahead:
        operation = ahead.pop()
        if not is_later.pop():
            earlier.append(operation)
        elif not earlier:
            crossed.append(operation)
        else:
            others: list[Operation] = []
            own = meet(earlier.pop(), operation, others, work)
            for expanded in others:
                ahead.append(expanded)
                is_later.append(False)
            for expanded in reversed(own) if type(own) is list else (own,):
                ahead.append(expanded)
                is_later.append(True)
    earlier.reverse()
    return earlier


def meet(earlier: Operation, later: Operation, passed: list[Operation], work: Work) -> Any:
    """Both transformations of a pair: T(earlier, later) goes to `passed`, T(later, earlier) is returned."""
    work.calls_left -= 1
    if work.calls_left < 0:
        raise KernelError(CONFLICT, "the edit meets too many concurrent ones to be merged")
    others = past(earlier, later, False, work.budget)
    own = past(later, earlier, True, work.budget)
    work.losses |= loss(earlier, others) | later_loss(later, earlier, own)
    if type(others) is list:
        if others:
            passed.extend(others)
    else:
        passed.append(others)
    return own


def are_apart(a: Operation, b: Operation) -> bool:
    """Do two operations surely not meet, being in different members of the root? The usual case."""
    path = a[1]
    at = b[1]
    if path is at or not path or not at or shares(path, at, 1):
        return False
    return type(at[0]) is str and a[0] is not MOV and b[0] is not MOV


def is_written_over(earlier: Operation, later: Operation, budget: Budget) -> bool:
    """Is a later operation surely the same past an earlier one, for it is written over it?"""
    if later[0] is SET and earlier[0] is SET and is_same_place(later[1], earlier[1]):
        return not same(later[2], earlier[2], True, budget)
    return False


def same_after(earlier: Operation, later: Operation, work: Work) -> Operation | None:
    """A later operation past an earlier one where it surely stays the same, as most do; else None.

    It takes over an equal path: what is compared with the next change at that place is one object then.
    """
    if not is_known(earlier):
        return None
    if are_apart(later, earlier):
        return later
    if not is_written_over(earlier, later, work.budget):
        return None
    work.losses |= LATER_WRITES_OVER
    return moved_to(later, earlier[1])


def rebase(operations: Any, window: Any, budget: Budget | None) -> tuple[list[Operation], int]:
    """`operations` past a sequence of committed lists, and the loss bits: 0 where there is no conflict."""
    current: list[Operation] = list(known(operations))
    work = Work(0, drawn(budget))
    work.budget.begin_merging()
    stays = True
    for change in window:
        work.budget.charge(PAIR_UNITS + APART_UNITS * len(change))
        if len(change) == 1 and len(current) == 1:
            same_one = same_after(change[0], current[0], work)
            if same_one is not None:
                current[0] = same_one
                continue
        stays = False
        committed = list(known(change))
        work.calls_left = CALLS_PER_PAIR * len(committed) * len(current) + CALLS_SPARE
        current = pass_all(current, committed, work)
    work.budget.end_merging()
    if stays and work.losses:
        work.losses |= ONLY_WRITES_OVER
    return current, work.losses


def pass_all(operations: list[Operation], earlier: list[Operation], work: Work) -> list[Operation]:
    """Later operations past earlier ones, which are done with then: the last one need not move them."""
    crossed: list[Operation] = []
    last = len(operations) - 1
    work.budget.charge(APART_UNITS * len(earlier))
    for index in range(last):
        earlier = pass_one(operations[index], earlier, crossed, work)
    if last < 0:
        return crossed
    operation = operations[last]
    for index in range(len(earlier)):
        other = earlier[index]
        if not are_apart(operation, other):
            own = past(operation, other, True, work.budget)
            work.losses |= later_loss(operation, other, own)
            if type(own) is list:
                if own:
                    pass_several(own, earlier[index + 1 :], crossed, work)
                return crossed
            operation = own
    crossed.append(operation)
    return crossed
