"""Conflicts: what an edit overwrote, or lost, on its way past concurrent changes.

Each operation of a patch is taken past the concurrent changes alone, and what its author saw at its place is
compared with what is there. An operation that survives as `set` or `rem` where the two differ *overwrote*
something; one that came to nothing, or a move that became a removal, was *dropped*, unless what it wanted is
so. Runs only where `rebase` says that there may be something to report.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import APART_UNITS, NODE_UNITS, PAIR_UNITS, Budget, drawn
from gateway.ot.kernel.documents import INC, INS, MOV, REM, SET, TST, TXT, Operation, apply, get
from gateway.ot.kernel.errors import KernelError
from gateway.ot.kernel.lower import Bounds, check_patch, lower_patch
from gateway.ot.kernel.paths import (
    Path,
    after_insert,
    after_move,
    after_remove,
    is_own_place,
    starts_with,
    written_pointer,
)
from gateway.ot.kernel.sets import comes_in, double_of, is_keyed, item_id, set_item
from gateway.ot.kernel.text import apply_delta
from gateway.ot.kernel.transform import (
    CALLS_PER_PAIR,
    CALLS_SPARE,
    Work,
    are_apart,
    is_written_over,
    known,
    pass_one,
)
from gateway.ot.kernel.values import ABSENT, DEPTH_UNBOUNDED, measure, same

OVERWROTE = "overwrote"
DROPPED = "dropped"

# What is reported of one edit: a person resolves these one by one.
CONFLICTS_MAX = 100
VALUE_BYTES_MAX = 4096


class Trace:
    """Where a place of the document before the concurrent changes is after them, and who wrote there last.

    `path` is what there is of it, `below` the rest, once something above it was given a value. `is_gone`: it,
    or something above it, was removed; `is_replaced`: given a value; `written`: the one that it was given
    itself, last. `change` is the index of the newest change that touched it, -1 where none did.
    """

    def __init__(self, path: Path, is_place: bool) -> None:
        self.path = path
        self.below: Path = ()
        self.is_place = is_place
        self.is_dead = False  # an element that went: its index means another one by now
        self.is_gone = False
        self.was_removed = False  # ... though something may be there again
        self.is_replaced = False
        self.written: Any = ABSENT
        self.change = -1
        self.around = -1  # the newest change that moved what the place is in

    def place(self) -> Path:
        """The place at head; of what went, where it was."""
        return self.path + self.below

    def step(self, operation: Operation, index: int) -> None:
        kind = operation[0]
        at = operation[1]
        if kind is TST or self.is_dead:
            return
        if starts_with(at, self.place()):
            self.change = index
        if kind is INS:
            self.path = after_insert(self.path, at, False)
        elif kind is REM:
            self.step_removal(at, index)
        elif kind is SET:
            self.step_value(at, operation[2], index)
        elif kind is MOV:
            self.step_move(operation, index)

    def step_value(self, at: Path, value: Any, index: int) -> None:
        if not starts_with(self.place(), at):
            return
        self.change = index
        self.is_gone = False
        self.is_replaced = True
        if len(at) < len(self.path):
            self.below = self.path[len(at) :] + self.below
            self.path = at
            self.written = ABSENT
        elif len(at) == len(self.path) + len(self.below):
            self.written = value

    def come_back(self, index: int) -> None:
        """The item of a set that went was added anew, in its old place."""
        self.path = self.place()
        self.below = ()
        self.is_place = False
        self.is_dead = False
        self.is_gone = False
        self.is_replaced = True
        self.change = index

    def step_removal(self, removed: Path, index: int) -> None:
        if starts_with(self.place(), removed):
            self.change = index
            self.is_gone = True
            self.was_removed = True
            self.written = ABSENT
            self.is_dead = type(removed[-1]) is int
            self.is_place = True  # what comes there later may move on without it
            if len(removed) < len(self.path):
                self.below = self.path[len(removed) :] + self.below
                self.path = removed
        elif not starts_with(removed, self.path):
            self.path = after_remove(self.path, removed)

    def step_move(self, operation: Operation, index: int) -> None:
        source = operation[1]
        target = operation[2]
        place = self.place()
        if starts_with(target, place):
            self.change = index
            if target == place:
                self.is_replaced = True
                self.is_gone = False
        elif starts_with(place, source):
            self.around = index
        if not self.below or not starts_with(source, self.path):
            self.path = after_move(self.path, source, target, self.is_place, False)


class Scene:
    """What one operation meets: what its author `seen`, what is `there`, and the `changes` that led there.

    The first two hold the operations of the patch before it; the changes are past these.
    """

    def __init__(self, seen: Any, there: Any, changes: list[Any], strategies: Any, work: Work) -> None:
        self.seen = seen
        self.there = there
        self.changes = changes
        self.strategies = strategies
        self.work = work

    def traced(self, path: Path, is_place: bool) -> Trace:
        """The place, carried past the changes, oldest first."""
        trace = Trace(path, is_place)
        for index in range(len(self.changes)):
            self.charge(index)
            for operation in self.changes[index]:
                if trace.is_dead and self.is_again(path, trace, operation):
                    trace.come_back(index)
                else:
                    trace.step(operation, index)
        return trace

    def is_again(self, path: Path, trace: Trace, operation: Operation) -> bool:
        """Does an operation put the item of a set, in which `path` was, into its old place again?"""
        if operation[0] is not INS or operation[1] != trace.path or not self.strategies:
            return False
        rule = self.strategies.get(trace.path[:-1])
        if not is_keyed(rule):
            return False
        key = item_id(value_at(self.seen, path[: len(path) - len(trace.below)]), rule)
        return key is not None and same(item_id(operation[2], rule), key, False, self.work.budget)

    def charge(self, index: int) -> None:
        """For a walk over one of the changes."""
        self.work.budget.charge(PAIR_UNITS * len(self.changes[index]))

    def is_same(self, one: Any, other: Any) -> bool:
        """Is it the same JSON, or absent on both sides?"""
        if one is ABSENT or other is ABSENT:
            return one is other
        return same(one, other, True, self.work.budget)

    def is_among(self, items: Any, wanted: Any) -> bool:
        """Is it one of the items, where these are an array?"""
        if type(items) is list:
            for item in items:
                if self.is_same(item, wanted):
                    return True
        return False


def conflicts(
    document: Any,
    patch: Any,
    window: Any,
    strategies: Any,
    depth_max: int,
    operations_max: int,
    copied_bytes_max: int,
    budget: Budget | None,
) -> list[dict[str, Any]]:
    """What the patch, made on `document`, meets in the changes of `window`, which came first, oldest first.

    `index` is the entry's place in the patch, `path` the pointer at head, `change` the place in `window` of
    the change that wrote `theirs`, -1 where none can be named.
    """
    check_patch(patch, operations_max)
    draws = drawn(budget)
    bounds = Bounds(depth_max, copied_bytes_max, None, draws)
    operations, _ = lower_patch(document, patch, strategies, bounds, False)
    operations = list(known(operations))
    draws.begin_merging()
    changes: list[Any] = [known(change) for change in window]
    if len(operations) == 1 and is_plain(operations[0], changes, strategies, draws):
        found = judge_plain(document, operations[0], changes, draws)
        for conflict in found:
            conflict["index"] = entry_of(bounds.ends)
    else:
        scene = staged(document, operations, changes, strategies, draws)
        found = found_conflicts(scene, operations, bounds.ends)
    draws.end_merging()
    return found


def is_plain(operation: Operation, changes: list[Any], strategies: Any, budget: Budget) -> bool:
    """Is it a `set` that each change surely leaves as it is: in another member, or at its very place?

    The usual case: a field that several people write. Then nothing has to be transformed.
    """
    if operation[0] is not SET or (strategies and set_item(operation, strategies) is not None):
        return False
    for change in changes:
        budget.charge(PAIR_UNITS + APART_UNITS * len(change))
        for other in change:
            if not (are_apart(operation, other) or is_written_over(other, operation, budget)):
                return False
    return True


def entry_of(ends: list[int]) -> int:
    """The entry of the patch that the only operation is of."""
    entry = 0
    while ends[entry] == 0:
        entry += 1
    return entry


def overwritten(
    seen: Any, operation: Operation, window: list[Any], budget: Budget | None
) -> list[dict[str, Any]]:
    """`conflicts` of a patch that is this one `set`, where `rebase` says ONLY_WRITES_OVER."""
    draws = drawn(budget)
    draws.begin_merging()
    found = judge_plain(seen, operation, window, draws)
    draws.end_merging()
    return found


def judge_plain(seen: Any, operation: Operation, changes: list[Any], budget: Budget) -> list[dict[str, Any]]:
    """What a plain `set` overwrites: what was written at its place last, if its author hasn't seen that."""
    path = operation[1]
    index = len(changes)
    while index > 0:
        index -= 1
        for other in reversed(changes[index]):
            if other[1] == path:
                base = value_at(seen, path)
                theirs = other[2]
                if base is not ABSENT and same(base, theirs, True, budget):
                    return []
                return [described(OVERWROTE, path, base, theirs, index, budget)]
    return []


