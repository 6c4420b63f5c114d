"""Editing semantics: JSON Patch in, kernel operations between, JSON Patch out.

Pure functions over immutable data. A *document* is what a JSON parser gives (None, bool, int, float, str,
list, dict) and is never changed: a new one shares with the old what was not touched. An *operation list* is
a list of tuples (kernel/documents.py) that can be compared and pickled. The rules are
docs/reference/merging.md.

A submission's way: `lower` at its base, `rebase` over what was committed since, `normalise` and `settle` at
the head, `apply`, `emit` for others. Errors are `gateway.errors.PatchError`.
"""

from __future__ import annotations

from gateway.ot.api import (
    DEFAULT_LIMITS,
    UNLIMITED,
    Conflict,
    Limits,
    Operation,
    Operations,
    Patch,
    Strategies,
    apply,
    apply_patch,
    budget,
    check_growing,
    check_value,
    conflicts,
    difference,
    draw,
    emit,
    equal,
    growth,
    identical,
    implementation,
    invert,
    lower,
    merge,
    normalise,
    overwritten,
    rebase,
    rebase_losses,
    settle,
    size,
    touched,
    transform,
    transform_losses,
)
from gateway.ot.canonical import canonical, canonical_hash
from gateway.ot.client import Outgoing, Replica
from gateway.ot.collapse import NOOP, plain
from gateway.ot.kernel.budget import Budget
from gateway.ot.kernel.paths import format_pointer as pointer
from gateway.ot.kernel.transform import LATER_WRITES_OVER, ONLY_WRITES_OVER
from gateway.ot.undo import UndoEntry, UndoStacks

# What `rebase_losses` says of a single `set` that only takes the place of others.
WRITES_OVER = LATER_WRITES_OVER | ONLY_WRITES_OVER

__all__ = [
    "DEFAULT_LIMITS",
    "NOOP",
    "ONLY_WRITES_OVER",
    "UNLIMITED",
    "WRITES_OVER",
    "Budget",
    "Conflict",
    "Limits",
    "Operation",
    "Operations",
    "Outgoing",
    "Patch",
    "Replica",
    "Strategies",
    "UndoEntry",
    "UndoStacks",
    "apply",
    "apply_patch",
    "budget",
    "canonical",
    "canonical_hash",
    "check_growing",
    "check_value",
    "conflicts",
    "difference",
    "draw",
    "emit",
    "equal",
    "growth",
    "identical",
    "implementation",
    "invert",
    "lower",
    "merge",
    "normalise",
    "overwritten",
    "plain",
    "pointer",
    "rebase",
    "rebase_losses",
    "settle",
    "size",
    "touched",
    "transform",
    "transform_losses",
]
