"""The functions of `gateway.ot`: one kernel, compiled or pure, and its errors made PatchErrors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gateway.errors import PatchError
from gateway.ot import kernel as pure
from gateway.ot.kernel.budget import UNBOUNDED_UNITS, Budget
from gateway.ot.kernel.transform import CALLS_PER_PAIR, CALLS_SPARE
from gateway.ot.kernel.values import DEPTH_UNBOUNDED
from gateway.runtime import speedups

Operation = tuple[Any, ...]
Operations = Sequence[Operation]
Patch = list[dict[str, Any]]
Strategies = Mapping[tuple[str, ...], Any]
Conflict = dict[str, Any]

_kernel: ModuleType = speedups.load("kernel") or pure


@dataclass(frozen=True, slots=True)
class Limits:
    """What one patch may ask for."""

    depth_max: int = 64
    """Containers in one another, of the document and so of path plus value."""
    patch_operations_max: int = 1000
    copied_bytes_max: int = 1 << 20
    """What the `copy` operations of one patch may add, in bytes of compact JSON."""
    work_units_max: int = 20_000_000
    """What `lower` or `rebase` may do where no budget is given, in units of about a nanosecond."""


DEFAULT_LIMITS = Limits()
# For what was committed: it was accepted once, and limits or checks that came since don't hold against it.
UNLIMITED = Limits(DEPTH_UNBOUNDED, 1 << 30, 1 << 60, 1 << 60)


def budget(units: int = UNBOUNDED_UNITS, merged: int = 0) -> Budget:
    """A budget of so many units of about a nanosecond each, to be drawn on by several functions.

    Where it runs out they raise PatchError: `rebase` `CONFLICT`, for concurrent edits are what there is too
    much of, and so do the others after it where it took much; else they raise `TOO_LARGE`. `merged`: what a
    part of the way took before.
    """
    made: Budget = _kernel.Budget(units, merged)
    return made


def _patch_error(error: Any) -> PatchError:
    return PatchError(error.code, error.message, error.index, error.test)


def apply_patch(
    document: Any, patch: Patch, limits: Limits = DEFAULT_LIMITS, budget: Budget | None = None
) -> Any:
    """The document after a JSON Patch: RFC 6902 to the letter, and `text` and `inc`.

    `document` is not changed; containers that the patch doesn't touch are shared with the result, so treat
    both as immutable. All or nothing.

    Raises PatchError: `INVALID_OPERATION` (malformed, or a path that isn't there), `CONFLICT` (a `test`
    failed), `TOO_LARGE` (a limit); `index` is the failing operation's position.
    """
    try:
        return _kernel.lower(
            document,
            patch,
            None,
            limits.depth_max,
            limits.patch_operations_max,
            limits.copied_bytes_max,
            True,
            _kernel.Budget(limits.work_units_max) if budget is None else budget,
        )[1]
    except _kernel.KernelError as error:
        raise _patch_error(error) from None


def lower(
    document: Any,
    patch: Patch,
    strategies: Strategies | None = None,
    limits: Limits = DEFAULT_LIMITS,
    budget: Budget | None = None,
) -> list[Operation]:
    """The kernel operations of a JSON Patch against the document that its author saw.

    `strategies` maps the typed path of a field to its rule: `"text"` (a replaced string becomes the delta of
    the span that differs), `"counter"` (a replaced integer becomes an increment), `("set", "user_id")` (items
    of an array keyed by that member; `("set",)`: by themselves). Other fields: the last writer wins.

    Raises PatchError as `apply_patch` does.
    """
    try:
        operations: list[Operation] = _kernel.lower(
            document,
            patch,
            strategies,
            limits.depth_max,
            limits.patch_operations_max,
            limits.copied_bytes_max,
            False,
            _kernel.Budget(limits.work_units_max) if budget is None else budget,
        )[0]
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return operations


def apply(document: Any, operations: Operations, budget: Budget | None = None) -> Any:
    """The document after `operations`, path-copied; `budget.kept_bytes` grows by what the copies take.

    Raises PatchError: `CONFLICT` when a `tst` fails or lost its target (`test` says which one),
    `INVALID_OPERATION` when an operation doesn't fit the document (never for what `transform` yields).
    """
    try:
        return _kernel.apply(document, operations, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None


def transform(earlier: Operations, later: Operations) -> tuple[list[Operation], list[Operation]]:
    """Two lists on one document, each past the other: (earlier', later').

    `earlier + later'` and `later + earlier'` give the same document. Raises PatchError `CONFLICT` when the
    work passes 20nm + 1,000 steps for lists of n and m.
    """
    earlier_after, later_after, _ = transform_losses(earlier, later)
    return earlier_after, later_after


def transform_losses(
    earlier: Operations, later: Operations, budget: Budget | None = None
) -> tuple[list[Operation], list[Operation], int]:
    """As `transform`, and what was lost, as bits of kernel/transform.py (0: nothing)."""
    try:
        result: tuple[list[Operation], list[Operation], int] = _kernel.transform(
            earlier, later, CALLS_PER_PAIR, CALLS_SPARE, budget
        )
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return result


def rebase(
    operations: Operations, window: Iterable[Operations], budget: Budget | None = None
) -> list[Operation]:
    """A submission's operations past the committed ones of each version after its base, oldest first.

    Raises PatchError `CONFLICT` past the work cap of `transform` or the budget (the author merges and submits
    on the head).
    """
    return rebase_losses(operations, window, budget)[0]


def rebase_losses(
    operations: Operations, window: Iterable[Operations], budget: Budget | None = None
) -> tuple[list[Operation], int]:
    """As `rebase`, and what was lost or written over, as bits of kernel/transform.py.

    0: nothing, so `conflicts` has nothing to report.
    """
    try:
        draws = _kernel.Budget(DEFAULT_LIMITS.work_units_max) if budget is None else budget
        rebased: tuple[list[Operation], int] = _kernel.rebase(operations, window, draws)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return rebased


def conflicts(
    document: Any,
    patch: Patch,
    window: Iterable[Operations],
    strategies: Strategies | None = None,
    limits: Limits = DEFAULT_LIMITS,
    budget: Budget | None = None,
) -> list[Conflict]:
    """What a patch, made on `document`, overwrites of the changes in `window`, or loses to them.

    `window` are the committed changes since, oldest first. Each conflict is a dict: `index`, the operation's
    place in the patch; `path` where it is at head; `kind`, `overwrote` or `dropped`; `base` and `theirs`, the
    value that the author saw and the one at head, left out where there is none; `omitted`, the names of those
    over 4 KiB; `change`, the place in `window` of the newest change that wrote there. At most 100.

    Worth calling where `rebase_losses` tells of losses, or `normalise` took something out. Raises PatchError
    as `lower` and `rebase` do.
    """
    try:
        found: list[Conflict] = _kernel.conflicts(
            document,
            patch,
            window,
            strategies,
            limits.depth_max,
            limits.patch_operations_max,
            limits.copied_bytes_max,
            _kernel.Budget(limits.work_units_max) if budget is None else budget,
        )
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return found


def overwritten(
    document: Any, operation: Operation, window: list[Operations], budget: Budget | None = None
) -> list[Conflict]:
    """`conflicts` of a patch that is this `set` alone, where `rebase_losses` says ONLY_WRITES_OVER of it.

    The usual case, and cheaper: nothing is lowered again, and nothing transformed. Raises PatchError
    `CONFLICT` where the budget runs out.
    """
    try:
        found: list[Conflict] = _kernel.overwritten(document, operation, window, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return found


def invert(document: Any, operations: Operations, budget: Budget | None = None) -> list[Operation]:
    """The operations that undo `operations`, which stand on `document`; tests are left out."""
    try:
        inverses: list[Operation] = _kernel.invert(document, operations, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return inverses


def emit(document: Any, operations: Operations, tests: bool = False, budget: Budget | None = None) -> Patch:
    """The JSON Patch that does to `document` what `operations` do; with `tests` also their `test`s.

    Standard RFC 6902 but for `text` (in code points) and `inc`. No `from` is a prefix of its `path`.
    Tests are not checked here: `apply` does that.
    """
    try:
        patch: Patch = _kernel.emit(document, operations, tests, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return patch


def settle(
    document: Any, operations: Operations, tests: bool = False, budget: Budget | None = None
) -> Operations:
    """The committed form of `operations`: `lower(document, emit(document, operations))`, but cheaper.

    With `tests`, both keep the tests.

    This is what the log holds and what a client keeps in flight, so both transform what was on the wire.
    """
    try:
        settled: Operations = _kernel.settle(document, operations, tests, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return settled


def normalise(
    document: Any, operations: Operations, strategies: Strategies | None, budget: Budget | None = None
) -> Operations:
    """At commit, on the head: `operations` without those that would leave an id in a `set` twice.

    What came first stays. The same object where nothing is left out.
    """
    try:
        kept: Operations = _kernel.normalise(document, operations, strategies, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return kept


def check_growing(
    document: Any,
    after: Any,
    operations: Operations,
    strategies: Strategies | None,
    budget: Budget | None = None,
) -> None:
    """At commit, on the head: `operations`, which lead from `document` to `after`, may take nothing out of
    arrays that only grow, unless they delete the document. Raises PatchError `INVALID_OPERATION`.
    """
    try:
        _kernel.check_growing(document, after, operations, strategies, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None


def draw(budget: Budget, units: int) -> None:
    """Draw on a budget for what isn't the kernel's work; raises PatchError `TOO_LARGE` where it runs out."""
    try:
        budget.charge(units)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None


def difference(before: Any, after: Any, budget: Budget | None = None) -> list[Operation]:
    """Operations on `before` that give `after`: members one by one, arrays by the span that differs.

    Raises PatchError `TOO_LARGE` where the budget runs out.
    """
    draws = _kernel.Budget(UNBOUNDED_UNITS) if budget is None else budget
    try:
        operations: list[Operation] = _kernel.differences(before, after, draws)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return operations


def merge(
    base: Any,
    mine: Any,
    theirs: Any,
    strategies: Strategies | None = None,
    budget: Budget | None = None,
) -> tuple[Patch, list[Conflict]]:
    """What brings `mine` into `theirs`, where both come from `base` and the log is gone: (patch, conflicts).

    The patch is one on `theirs`. Each conflict is a dict: the `path` where it is in the merged document, and
    the values `base`, `mine` and `theirs`, left out where there is none; theirs stays. Raises PatchError
    `TOO_LARGE` where the budget runs out.
    """
    draws = _kernel.Budget(DEFAULT_LIMITS.work_units_max) if budget is None else budget
    try:
        operations, found = _kernel.merge(base, mine, theirs, strategies, draws)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return emit(theirs, operations), found


def touched(operations: Operations) -> set[str] | None:
    """The top-level members that `operations` write; None when they write the root itself."""
    members: set[str] | None = _kernel.touched(operations)
    return members


def growth(
    document: Any, operations: Operations, limits: Limits = DEFAULT_LIMITS, budget: Budget | None = None
) -> int:
    """At most how many bytes of compact JSON `operations` add to `document`; walks only what they insert.

    A room adds this up and measures (`size`) only when the sum passes the document limit. This is also where
    the head has the last word on what concurrent edits add up to. Raises PatchError: `TOO_LARGE` when
    something would come to stand deeper than `depth_max`, `INVALID_OPERATION` when a sum would leave
    +-(2^53-1).
    """
    try:
        added: int = _kernel.growth(document, operations, limits.depth_max, budget)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return added


def size(value: Any, bytes_max: int = 1 << 62, depth_max: int = 1 << 30) -> int:
    """About the bytes of `value` as compact JSON (escapes not counted).

    Raises PatchError `TOO_LARGE` as soon as a limit is passed, without walking the rest.
    """
    try:
        measured: int = _kernel.measure(value, depth_max, bytes_max)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None
    return measured


def check_value(value: Any, depth_max: int = 64) -> Any:
    """`value` as it is stored: -0.0 becomes 0, else the same object.

    Raises PatchError: `TOO_LARGE` when it nests deeper than `depth_max`; `INVALID_OPERATION` for an integer
    beyond +-(2^53-1) (below 1e21 also as a float, which readers make of it), NaN, an infinity, a lone
    surrogate or a type that JSON doesn't have.
    """
    try:
        return _kernel.check_value(value, depth_max)
    except _kernel.KernelError as error:
        raise _patch_error(error) from None


def equal(one: Any, other: Any) -> bool:
    """Equality of RFC 6902's `test`: 1, 1.0 and 1e0 are equal, 1 and true are not."""
    result: bool = _kernel.equal(one, other)
    return result


def identical(one: Any, other: Any) -> bool:
    """The same JSON whatever the order of members; 1, 1.0 and true all differ."""
    result: bool = _kernel.identical(one, other)
    return result


def implementation() -> str:
    """`compiled` or `pure`: which kernel runs."""
    return "pure" if _kernel is pure else "compiled"
