"""What a resource's rules make of an edit: in which form it is committed, and whether it may be."""

from __future__ import annotations

from typing import Any

from gateway import ot
from gateway.ports import Rules


def admit(
    rules: Rules, resource_type: str, document: Any, operations: ot.Operations
) -> tuple[ot.Operations, Any]:
    """Operations in the form in which they are committed on `document`, and the document after.

    Raises Refusal, PatchError where the rules don't allow it.
    """
    strategies = rules.strategies(resource_type)
    operations = ot.normalise(document, operations, strategies)
    after = ot.apply(document, operations)  # with the tests, which settle leaves out
    operations = ot.settle(document, operations)
    if operations:
        touched = ot.touched(operations)
        rules.check(resource_type, after, touched)
        cleaning = rules.sanitise(resource_type, after, touched)
        if cleaning:
            operations = ot.settle(document, [*operations, *ot.lower(after, cleaning, strategies)])
            after = ot.apply(document, operations)
    return operations, after