def staged(
    document: Any, operations: list[Operation], changes: list[Any], strategies: Any, draws: Budget
) -> Scene:
    """The scene that the first operation meets; `changes` were made on `document`."""
    head = document
    calls = CALLS_SPARE
    own: list[Any] = []
    for change in changes:
        committed = list(change)
        head = apply(head, committed, draws)
        calls += CALLS_PER_PAIR * len(committed) * len(operations)
        own.append(committed)
    return Scene(document, head, own, strategies, Work(calls, draws))


def found_conflicts(scene: Scene, operations: list[Operation], ends: list[int]) -> list[dict[str, Any]]:
    """Operation by operation; `ends` says which entry each belongs to."""
    found: list[dict[str, Any]] = []
    entry = 0
    steps: list[Any] = []
    changes = scene.changes
    for operation in operations:
        results, changes = past_changes(operation, changes, scene.work)
        steps.append((results, changes))
    for index in range(len(operations)):
        operation = operations[index]
        while ends[entry] <= index:
            entry += 1
        results, changes = steps[index]
        if operation[0] is not TST:
            other = doubled(scene, results, steps, index)
            if other >= 0:
                conflict = judge_doubled(scene, operation, results[-1], other)
            else:
                conflict = judge(scene, operation, replacement(operations, index), results)
            if conflict is not None:
                conflict["index"] = entry
                found.append(conflict)
                if len(found) == CONFLICTS_MAX:
                    break
            scene.seen = apply(scene.seen, [operation], scene.work.budget)
            scene.there = apply(scene.there, results, scene.work.budget)
        scene.changes = changes
    return found


