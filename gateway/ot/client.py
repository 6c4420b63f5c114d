"""A client's replica of one document: what it has confirmed, in flight and buffered, without any I/O.

    document --in flight--> ... --buffer--> view

`document` is the server's state at `version`; `view` is what the user sees. One submission is in flight,
later edits wait and go together. Whatever the server says is carried past both
(docs/reference/merging.md#the-life-of-a-submission).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import PatchError
from gateway.ot.api import (
    DEFAULT_LIMITS,
    UNLIMITED,
    Limits,
    Operation,
    Operations,
    Patch,
    Strategies,
    apply,
    difference,
    emit,
    invert,
    lower,
    settle,
    transform,
)
from gateway.ot.kernel.documents import TST
from gateway.ot.undo import UndoStacks


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an OP carries: `seq`, the version that the author saw, the patch. A resend is the same again."""

    seq: int
    base_version: int
    patch: Patch


@dataclass(frozen=True, slots=True)
class _InFlight:
    submission: Outgoing
    operations: Operations  # on the replica's `document`, so carried past what came since
    resubmitted: bool = False  # another patch went out under its seq before


class Replica:
    """One document in one client. Methods that may free the wire return the next Outgoing, or None.

    `strategies` are the server's, where the client knows them; without them the server's answer corrects the
    replica. `refused` collects edits that were withdrawn because a `test` in them came to fail.
    """

    def __init__(
        self,
        document: Any,
        version: int,
        strategies: Strategies | None = None,
        limits: Limits = DEFAULT_LIMITS,
        seq_next: int = 1,
    ) -> None:
        self.document = document
        self.version = version
        self.view = document
        self.undo_stacks = UndoStacks(strategies=strategies)
        self.refused: list[PatchError] = []
        self._strategies = strategies
        self._limits = limits
        self._seq_next = seq_next
        self._edits = 0  # labels of the undo stacks
        self._in_flight: _InFlight | None = None
        self._buffer: list[Operations] = []

    @property
    def is_settled(self) -> bool:
        """Is there nothing in flight and nothing buffered?"""
        return self._in_flight is None and not self._buffer

    @property
    def in_flight(self) -> Outgoing | None:
        """What was sent and not answered yet."""
        return self._in_flight.submission if self._in_flight else None

    # The user's side

    def edit(self, patch: Patch) -> Outgoing | None:
        """An edit of the view. Raises PatchError, and changes nothing, when the view doesn't take it."""
        operations = lower(self.view, patch, self._strategies, self._limits)
        if len(operations) > self._limits.patch_operations_max:  # the server makes them of what was written
            operations = lower(self.view, patch, None, self._limits)
        return self._add(operations, None)

    def undo(self) -> Outgoing | None:
        """Take back the user's last edit, as far as others left it; without one, nothing happens."""
        entry = self.undo_stacks.undo()
        return self._add(entry.operations, entry.label) if entry else None

    def redo(self) -> Outgoing | None:
        entry = self.undo_stacks.redo()
        return self._add(entry.operations, entry.label) if entry else None

    def _add(self, operations: Operations, undoes: Any) -> Outgoing | None:
        view = apply(self.view, operations)
        self._edits += 1
        # An edit waits in the form in which it will be sent: that is what both ends transform.
        self.undo_stacks.local(self.view, settle(self.view, operations), self._edits, undoes)
        self._buffer.append(operations)
        self.view = view
        return self._next_submission()

    # The server's side

    def receive(self, version: int, patch: Patch) -> None:
        """Another client's change. Known versions are ignored; ValueError on a gap: resume from `version`.

        Raises PatchError, and changes nothing, where so much is pending that the work cap is passed, or where
        the patch doesn't fit: make a new replica of the server's state.
        """
        if version <= self.version:
            return
        self._expect(version)
        operations = lower(self.document, patch, None, UNLIMITED)
        self._receive(apply(self.document, operations), version, operations)

    def acknowledged(self, seq: int, version: int, patch: Patch | None = None) -> Outgoing | None:
        """The answer to the submission in flight; `patch` where the server committed another than was sent.

        A version that the replica has already means that the state it was given held the submission. An
        answer to something else (a second copy that was accepted after the first one was refused) is a change
        like another's; without its `patch` it can't be followed, nor can one after `resubmit`, for either
        patch may have got through: ValueError, resume from the replica's `version`. Raises PatchError, and
        changes nothing, where the patch doesn't fit.
        """
        if self._in_flight is None or self._in_flight.submission.seq != seq:
            self._receive_own(version, patch)
            return None
        if version <= self.version:
            return self.withdraw()
        self._expect(version)
        if patch is None:  # as it was sent; the prediction may be less, where a merged state hid what it does
            patch = self._only_patch(version)
        predicted = settle(self.document, self._in_flight.operations)
        committed = settle(self.document, lower(self.document, patch, None, UNLIMITED))
        self._in_flight = None
        if committed != predicted:
            detour = [*invert(self.document, predicted), *committed]
            self.document = apply(self.document, committed)
            self.undo_stacks.clear()
            self._carry(detour)
        else:
            self.document = apply(self.document, committed)
        self.version = version
        return self._next_submission()

    def withdraw(self) -> Outgoing | None:
        """The submission in flight was refused: it leaves the view, and later edits are carried past that."""
        if self._in_flight is not None:
            detour = invert(self.document, self._in_flight.operations)
            self._in_flight = None
            self.undo_stacks.clear()
            self._carry(detour)
        return self._next_submission()

    def reload(self, document: Any, version: int, includes_in_flight: bool = False) -> Outgoing | None:
        """A whole state took the place of changes: what differs is merged as one remote change.

        With `includes_in_flight` (the state's `acks` name it) the submission is done; else `resend` it.
        """
        if includes_in_flight and self._in_flight is not None:
            self.document = apply(self.document, settle(self.document, self._in_flight.operations))
            self._in_flight = None
        self._receive(document, version, difference(self.document, document))
        return self._next_submission()

    def resend(self) -> Outgoing | None:
        """After a reconnect: the submission in flight as it was sent, else what waits."""
        return self.in_flight or self._next_submission()

    def resubmit(self) -> Outgoing | None:
        """After VERSION_TOO_OLD, which consumed no seq: the submission in flight on the present version."""
        if self._in_flight is None:
            return self._next_submission()
        operations = settle(self.document, self._in_flight.operations, tests=True)
        try:
            apply(self.document, operations)
        except PatchError as error:
            self.refused.append(error)
            return self.withdraw()
        seq = self._in_flight.submission.seq
        patch = emit(self.document, operations, tests=True)
        if not patch:  # others left nothing of it
            return self.withdraw()
        submission = Outgoing(seq, self.version, patch)
        self._in_flight = _InFlight(submission, operations, resubmitted=True)
        return submission

    def _only_patch(self, version: int) -> Patch:
        """The patch that was sent under the seq in flight, if it was one only."""
        assert self._in_flight is not None
        if self._in_flight.resubmitted:
            raise ValueError(f"version {version} answers one of several patches that were sent")
        return self._in_flight.submission.patch

    def _receive_own(self, version: int, patch: Patch | None) -> None:
        """A change of this client's that is no longer in flight."""
        if patch is not None:
            self.receive(version, patch)
        elif version > self.version:
            raise ValueError(f"version {version} answers a submission that was given up")

    def _expect(self, version: int) -> None:
        if version != self.version + 1:
            raise ValueError(f"version {version} after {self.version}: changes are missing")

    def _receive(self, document: Any, version: int, change: Operations) -> None:
        """A change of `document`, past the submission in flight and what waits."""
        flying = self._in_flight
        if flying is not None:
            change, own = transform(change, flying.operations)
            flying = replace(flying, operations=own)
        self._carry(change)
        self._in_flight, self.document, self.version = flying, document, version

    def _carry(self, change: Operations) -> None:
        """A change that stands on document + in flight: past the buffer, to the view."""
        buffer: list[Operations] = []
        for edit in self._buffer:
            change, carried = transform(change, edit)
            buffer.append(carried)
        view = apply(self.view, change)
        self.undo_stacks.remote(self.view, change)
        self._buffer, self.view = buffer, view

    def _next_submission(self) -> Outgoing | None:
        """Put what waits in flight, as one patch, when the wire is free."""
        if self._in_flight is not None:
            return None
        document = self.document
        operations: list[Operation] = []
        while self._buffer:
            edit = self._buffer[0]
            if operations and len(operations) + len(edit) > self._limits.patch_operations_max:
                break
            del self._buffer[0]
            try:
                document = apply(document, edit)
            except PatchError as error:
                self._drop(document, edit, error)
            else:
                operations.extend(edit)
        patch = emit(self.document, operations, tests=True)
        if not patch:
            return None
        submission = Outgoing(self._seq_next, self.version, patch)
        self._seq_next += 1
        self._in_flight = _InFlight(submission, settle(self.document, operations, tests=True))
        return submission

    def _drop(self, document: Any, edit: Operations, error: PatchError) -> None:
        """A buffered edit can't be sent any more, for a test in it fails on what others wrote."""
        self.refused.append(error)
        self.undo_stacks.clear()
        self._carry(invert(document, [operation for operation in edit if operation[0] != TST]))
