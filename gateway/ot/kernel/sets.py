# ruff: noqa: PERF401 (plain loops compile to C, comprehensions do not)
"""Arrays that are sets: items that are their own ids, or have one. A `grow` is a set that nothing leaves."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from gateway.ot.kernel.budget import MEMBER_UNITS, NODE_UNITS, Budget, drawn
from gateway.ot.kernel.documents import (
    INS,
    KINDS,
    MOV,
    REM,
    SET,
    TST,
    Operation,
    apply,
    edited_value,
    get,
)
from gateway.ot.kernel.errors import INVALID, KernelError
from gateway.ot.kernel.paths import Path, format_pointer, is_same_place, shown, starts_with
from gateway.ot.kernel.values import same

GROW = "grow"
# Beyond so many operations an array that is replaced is replaced whole.
SET_OPERATIONS_MAX = 1000


def is_keyed(rule: Any) -> bool:
    """Is it the rule of a set, growing or not?"""
    return type(rule) is tuple and (rule[0] == SET or rule[0] == GROW)


def is_own_id(rule: Any) -> bool:
    """Are a set's items their own ids?"""
    return len(rule) < 2 or rule[1] is None


def item_id(item: Any, rule: Any) -> Any:
    """The id of a set's item: the item itself, or its member `rule[1]`; None where it has none."""
    if is_own_id(rule):
        return item
    return item.get(rule[1]) if type(item) is dict else None


def index_of(items: list[Any], value: Any, rule: Any, budget: Budget) -> int:
    """Where in a set an item with the same id stands, or -1."""
    return place_of_id(items, item_id(value, rule), rule, 0, budget)


def place_of_id(items: list[Any], key: Any, rule: Any, first: int, budget: Budget) -> int:
    """Where in a set, from an index on, an item with the id stands, or -1."""
    if key is None:
        return -1
    units = NODE_UNITS if is_own_id(rule) else MEMBER_UNITS + NODE_UNITS
    budget.charge(units * (len(items) - first))
    for index in range(first, len(items)):
        if same(item_id(items[index], rule), key, False, budget):
            return index
    return -1


def set_item(operation: Operation, strategies: Any) -> Any:
    """The item of a set to which an operation may give an id: its place or gap. None where there is none."""
    kind = operation[0]
    place = operation[2] if kind == MOV else operation[1]
    if kind in (REM, TST) or place is None:
        return None
    size = len(place)
    if size > 0 and type(place[size - 1]) is int:
        container = place[: size - 1]
        if not is_keyed(strategies.get(container)) or is_within(operation, container):
            return None
        return place
    if size > 1 and type(place[size - 2]) is int:
        rule = strategies.get(place[: size - 2])
        if is_keyed(rule) and not is_own_id(rule) and rule[1] == place[size - 1]:
            return place[: size - 1]
    return None


def is_within(operation: Operation, container: Path) -> bool:
    """Does an operation move an item inside the array?"""
    return (
        operation[0] == MOV
        and is_same_place(operation[1][:-1], container)
        and is_same_place(operation[2][:-1], container)
    )


def comes_in(operation: Operation, item: Path) -> bool:
    """Does an operation bring a set its `item`, rather than change it?"""
    return bool(operation[0] == INS or (operation[0] == MOV and item is operation[2]))


def id_given(document: Any, operation: Operation, item: Path, rule: Any, budget: Budget) -> Any:
    """The id that an operation gives to an item of a set; None where it has none, or that one already."""
    kind = operation[0]
    if kind in (INS, SET):
        value = operation[2]
    else:
        value = get(document, operation[1])
        if kind != MOV:
            value = edited_value(value, KINDS[kind], operation[2], budget)
    is_whole = item is operation[1] or item is operation[2]
    key = item_id(value, rule) if is_whole else value
    if comes_in(operation, item) or key is None:
        return key
    return None if same(item_id(get(document, item), rule), key, False, budget) else key