def past_changes(operation: Operation, changes: list[Any], work: Work) -> tuple[list[Operation], list[Any]]:
    """One operation past the changes, and the changes past it."""
    current: list[Operation] = [operation]
    passed: list[Any] = []
    for change in changes:
        work.budget.charge(PAIR_UNITS)
        crossed: list[Operation] = []
        for part in current:
            change = pass_one(part, change, crossed, work)
        current = crossed
        passed.append(change)
    return current, passed


def replacement(operations: list[Operation], index: int) -> Any:
    """The value that an operation wants at its place; a removal whose place is filled at once wants that."""
    operation = operations[index]
    if operation[0] is SET:
        return operation[2]
    if operation[0] is REM and index + 1 < len(operations):
        following = operations[index + 1]
        if following[0] is INS and following[1] == operation[1]:
            return following[2]
    return ABSENT


def judge(scene: Scene, operation: Operation, wanted: Any, results: list[Operation]) -> dict[str, Any] | None:
    """The conflict of one operation that became `results`, or None."""
    kind = operation[0]
    if kind is MOV:
        return judge_move(scene, operation, results)
    if not results or (kind is SET and results[-1][0] is REM):
        return judge_dropped(scene, operation, wanted)
    if kind is SET or kind is REM:
        return judge_written(scene, operation, wanted, results)
    return None


