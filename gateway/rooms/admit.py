"""What a resource's rules make of an edit: in which form it is committed, and whether it may be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from gateway.ot.kernel.documents import REM, SET
from gateway.ports import Rules


def admit(
    rules: Rules, resource_type: str, document: Any, operations: ot.Operations, budget: ot.Budget
) -> tuple[ot.Operations, Any, list[str], bool]:
    """Operations as they are committed on `document`, the document after, the paths that were made safe, and
    whether something was left out for an id that is there.

    Every operation is judged, not only what is there in the end: history and extended clients get them all.

    Raises Refusal, PatchError where the rules don't allow it; Unsanitised where HTML has to be cleaned first.
    """
    strategies = rules.strategies(resource_type)
    given = operations
    operations = ot.normalise(document, operations, strategies, budget)
    is_left_out = operations is not given
    after = ot.apply(document, operations, budget)  # with the tests, which settle leaves out
    ot.check_growing(document, after, operations, strategies, budget)
    operations = ot.settle(document, operations, False, budget)
    sanitised: list[str] = []
    if operations:
        touched = ot.touched(operations)
        cleaning = rules.sanitise(resource_type, after, touched)
        if cleaning:
            cleaned = ot.lower(after, cleaning, strategies, ot.UNLIMITED, budget)
            after = ot.apply(after, cleaned, budget)
            sanitised = [operation["path"] for operation in cleaning]
        several = len(operations) > 1
        if several:
            rules.check_operations(resource_type, operations)
        if cleaning or (several and rules.may_hide_html(resource_type, operations)):
            operations = net(document, after, touched, budget)
            after = ot.apply(document, operations, budget)
        rules.check(resource_type, after, touched)
    return operations, after, sanitised, is_left_out


def net(document: Any, after: Any, touched: Collection[str] | None, budget: ot.Budget) -> ot.Operations:
    """What leads from one document to another whose other members are the same, and nothing on the way.

    To find what differs takes half of what is left of the budget at the most; else it is written whole.
    """
    if touched is None or type(document) is not dict or type(after) is not dict:
        whole: list[ot.Operation] = [(SET, (), after)]
    else:
        document, after = part(document, touched), part(after, touched)
        whole = members_written(document, after)
    half = budget.left // 2
    tried = ot.budget(half)
    try:
        operations = ot.difference(document, after, tried)
    except PatchError:
        operations = whole
    ot.draw(budget, min(tried.spent, half))
    return operations


def members_written(document: dict[str, Any], after: dict[str, Any]) -> list[ot.Operation]:
    """What makes `after` of `document`, each member as a whole."""
    operations: list[ot.Operation] = [(REM, (name,)) for name in document if name not in after]
    for name, value in after.items():
        if name not in document or document[name] is not value:
            operations.append((SET, (name,), value))
    return operations


def part(document: dict[str, Any], members: Collection[str]) -> dict[str, Any]:
    """Some members of a document."""
    return {name: document[name] for name in members if name in document}
