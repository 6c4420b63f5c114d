"""Merging three states where the log is gone: what two sides made of one document.

Registers are merged three ways (both changed: theirs stays, a conflict), sets by id, counters by both
differences, texts by their spans, objects member by member; an array that is no set is a register.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import Budget, drawn
from gateway.ot.kernel.differences import differences
from gateway.ot.kernel.documents import Operation
from gateway.ot.kernel.paths import Path, format_pointer
from gateway.ot.kernel.sets import GROW, in_utf16_order, is_keyed, keys_of
from gateway.ot.kernel.spans import difference
from gateway.ot.kernel.text import apply_delta, transform_delta
from gateway.ot.kernel.values import ABSENT, INTEGER_MAX, same


class Merging:
    """The strategies, the conflicts found so far, and the budget of one merge."""

    def __init__(self, strategies: Any, budget: Budget) -> None:
        self.strategies = strategies
        self.conflicts: list[dict[str, Any]] = []
        self.budget = budget

    def is_same(self, one: Any, other: Any) -> bool:
        if one is ABSENT or other is ABSENT:
            return one is other
        return same(one, other, True, self.budget)

    def report(self, path: Path, base: Any, mine: Any, theirs: Any) -> None:
        """Both sides changed it; a side on which it isn't there has no value."""
        sides = {"base": base, "mine": mine, "theirs": theirs}
        there = {name: value for name, value in sides.items() if value is not ABSENT}
        self.conflicts.append({"path": format_pointer(path), **there})


def merge(
    base: Any, mine: Any, theirs: Any, strategies: Any, budget: Budget | None
) -> tuple[list[Operation], list[dict[str, Any]]]:
    """What brings `mine` into `theirs`, as operations on it, and the conflicts."""
    merging = Merging(strategies, drawn(budget))
    merged = merged_node(base, mine, theirs, (), merging)
    return differences(theirs, merged, merging.budget), merging.conflicts


def merged_node(base: Any, mine: Any, theirs: Any, path: Path, merging: Merging) -> Any:
    """The merged value of one node; ABSENT where it is gone."""
    if merging.is_same(mine, base) or merging.is_same(mine, theirs):
        return theirs
    if merging.is_same(theirs, base):
        return mine
    rule = merging.strategies.get(path) if merging.strategies else None
    if rule == "text" and type(base) is str and type(mine) is str and type(theirs) is str:
        return merged_text(base, mine, theirs, merging.budget)
    if rule == "counter" and type(base) is int and type(mine) is int and type(theirs) is int:
        count = theirs + mine - base
        if -INTEGER_MAX <= count <= INTEGER_MAX:
            return count
    if is_keyed(rule) and type(mine) is list and type(theirs) is list:
        old = base if type(base) is list else []
        items = merged_items(old, mine, theirs, path, rule, merging)
        if items is not None:
            return items
    if type(mine) is dict and type(theirs) is dict:
        return merged_members(base if type(base) is dict else {}, mine, theirs, path, merging)
    merging.report(path, base, mine, theirs)
    return theirs


def merged_text(base: str, mine: str, theirs: str, budget: Budget) -> str:
    earlier = difference(base, theirs, budget)
    later = difference(base, mine, budget)
    return apply_delta(theirs, transform_delta(later, earlier, True))


def merged_members(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], path: Path, merging: Merging
) -> dict[str, Any]:
    """Theirs in their order, then what mine added; conflicts in the order of the names."""
    values: dict[str, Any] = {}
    for name in in_utf16_order({**theirs, **mine}):
        values[name] = merged_node(
            base.get(name, ABSENT),
            mine.get(name, ABSENT),
            theirs.get(name, ABSENT),
            (*path, name),
            merging,
        )
    merged: dict[str, Any] = {}
    for name in {**theirs, **mine}:
        if values[name] is not ABSENT:
            merged[name] = values[name]
    return merged


def merged_items(
    base: list[Any], mine: list[Any], theirs: list[Any], path: Path, rule: Any, merging: Merging
) -> list[Any] | None:
    """Theirs in their order, without what mine removed; then what mine added or kept.

    None where items can't be told apart: the array is a register then.
    """
    keyed: list[dict[Any, Any]] = []
    for items in (base, mine, theirs):
        keys = keys_of(items, rule)
        if keys is None or len(set(keys)) < len(keys):
            return None
        keyed.append(dict(zip(keys, items, strict=True)))
    old, own, other = keyed
    merged: list[Any] = []
    for key in {**other, **own}:
        place = (*path, len(merged))
        item = merged_item(
            old.get(key, ABSENT), own.get(key, ABSENT), other.get(key, ABSENT), place, rule, merging
        )
        if item is not ABSENT:
            merged.append(item)
    return merged


def merged_item(base: Any, mine: Any, theirs: Any, path: Path, rule: Any, merging: Merging) -> Any:
    """An item of a set. What one side removed and the other changed stays; so does all in one that grows."""
    if mine is ABSENT or theirs is ABSENT:
        there = theirs if mine is ABSENT else mine
        if base is ABSENT or rule[0] == GROW:
            return there
        if merging.is_same(base, there):
            return ABSENT
        merging.report(path, base, mine, theirs)
        return there
    return merged_node(base, mine, theirs, path, merging)
