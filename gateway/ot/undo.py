"""Undo and redo of one author's changes among everybody's (docs/reference/merging.md#undo-and-redo).

Pure: a server replays a history into it when UNDO arrives, a client's replica keeps one all along. Entries
are the inverses of the author's changes; the top one stands on the present document, each next one on the
document that the one above it would leave.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.errors import PatchError
from gateway.ot.api import (
    Operation,
    Operations,
    Strategies,
    apply,
    check_growing,
    invert,
    settle,
    transform_losses,
)
from gateway.ot.kernel.budget import Budget
from gateway.ot.kernel.documents import MOV, REM, SET, TXT
from gateway.ot.kernel.errors import INVALID
from gateway.ot.kernel.transform import EARLIER_MOVE_CUT, LATER_WRITE_LOST

ENTRIES_MAX = 1000
# In a piece so many components meet, some half a millisecond's: those of a run of later operations, which has
# so many at least, and of as many earlier ones as that allows. A piece costs something that no budget counts.
PIECE_COMPONENTS = 8_192
RUN_COMPONENTS = 32

T = TypeVar("T")
Pieces = Generator[None, None, T]  # work that stops between its pieces, and what comes of it


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """`operations` for the present document, and the label of the change that they take back."""

    operations: Operations
    label: Hashable


class UndoStacks:
    """What one author can undo and redo in one document.

    A label names a change: its version on a server, a local count in a replica. Every change of the document
    must be told, in order, by `local` (this author's) or `remote` (anybody else's). By the `strategies` what
    would take something out of an array that only grows is left out of what undoes a change.

    `local_pieces` and `remote_pieces` do the same in pieces, for who has others to let run: exhaust them.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX, strategies: Strategies | None = None) -> None:
        self._entries_max = entries_max
        self._strategies = strategies
        self._undo: list[UndoEntry] = []
        self._redo: list[UndoEntry] = []

    def undo(self) -> UndoEntry | None:
        """What undoes the author's last change, or None. Commit it, then tell `local(..., undoes=label)`."""
        return self._undo[-1] if self._undo else None

    def redo(self) -> UndoEntry | None:
        """What takes back the last undo, or None. Commit it, then tell `local(..., undoes=label)`."""
        return self._redo[-1] if self._redo else None

    def clear(self) -> None:
        self._undo.clear()
        self._redo.clear()

    def local(
        self,
        document_before: Any,
        operations: Operations,
        label: Hashable,
        undoes: Hashable | None = None,
        budget: Budget | None = None,
    ) -> None:
        """The author's own change. `undoes`: the label of the change that it takes back.

        When that is the top of the undo stack, this is an undo; when it is the top of the redo stack, a redo.
        When it is neither, for it is older than what was told, the change is taken as a remote one. What the
        budget isn't enough for is forgotten.
        """
        whole(self.local_pieces(document_before, operations, label, undoes, budget))

    def local_pieces(
        self,
        document_before: Any,
        operations: Operations,
        label: Hashable,
        undoes: Hashable | None = None,
        budget: Budget | None = None,
    ) -> Pieces[None]:
        """`local` in pieces."""
        if undoes is None:
            self._redo.clear()
            yield from self._push(self._undo, document_before, operations, label, budget)
        elif self._undo and self._undo[-1].label == undoes:
            yield from self._take_back(self._undo, self._redo, document_before, operations, label, budget)
        elif self._redo and self._redo[-1].label == undoes:
            yield from self._take_back(self._redo, self._undo, document_before, operations, label, budget)
        else:
            yield from self.remote_pieces(document_before, operations, budget)

    def remote(self, document_before: Any, operations: Operations, budget: Budget | None = None) -> None:
        """Somebody else's change: carried past every entry, which may shrink or vanish.

        The entries that the budget isn't enough for are forgotten, the oldest first.
        """
        whole(self.remote_pieces(document_before, operations, budget))

    def remote_pieces(
        self, document_before: Any, operations: Operations, budget: Budget | None = None
    ) -> Pieces[None]:
        """`remote` in pieces."""
        self._undo = yield from _carried(self._undo, document_before, operations, budget)
        self._redo = yield from _carried(self._redo, document_before, operations, budget)

    def _push(
        self,
        stack: list[UndoEntry],
        document: Any,
        operations: Operations,
        label: Hashable,
        budget: Budget | None,
    ) -> Pieces[None]:
        try:
            inverse: Operations = invert(document, operations, budget)
            if self._strategies:
                yield
                after = apply(document, operations, budget)
                inverse, staying = without_taking(after, inverse, self._strategies, budget)
                if staying:
                    stack[:] = yield from _carried(stack, document, staying, budget)
        except PatchError:  # it can't be taken back, nor what is older, which stands on its inverse
            stack.clear()
            return
        if inverse:
            stack.append(UndoEntry(inverse, label))
            del stack[: -self._entries_max]

    def _take_back(
        self,
        source: list[UndoEntry],
        sink: list[UndoEntry],
        document: Any,
        operations: Operations,
        label: Hashable,
        budget: Budget | None,
    ) -> Pieces[None]:
        """Move the top of one stack to the other, now that `operations` were committed for it."""
        entry = source.pop()
        if settle(document, entry.operations) != operations:
            # Something else was committed (normalised, or past a late change): the entries below, which
            # stand on what this one would have left, are brought to what there is.
            try:
                detour = [*invert(document, entry.operations, budget), *operations]
            except PatchError:
                source.clear()
                return
            yield
            between = apply(document, entry.operations)
            yield
            source[:] = yield from _carried(source, between, detour, budget)
        yield from self._push(sink, document, operations, label, budget)


