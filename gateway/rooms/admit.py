"""What a resource's rules make of an edit: in which form it is committed, and whether it may be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateway import ot
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
            operations = net(document, after, touched)
            after = ot.apply(document, operations, budget)
        rules.check(resource_type, after, touched)
    return operations, after, sanitised, is_left_out


def net(document: Any, after: Any, touched: Collection[str] | None) -> ot.Operations:
    """What leads from one document to another whose other members are the same, and nothing on the way."""
    if touched is None or type(document) is not dict or type(after) is not dict:
        return ot.settle(document, ot.difference(document, after))
    return ot.settle(document, ot.difference(part(document, touched), part(after, touched)))


def part(document: dict[str, Any], members: Collection[str]) -> dict[str, Any]:
    """Some members of a document."""
    return {name: document[name] for name in members if name in document}
