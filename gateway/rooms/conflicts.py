"""What an edit overwrote or lost, as its author is told, and as the log keeps it with the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from gateway import ot
from gateway.ports.values import Record
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry, Kept

# Of one change, values included. What is beyond names its places without them: it goes to the log with the
# change, and to everybody who resumes.
CONFLICTS_BYTES_MAX = 64 * 1024


class Earlier(NamedTuple):
    """A concurrent change that left the window before the edit that it concerns was lowered."""

    operations: ot.Operations
    record: Record


class Began(NamedTuple):
    """Where an edit began, whose base had left the window.

    The document there, the changes from there to the base that the submission was given, and what was lost to
    them (bits as of `ot.rebase_losses`).
    """

    document: Any
    changes: Sequence[Earlier]
    losses: int


Concurrent = Kept | Entry | Earlier


class Met:
    """What a submission met on its way to the head: changes, oldest first, their operations in `window`, and
    what it lost to them, as `ot.rebase_losses` says it."""

    __slots__ = ("changes", "losses", "window")

    def __init__(self, changes: list[Concurrent], window: list[ot.Operations], losses: int) -> None:
        self.changes = changes
        self.window = window
        self.losses = losses


class Found(NamedTuple):
    """The conflicts of a submission: the JSON array that the log, the OP_ACK and a resume carry; no bytes
    where there are none. Their kinds, in the same order."""

    json: bytes
    kinds: list[str]


NOTHING_FOUND = Found(b"", [])


def found_conflicts(
    submission: Submission,
    document: Any,
    met: Met,
    strategies: ot.Strategies,
    limits: ot.Limits,
    budget: ot.Budget | None = None,
) -> Found:
    """The conflicts of a submission with what it met after `document`, which its author saw.

    Those with the author's own changes (an OP sent before the last one was answered) are none.
    """
    if met.losses & ot.ONLY_WRITES_OVER and submission.began is None and len(submission.patch) == 1:
        conflicts = ot.overwritten(document, submission.operations[0], met.window, budget)
    else:
        conflicts = ot.conflicts(document, submission.patch, met.window, strategies, limits, budget)
    found = []
    for conflict in conflicts:
        index = conflict.pop("change")
        record = _record_of(met.changes[index]) if index >= 0 else None
        if record is None:
            found.append(conflict)
        elif not _is_author(submission, record):
            conflict["version"] = record.version
            conflict["user_id"] = record.user_id
            conflict["timestamp"] = record.timestamp
            found.append(conflict)
    if not found:
        return NOTHING_FOUND
    return Found(_bounded(found), [conflict["kind"] for conflict in found])


def _is_author(submission: Submission, record: Record) -> bool:
    return record.user_id == submission.user_id and record.client_id == submission.client_id


def _record_of(change: Concurrent) -> Record:
    return change.record() if isinstance(change, Kept) else change.record


def _bounded(conflicts: list[dict[str, Any]]) -> bytes:
    """As JSON, without the values that are beyond the bound in all."""
    left = CONFLICTS_BYTES_MAX
    written = []
    for conflict in conflicts:
        text = orjson.dumps(conflict)
        size = len(text)
        if size > left:
            there = {name for name in ("base", "theirs") if name in conflict}
            conflict["omitted"] = sorted(there.union(conflict.get("omitted", ())))
            for name in there:
                del conflict[name]
            text = orjson.dumps(conflict)
        left -= size
        written.append(text)
    return b"[" + b",".join(written) + b"]"
