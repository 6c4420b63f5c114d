# ruff: noqa: PERF401 (plain loops compile to C, comprehensions do not)
"""Arrays that are sets: items that are their own ids, or have one. A `grow` is a set that nothing leaves."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from gateway.ot.kernel.budget import MEMBER_UNITS, NODE_UNITS, Budget
from gateway.ot.kernel.documents import INS, MOV, REM, SET, Operation
from gateway.ot.kernel.paths import Path
from gateway.ot.kernel.values import same

GROW = "grow"
# Beyond so many operations an array that is replaced is replaced whole.
SET_OPERATIONS_MAX = 1000


def is_keyed(rule: Any) -> bool:
    """Is it the rule of a set, growing or not?"""
    return type(rule) is tuple and (rule[0] == SET or rule[0] == GROW)


def item_id(item: Any, rule: Any) -> Any:
    """The id of a set's item: the item itself, or its member `rule[1]`; None where it has none."""
    if len(rule) < 2 or rule[1] is None:
        return item
    return item.get(rule[1]) if type(item) is dict else None


def index_of(items: list[Any], value: Any, rule: Any, budget: Budget) -> int:
    """Where in a set an item with the same id stands, or -1."""
    key = item_id(value, rule)
    if key is None:
        return -1
    budget.charge((NODE_UNITS if key is value else MEMBER_UNITS + NODE_UNITS) * len(items))
    for index, item in enumerate(items):
        if same(item_id(item, rule), key, False, budget):
            return index
    return -1


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
    staying = in_order(present, new_keys)
    known = set(present)
    gap = len(present)
    for index in range(len(new_keys) - 1, -1, -1):
        key = new_keys[index]
        if key in staying:
            gap = place_of(present, key, budget)
            continue
        if len(operations) > SET_OPERATIONS_MAX:
            return
        if key not in known:
            operations.append((INS, (*path, gap), new[index]))
        else:
            source = place_of(present, key, budget)
            operations.append((MOV, (*path, source), (*path, gap)))
            del present[source]
            if source < gap:
                gap -= 1
        budget.charge(len(present))
        present.insert(gap, key)


def place_of(keys: list[Any], key: Any, budget: Budget) -> int:
    budget.charge(NODE_UNITS * len(keys))
    return keys.index(key)


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


def keeps_items(old: Any, new: Any, rule: Any, budget: Budget) -> bool:
    """Is every item of an array that only grows still there?"""
    if type(old) is not list or not old:
        return True
    if type(new) is not list:
        return False
    for item in old:
        if item_id(item, rule) is not None and index_of(new, item, rule, budget) < 0:
            return False
    return True
