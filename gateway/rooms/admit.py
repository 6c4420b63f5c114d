"""What a resource's rules make of an edit: in which form it is committed, and whether it may be."""

from __future__ import annotations

from typing import Any

from gateway import ot
from gateway.ports import Rules


def admit(
    rules: Rules, resource_type: str, document: Any, operations: ot.Operations
) -> tuple[ot.Operations, Any, list[str]]:
    """Operations as they are committed on `document`, the document after, and the paths that were made safe.

    Raises Refusal, PatchError where the rules don't allow it; Unsanitised where HTML has to be cleaned first.
    """
    strategies = rules.strategies(resource_type)
    operations = ot.normalise(document, operations, strategies)
    after = ot.apply(document, operations)  # with the tests, which settle leaves out
    operations = ot.settle(document, operations)
    sanitised: list[str] = []
    if operations:
        touched = ot.touched(operations)
        cleaning = rules.sanitise(resource_type, after, touched)
        if cleaning:
            operations = ot.settle(document, [*operations, *ot.lower(after, cleaning, strategies)])
            after = ot.apply(document, operations)
            sanitised = [operation["path"] for operation in cleaning]
        rules.check(resource_type, after, touched)
    return operations, after, sanitised