def whole(pieces: Pieces[T]) -> T:
    """Work in pieces, done at once."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


def _carried(
    stack: list[UndoEntry], document: Any, operations: Operations, budget: Budget | None
) -> Pieces[list[UndoEntry]]:
    """A stack past a change of the document that its top stands on.

    An entry that would take away what the change wrote is dropped whole. Where the work cap or the
    budget is passed, the rest of the stack is.
    """
    kept: list[UndoEntry] = []
    change = operations
    above: list[Any] = []  # entries passed since `document`, not yet applied to it
    try:
        for entry in reversed(stack):
            inverse, past, losses = yield from transformed(entry.operations, change, budget)
            if _takes_away(inverse, losses):
                for operation in above:
                    document = apply(document, operation, budget)
                    yield
                above.clear()
                change = [*invert(document, entry.operations, budget), *change]
            else:
                change = past
                if inverse:
                    kept.append(UndoEntry(inverse, entry.label))
            above.append(entry.operations)
    except PatchError:
        pass  # the entries that were reached are right, and below them nothing is known
    kept.reverse()
    return kept


def transformed(
    earlier: Operations, later: Operations, budget: Budget | None
) -> Pieces[tuple[Operations, Operations, int]]:
    """`transform_losses`, which takes each later operation past one earlier one after the other anyhow."""
    size = _size(earlier)
    if len(earlier) * _size(later) + len(later) * size <= PIECE_COMPONENTS:
        at_once = transform_losses(earlier, later, budget)
        yield
        return at_once
    crossed: list[Any] = []
    losses = 0
    for own in _runs(later, max(RUN_COMPONENTS, PIECE_COMPONENTS // (len(earlier) + size))):
        passed: list[Any] = []
        for part in _runs(earlier, PIECE_COMPONENTS, len(own), _size(own)):
            met, own, lost = transform_losses(part, own, budget)
            passed += met
            losses |= lost
            yield
        earlier = passed
        crossed += own
    return earlier, crossed, losses


def _runs(operations: Operations, most: int, times: int = 1, more: int = 0) -> Iterator[Operations]:
    """Operations in runs: by their components, `times` each, and `more` for each operation."""
    first = weight = 0
    for end, operation in enumerate(operations, 1):
        weight += times * _components(operation) + more
        if weight >= most:
            yield operations[first:end]
            first, weight = end, 0
    if first < len(operations):
        yield operations[first:]


def _components(operation: Operation) -> int:
    return len(operation[2]) if operation[0] == TXT else 1


def _size(operations: Operations) -> int:
    return sum([len(operation[2]) if operation[0] == TXT else 1 for operation in operations])


def without_taking(
    document: Any, operations: Operations, strategies: Strategies, budget: Budget | None
) -> tuple[Operations, Operations]:
    """Operations without those that take something out of an array that only grows; and what puts that into
    the document which all of them would have left.
    """
    if _may_be(document, operations, strategies, budget):
        return operations, []
    allowed: list[Any] = []
    staying: list[Any] = []
    rest = list(operations)
    while rest:
        # Two, where an item is taken out and put in again.
        parts = (rest[:count] for count in range(1, min(len(rest), 2) + 1))
        kept = next((part for part in parts if _may_be(document, part, strategies, budget)), None)
        if kept:
            allowed += kept
            document = apply(document, kept, budget)
            rest = rest[len(kept) :]
        else:
            rest, back, _ = transform_losses(rest[1:], invert(document, rest[:1], budget), budget)
            staying += back
    return allowed, staying


def _may_be(document: Any, operations: Operations, strategies: Strategies, budget: Budget | None) -> bool:
    """Do operations take nothing out of arrays that only grow?"""
    try:
        check_growing(document, apply(document, operations, budget), operations, strategies, budget)
    except PatchError as error:
        if error.code != INVALID:
            raise
        return False
    return True


def _takes_away(inverse: Operations, losses: int) -> bool:
    """Would the inverse, still removing or replacing something, undo a later write as well?"""
    if not losses & (EARLIER_MOVE_CUT | LATER_WRITE_LOST):
        return False
    return any(operation[0] in (REM, SET, MOV) for operation in inverse)