def double_of(document: Any, operation: Operation, rest: Any, strategies: Any, budget: Budget) -> int:
    """The other item of a set with the id that an operation gives to one: where that stands, or -1.

    `rest` are the operations that follow. An id that they take away again, or that the operation moves over
    from that item, isn't there twice. Tests aren't run: what they find depends on what is left out.
    """
    item = set_item(operation, strategies)
    if item is None:
        return -1
    container = item[:-1]
    rule = strategies[container]
    key = id_given(document, operation, item, rule, budget)
    known = place_of_id(get(document, container), key, rule, 0, budget)
    following = [operation, *rest] if operation[0] == MOV else rest
    if known >= 0 and last_taking(following, container, rule, budget) >= 0:
        edits = [one for one in [operation, *rest] if one[0] != TST]
        after = items_at(apply(document, edits, budget), container)
        first = place_of_id(after, key, rule, 0, budget)
        if first < 0 or place_of_id(after, key, rule, first + 1, budget) < 0:
            return -1
    return known


def items_at(document: Any, container: Path) -> list[Any]:
    """The array at a path; an empty one where there is none."""
    try:
        items = get(document, container)
    except KernelError:
        return []
    return items if type(items) is list else []


def last_taking(operations: Any, container: Path, rule: Any, budget: Budget) -> int:
    """The last of the operations that may take an id out of the set at `container`: its index, or -1."""
    budget.charge(NODE_UNITS * len(operations))
    for index in range(len(operations) - 1, -1, -1):
        operation = operations[index]
        if operation[0] in (INS, TST) or is_within(operation, container):
            continue
        if touches_id(operation[1], container, rule):
            return index
    return -1


def touches_id(path: Path, container: Path, rule: Any) -> bool:
    """Is a path that of an id in a set, or of what that is in?"""
    depth = len(container)
    if len(path) <= depth:
        return starts_with(container, path)
    if not starts_with(path, container):
        return False
    return len(path) == depth + 1 or is_own_id(rule) or path[depth + 1] == rule[1]


def keys_of(items: list[Any], rule: Any) -> list[Any] | None:
    """The ids of all items in a form that can be looked up; None where one has none such."""
    keys: list[Any] = []
    for item in items:
        key = item_id(item, rule)
        if type(key) is bool:
            key = (key,)  # True is not 1
        elif type(key) is not str and type(key) is not int and type(key) is not float:
            return None
        keys.append(key)
    return keys


def without_doubles(items: list[Any], keys: list[Any]) -> tuple[list[Any], list[Any]]:
    """Of each id one item, as if they were added one by one: the last one, in the place of the first."""
    last = dict(zip(keys, items, strict=True))
    return list(last.values()), list(last)


def replacing(
    path: Path, old: list[Any], new: list[Any], rule: Any, budget: Budget
) -> list[Operation] | None:
    """What leads from one array to another as sets: removals, then insertions and moves, then item changes.

    None where items can't be told apart, or where it would be too many operations: the array is then one
    value.
    """
    budget.charge(4 * NODE_UNITS * (len(old) + len(new)))
    keys = keys_of(old, rule)
    new_keys = keys_of(new, rule)
    if keys is None or new_keys is None or len(set(keys)) < len(keys):
        return None
    new, new_keys = without_doubles(new, new_keys)
    operations: list[Operation] = []
    wanted = set(new_keys)
    for index in range(len(keys) - 1, -1, -1):
        if keys[index] not in wanted:
            operations.append((REM, (*path, index)))
    kept = [key for key in keys if key in wanted]
    place_items(path, kept, new, new_keys, operations, budget)
    before = dict(zip(keys, old, strict=True))
    for index, key in enumerate(new_keys):
        if key in before:
            change_item((*path, index), before[key], new[index], operations, budget)
    return operations if len(operations) <= SET_OPERATIONS_MAX else None