def judge_written(
    scene: Scene, operation: Operation, wanted: Any, results: list[Operation]
) -> dict[str, Any] | None:
    """A `set` or `rem` survives: did it take the place of something that its author hasn't seen?"""
    result = results[-1]
    base = value_at(scene.seen, operation[1])
    trace = scene.traced(operation[1], False)
    came_back = len(results) > 1 and are_under(results, trace.place())
    theirs = ABSENT
    if came_back:
        theirs = value_at(scene.there, trace.place())
    elif result[0] is not INS:  # a set that became an insertion: the element is gone
        theirs = value_at(apply(scene.there, results[:-1], scene.work.budget), result[1])
    if not scene.is_same(base, theirs) and (theirs is ABSENT or not scene.is_same(wanted, theirs)):
        return described(OVERWROTE, result[1], base, theirs, trace.change, scene.work.budget)
    if len(results) == 1 or came_back:
        return None
    # Others put something there and moved it on: it is removed where it is now.
    chased = results[0][1]
    theirs = value_at(scene.there, chased)
    return described(OVERWROTE, chased, ABSENT, theirs, trace.change, scene.work.budget)


def are_under(results: list[Operation], place: Path) -> bool:
    """Is all that a chase removes, before the last result, in the place again?"""
    return all(starts_with(result[1], place) for result in results[:-1])


def judge_move(scene: Scene, operation: Operation, results: list[Operation]) -> dict[str, Any] | None:
    source = operation[1]
    if results and results[-1][0] is MOV:
        if len(results) == 1 or results[0][0] is not REM:
            return None
        # Onto a member that is there by now.
        base = value_at(scene.seen, operation[2])
        theirs = value_at(scene.there, results[0][1])
        change = scene.traced(operation[2], True).change
        return described(OVERWROTE, results[0][1], base, theirs, change, scene.work.budget)
    trace = Trace(source, False)
    target = Trace(operation[2], True)
    stands = follow_both(scene, trace, target)
    if not (results or trace.was_removed or trace.below) and stands:
        return None
    change = max(trace.change, target.change)
    if change < 0:
        change = max(trace.around, target.around)
    path = results[-1][1] if results else trace.place()
    return described(DROPPED, path, value_at(scene.seen, source), ABSENT, change, scene.work.budget)


def follow_both(scene: Scene, source: Trace, target: Trace) -> bool:
    """Carry a move's ends past the changes: did these bring its node to where it was wanted?"""
    stands = False
    for index in range(len(scene.changes)):
        scene.charge(index)
        for operation in scene.changes[index]:
            if operation[0] is MOV and operation[1] == source.path:
                stands = False
            source.step(operation, index)
            target.step(operation, index)
            stands = stands or is_standing(source, target)
    return stands


def is_standing(source: Trace, target: Trace) -> bool:
    if source.below or target.below or type(source.path[-1]) is not type(target.path[-1]):
        return False
    return is_own_place(source.path, target.path)


def judge_dropped(scene: Scene, operation: Operation, wanted: Any) -> dict[str, Any] | None:
    """An operation came to nothing: is what it wanted so all the same?"""
    kind = operation[0]
    path = operation[1]
    if kind is INS:
        return judge_lost_item(scene, operation)
    trace = scene.traced(path, False)
    theirs = ABSENT if trace.is_dead else value_at(scene.there, trace.place())
    base = value_at(scene.seen, path)
    if kind is SET:
        if scene.is_same(wanted, trace.written):
            return None  # somebody wrote the same; what became of that since was meant
    elif kind is REM:
        if trace.is_gone or not is_kept(scene, path, base, trace.place()):
            return None
    elif kind is TXT:
        if not (trace.is_gone or trace.is_replaced):
            return None  # what it deletes was deleted by others
        wanted = apply_delta(base, operation[2])
    elif kind is INC:
        wanted = base + operation[2]
    if theirs is not ABSENT and scene.is_same(wanted, theirs):
        return None
    return described(DROPPED, trace.place(), base, theirs, trace.change, scene.work.budget)


