"""What must hold of every pair of concurrent lists; each law raises AssertionError with what broke it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway import ot
from tests.ot import generate


def check_pair(document: Any, earlier: ot.Operations, later: ot.Operations) -> None:
    """TP1, and that what was transformed survives the wire."""
    earlier_past, later_past = ot.transform(earlier, later)
    after_earlier = ot.apply(document, earlier)
    after_later = ot.apply(document, later)
    one = ot.apply(after_earlier, later_past)
    other = ot.apply(after_later, earlier_past)
    assert ot.identical(one, other), ("TP1", document, earlier, later, one, other)
    check_wire(after_earlier, later_past, one)
    check_wire(after_later, earlier_past, other)
    check_inverse(after_earlier, later_past, one)


def check_wire(document: Any, operations: ot.Operations, expected: Any) -> None:
    """`emit` and `lower` give the committed form, which a second round leaves alone."""
    patch = ot.emit(document, operations)
    settled = ot.lower(document, patch)
    assert ot.identical(ot.apply(document, settled), expected), ("emit", document, operations, patch)
    assert settled == list(ot.settle(document, operations)), ("settle", document, operations, settled)
    assert ot.lower(document, ot.emit(document, settled)) == settled, ("second round", document, settled)
    for entry in patch:
        if entry["op"] == "move":
            assert not f"{entry['path']}/".startswith(f"{entry['from']}/"), ("prefix", patch)


def check_inverse(document: Any, operations: ot.Operations, after: Any) -> None:
    inverse = ot.invert(document, operations)
    assert ot.identical(ot.apply(after, inverse), document), ("inverse", document, operations, inverse)


def check_lists(seed: int) -> None:
    """All laws on the random lists of one seed."""
    with replayable("lists", seed):
        document, earlier, later = generate.pair(seed)
        check_pair(document, earlier, later)


@contextmanager
def replayable(what: str, seed: int) -> Iterator[None]:
    """Adds to whatever fails how to run this seed alone."""
    try:
        yield
    except Exception as error:
        error.add_note(f"replay: python -m tests.ot.fuzz --only {what} --seed {seed} --count 1")
        raise