def place_items(
    path: Path,
    present: list[Any],
    new: list[Any],
    new_keys: list[Any],
    operations: list[Operation],
    budget: Budget,
) -> None:
    """Bring the ids that are there into their new order and insert the others, from the end on."""
    budget.charge(NODE_UNITS * (len(present) + len(new_keys)))
    staying = in_order(present, new_keys)
    known = set(present)
    gap = len(present)
    for index in range(len(new_keys) - 1, -1, -1):
        key = new_keys[index]
        if key in staying:
            gap -= 1
            while present[gap] != key:
                gap -= 1
            continue
        if len(operations) > SET_OPERATIONS_MAX:
            return
        if key not in known:
            operations.append((INS, (*path, gap), new[index]))
        else:
            budget.charge(NODE_UNITS * len(present))
            source = present.index(key)
            operations.append((MOV, (*path, source), (*path, gap)))
            del present[source]
            if source < gap:
                gap -= 1
        budget.charge(len(present))
        present.insert(gap, key)


def in_order(present: list[Any], new_keys: list[Any]) -> set[Any]:
    """The most ids that stand in the new order already (a longest increasing subsequence)."""
    places = {key: index for index, key in enumerate(new_keys)}
    tops: list[int] = []  # the smallest place at which a run of each length ends
    ends: list[Any] = []  # the id there
    before: dict[Any, Any] = {}  # the one before it in its run
    for key in present:
        length = bisect_left(tops, places[key])
        before[key] = ends[length - 1] if length else None
        if length == len(tops):
            tops.append(places[key])
            ends.append(key)
        else:
            tops[length] = places[key]
            ends[length] = key
    found: set[Any] = set()
    count = len(tops)
    while count:
        key = ends[-1] if not found else before[key]
        found.add(key)
        count -= 1
    return found


def change_item(path: Path, old: Any, new: Any, operations: list[Operation], budget: Budget) -> None:
    """What makes one item another with the same id: an object changes member by member."""
    if same(old, new, True, budget):
        return
    if type(old) is not dict or type(new) is not dict:
        operations.append((SET, path, new))
        return
    for name in in_utf16_order(old):
        if name not in new:
            operations.append((REM, (*path, name)))
    for name in in_utf16_order(new):
        if name not in old or not same(old[name], new[name], True, budget):
            operations.append((SET, (*path, name), new[name]))


def in_utf16_order(names: Any) -> list[str]:
    """Member names sorted by UTF-16 code units, as in RFC 8785: an order that every language has."""
    return sorted(names, key=utf16)


def utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def keeps_items(old: Any, new: list[Any], rule: Any, budget: Budget) -> bool:
    """Is every item of an array that only grows still there?"""
    if type(old) is not list:
        return True
    budget.charge(NODE_UNITS * (len(old) + len(new)))
    keys = keys_of(old, rule)
    new_keys = keys_of(new, rule)
    if keys is not None and new_keys is not None:
        return set(keys).issubset(new_keys)
    at = 0  # where the next one is looked for first: most stand as they stood
    for item in old:
        key = item_id(item, rule)
        if key is None:
            continue
        budget.charge(NODE_UNITS)
        if at >= len(new) or not same(item_id(new[at], rule), key, False, budget):
            at = place_of_id(new, key, rule, 0, budget)
            if at < 0:
                return False
        at += 1
    return True


def check_growing(document: Any, after: Any, operations: Any, strategies: Any, budget: Budget | None) -> None:
    """Refuse operations that take something out of an array that only grows. Deleting the document may."""
    if not strategies or after is None:
        return
    draws = drawn(budget)
    for path, rule in strategies.items():
        if type(rule) is str or rule[0] != GROW or last_taking(operations, path, rule, draws) < 0:
            continue
        if not keeps_items(items_at(document, path), items_at(after, path), rule, draws):
            raise only_grows(path)


def only_grows(path: Path) -> KernelError:
    return KernelError(INVALID, f"{shown(format_pointer(path))} only grows: nothing can be taken out of it")
