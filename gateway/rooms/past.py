"""What an edit far behind its room meets: changes that left the window, kept for the next edit like it.

As in a window each change has its operations and what was logged, but not its own document: of these one is
kept every `STEP` changes, and what lies between is applied again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gateway import ot
from gateway.rooms.history import History
from gateway.rooms.window import Entry, weight_of
from gateway.rooms.writes import WRITE_BYTES, Writes

STEP = 64
# Measured: the operations of a change, their values beside its body.
_OBJECTS_BYTES = 400 + WRITE_BYTES


class Past:
    """The changes of `history` after the version `start`, without a gap, and the document there.

    `bytes` is what it keeps alive, roughly; `last` is the document at the end. It is of use as long as its
    history is the room's.
    """

    def __init__(self, history: History, start: int, document: Any) -> None:
        self.history = history
        self.start = start
        self.bytes = 0
        self.last = document
        self._operations: list[ot.Operations] = []
        self._bodies: list[bytes] = []
        self._documents: dict[int, Any] = {start: document}
        self._weights = {start: 0}  # of those documents, beside what they share with the changes
        self._writes = Writes()

    @property
    def end(self) -> int:
        """The newest version that is known here."""
        return self.start + len(self._bodies)

    def covers(self, version: int) -> bool:
        """Whether it reaches from this version up to what the room's window still has."""
        return self.start <= version and self.end >= self.history.start

    def add(self, entry: Entry) -> None:
        """Add the change that was made on the last document."""
        self._append(entry.record.body, entry.operations, entry.after)

    def take_window(self) -> None:
        """Add what the window has beyond the end, which must not lie before it."""
        kept = self.history.since(self.end)
        for change, following in pairwise(kept):
            self._append(change.body, change.operations, following.before)
        if kept:
            self._append(kept[-1].body, kept[-1].operations, self.history.document)

    def _append(self, body: bytes, operations: ot.Operations, after: Any) -> None:
        self._bodies.append(body)
        self._operations.append(operations)
        self._writes.note(self.end, operations)
        self.bytes += _weight(body)
        if self.end % STEP == 0:
            self._documents[self.end] = after
            self._weights[self.end] = weight_of(body, operations, self.last)
            self.bytes += self._weights[self.end]
        self.last = after

    def drop_before(self, version: int) -> None:
        """Drop what only edits on older versions need, but for the last step: from there it is read on."""
        version = min(version, self.end)
        first = version - version % STEP
        if first <= self.start:
            return
        dropped = first - self.start
        self.bytes -= sum(map(_weight, self._bodies[:dropped]))
        del self._bodies[:dropped], self._operations[:dropped]
        for older in [older for older in self._documents if older < first]:
            del self._documents[older]
            self.bytes -= self._weights.pop(older)
        self._writes.drop_before(first)
        self.start = first

    def join(self, later: Past) -> None:
        """Add the whole of another one, which begins where this one ends."""
        self._operations += later._operations
        self._bodies += later._bodies
        self._documents |= later._documents
        self._weights |= later._weights
        self._writes.join(later._writes)
        self.last = later.last
        self.bytes += later.bytes

    def document_at(self, version: int) -> Any:
        """The document right after a version from `start` to `end`."""
        nearest = max(self.start, version - version % STEP)
        document = self._documents[nearest]
        for operations in self._operations[nearest - self.start : version - self.start]:
            document = ot.apply(document, operations)
        return document

    def rebased(
        self, operations: ot.Operations, version: int, budget: ot.Budget
    ) -> tuple[ot.Operations, int]:
        """Operations on a version past all changes after it, and what they lost: as `ot.rebase_losses`."""
        losses = self._writes.losses(operations, version)
        if losses is None:
            return ot.rebase_losses(operations, self.operations_since(version), budget)
        return operations, losses

    def operations_since(self, version: int) -> list[ot.Operations]:
        """The operations of each change after a version."""
        return self._operations[version - self.start :]

    def bodies_since(self, version: int) -> list[bytes]:
        """What was logged of each change after a version."""
        return self._bodies[version - self.start :]


def _weight(body: bytes) -> int:
    return 2 * len(body) + _OBJECTS_BYTES