def is_kept(scene: Scene, path: Path, base: Any, place: Path) -> bool:
    """Is what was to be removed in the value that took the place of what it was in?

    A member of that name is; an element is where one like it is.
    """
    if type(path[-1]) is str:
        return value_at(scene.there, place) is not ABSENT
    return scene.is_among(value_at(scene.there, place[:-1]), base)


def judge_lost_item(scene: Scene, operation: Operation) -> dict[str, Any] | None:
    """What an insertion was made into is gone, or is another array by now."""
    path = operation[1]
    trace = scene.traced(path[:-1], False)
    items = ABSENT if trace.is_dead else value_at(scene.there, trace.place())
    if scene.is_among(items, operation[2]):
        return None
    return described(DROPPED, (*trace.place(), path[-1]), ABSENT, ABSENT, trace.change, scene.work.budget)


def doubled(scene: Scene, results: list[Operation], steps: list[Any], index: int) -> int:
    """Where in a set the item stands for whose id `normalise` leaves out what an operation became, or -1.

    `steps` are the operations of the patch past the changes; this one's is at `index`.
    """
    if not scene.strategies or not results:
        return -1
    budget = scene.work.budget
    there = apply(scene.there, results[:-1], budget)
    other = double_of(there, results[-1], (), scene.strategies, budget)
    if other < 0 or index + 1 == len(steps):
        return other
    rest: list[Operation] = []
    for step in steps[index + 1 :]:
        budget.charge(NODE_UNITS)
        rest.extend(step[0])
    return double_of(there, results[-1], rest, scene.strategies, budget)


def judge_doubled(scene: Scene, operation: Operation, result: Operation, other: int) -> dict[str, Any] | None:
    """What gives an item the id of another, the one at `other`, is left out: what came first stays."""
    item = set_item(result, scene.strategies)
    container = item[:-1]
    place = result[2] if result[0] is MOV else result[1]
    path = (*container, other, *place[len(item) :])
    theirs = value_at(scene.there, path)
    if result[0] is not TXT and result[0] is not INC and len(place) == len(item):
        wanted = value_at(scene.there, result[1]) if result[0] is MOV else result[2]
        if scene.is_same(wanted, theirs):
            return None
    base = ABSENT if comes_in(result, item) else value_at(scene.seen, operation[1])
    return described(DROPPED, path, base, theirs, writer_at(scene, container, other), scene.work.budget)


def writer_at(scene: Scene, container: Path, place: int) -> int:
    """The newest change that wrote in an item of the head, followed back from there."""
    depth = len(container)
    index = len(scene.changes)
    while index > 0:
        index -= 1
        scene.charge(index)
        for operation in reversed(scene.changes[index]):
            at = operation[1]
            if operation[0] is MOV or len(at) <= depth or not starts_with(at, container):
                continue
            position = at[depth]
            is_whole = len(at) == depth + 1
            if type(position) is not int:
                continue
            if position == place and not (operation[0] is REM and is_whole):
                return index
            if operation[0] is INS and is_whole and position < place:
                place -= 1
            elif operation[0] is REM and is_whole and position <= place:
                place += 1
    return -1


def value_at(document: Any, path: Path) -> Any:
    """The value at a path, ABSENT where there is none."""
    try:
        return get(document, path)
    except KernelError:
        return ABSENT


def described(kind: str, path: Path, base: Any, theirs: Any, change: int, budget: Budget) -> dict[str, Any]:
    """The report, without `base` or `theirs` where there was nothing; `omitted` names those too large.

    `index` is 0, the entry of a patch of one.
    """
    pointer = written_pointer(path, budget)
    report: dict[str, Any] = {"index": 0, "path": pointer, "kind": kind, "change": change}
    omitted: list[str] = []
    for name, value in (("base", base), ("theirs", theirs)):
        if value is ABSENT:
            continue
        if is_small(value):
            report[name] = value
        else:
            omitted.append(name)
    if omitted:
        report["omitted"] = omitted
    return report


def is_small(value: Any) -> bool:
    if type(value) is str and len(value) < VALUE_BYTES_MAX >> 2:  # at most four bytes a character
        return True
    try:
        measure(value, DEPTH_UNBOUNDED, VALUE_BYTES_MAX)
    except KernelError:
        return False
    return True
