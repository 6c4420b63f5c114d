"""An edit on its way from its author to the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from gateway import ot
from gateway.errors import PatchError, Refusal
from gateway.ot.kernel.budget import UNBOUNDED_UNITS
from gateway.ot.kernel.documents import TST, TXT
from gateway.ports import Connection
from gateway.ports.values import Record
from gateway.rooms.window import Entry

UNITS_PER_BYTE = 100
# Measured: 256 KiB of JSON take up to 13 ms to be read, before there is a budget; usually 2.
READ_UNITS_PER_BYTE = 32
DELTAS = frozenset(("text", "inc", "test"))


class Author(Protocol):
    """Who waits for the answer to a submission."""

    @property
    def connection(self) -> Connection | None:
        """Where the OP_ACK goes, in the place of the broadcast; None: nowhere."""
        ...

    @property
    def extended(self) -> bool:
        """Whether the OP_ACK may hold extended operations."""
        ...

    def committed(self, submission: Submission, version: int) -> None:
        """It is the change `version` (a resend: it was already). Its OP_ACK is on the way."""
        ...

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        """It was not committed, for this reason."""
        ...

    def worked(self, units: int) -> None:
        """So much work was done for its submissions; told where it is worth telling."""
        ...


def units_of(size: int, units_max: int) -> int:
    """The work that an edit of so many bytes may still cause when it was read.

    A fifth of the most at least, and all that is left for large ones.
    """
    least = units_max // 5
    return max(least, min(units_max, least + UNITS_PER_BYTE * size) - READ_UNITS_PER_BYTE * size)


class Submission:
    """Operations on the document right after version `base`.

    `op_id` names it towards everyone; `arrived_s` is on the monotonic clock; `size`: its message's bytes.

    The rest is set where it is needed: `ref` is the id that its message had; `on_nothing`: at its base there
    was no document; `may_delete`: it may leave none behind; `expected`: the only head that it may stand on;
    `needs_document`: it may stand on none at which there is no document;
    `creates`: there was no document when it was staged last, and is one then;
    `digest` identifies its content, for resends by `seq`; `duplicate`: it was committed before;
    `undoes`: the version that it undoes or redoes;
    `sanitised`: paths whose values were made safe; `refuses`: it is refused rather than merged where it has
    `conflicts`, which are those found when it was staged last, as JSON, and their `kinds`; `began`: where its
    patch began, if that isn't `base` (a `rooms.conflicts.Began`); `units`: the work that it may still cause,
    `merged`: what its way to `base` took;
    `differs`: what it became when it was staged last does something else than its patch, which its author is
    told.
    """

    __slots__ = (
        "arrived_s", "author", "base", "began", "client_id", "conflicts", "creates", "differs", "digest",
        "duplicate", "expected", "kinds", "may_delete", "merged", "needs_document", "on_nothing", "op_id",
        "operations", "patch", "ref", "refuses", "sanitised", "seq", "size", "undoes", "units", "user_id",
    )  # fmt: skip

    def __init__(
        self,
        author: Author,
        user_id: str,
        client_id: str,
        op_id: str,
        base: int,
        patch: list[dict[str, Any]],
        operations: ot.Operations,
        arrived_s: float,
        size: int,
    ) -> None:
        self.author = author
        self.user_id = user_id
        self.client_id = client_id
        self.op_id = op_id
        self.base = base
        self.patch = patch
        self.operations = operations
        self.arrived_s = arrived_s
        self.size = size
        self.ref: str | None = None
        self.differs = False
        self.on_nothing = False
        self.creates = False
        self.duplicate = False
        self.may_delete = False
        self.needs_document = False
        self.expected: int | None = None
        self.seq: int | None = None
        self.digest = ""
        self.refuses = False
        self.began: Any = None
        self.conflicts = b""
        self.kinds: Sequence[str] = ()
        self.undoes: int | None = None
        self.sanitised: Sequence[str] = ()
        self.units = UNBOUNDED_UNITS
        self.merged = 0


class Staged:
    """A submission, and the change that it would be."""

    __slots__ = ("entry", "submission")

    def __init__(self, submission: Submission, entry: Entry) -> None:
        self.submission = submission
        self.entry = entry


def differs_in_effect(submission: Submission, entry: Entry, budget: ot.Budget) -> bool:
    """Does a change do something else than the patch that it is of, as it was sent? Its author is told then,
    where it has a connection.

    An index for `-`, a `test` that is left out and a text's delta for its new value are no difference. Where
    others' edits changed it, that both lead to one document isn't enough: the operations have to be the same,
    or the author's next edits might come to stand on another item of the same value. So where conflicts are
    told, whose places the operations explain.
    """
    if submission.author.connection is None:
        return False
    if submission.undoes is not None:
        return True
    if entry.patch == submission.patch:
        return False
    before = entry.before
    as_lowered = is_as_lowered(submission, entry)
    if not as_lowered and is_text(entry.operations):
        return True  # the usual one: a delta is lowered to the same on any document
    # On the document that they were made for deltas do the same, whatever the rule of their field.
    if as_lowered and submission.base == entry.record.version - 1 and is_of_deltas(submission.patch):
        return False
    try:
        literal = ot.lower(before, submission.patch, None, ot.UNLIMITED, budget)
        if as_lowered and not submission.conflicts:
            return not ot.identical(ot.apply(before, literal, budget), entry.after)
        return not ot.identical(ot.emit(before, literal, False, budget), entry.patch)
    except PatchError:
        return True


def is_text(operations: ot.Operations) -> bool:
    """Are they one edit of a text?"""
    return len(operations) == 1 and operations[0][0] == TXT


def is_of_deltas(patch: list[dict[str, Any]]) -> bool:
    """Does a patch only edit texts, add to integers and test?"""
    for operation in patch:  # noqa: SIM110 (a generator isn't compiled)
        if operation["op"] not in DELTAS:
            return False
    return True


def is_as_lowered(submission: Submission, entry: Entry) -> bool:
    """Is a change what its author's patch was at its base, tests apart?"""
    if submission.began is not None:
        return False
    lowered = [operation for operation in submission.operations if operation[0] != TST]
    return lowered == list(entry.operations)


def record_of(submission: Submission, version: int, patch: ot.Patch, timestamp_ms: int) -> Record:
    """What the log holds of a submission that becomes `version`."""
    change: dict[str, Any] = {
        "version": version,
        "operations": patch,
        "client_id": submission.client_id,
        "user_id": submission.user_id,
        "op_id": submission.op_id,
        "timestamp": timestamp_ms,
    }
    if submission.seq is not None:
        change["seq"] = submission.seq
    if submission.undoes is not None:
        change["undoes"] = submission.undoes
    if submission.conflicts:
        change["conflicts"] = orjson.Fragment(submission.conflicts)
    # Copied: orjson makes its bytes in 4 KB of memory and gives the end of that back in pieces that nobody
    # else can use, and windows keep tens of thousands of these.
    body = bytes(memoryview(orjson.dumps(change)))
    return Record(
        version,
        body,
        submission.user_id,
        submission.client_id,
        submission.seq,
        submission.digest,
        timestamp_ms,
        submission.undoes,
    )
