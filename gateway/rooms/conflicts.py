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


def found_conflicts(
    submission: Submission,
    document: Any,
    concurrent: list[Concurrent],
    strategies: ot.Strategies,
    limits: ot.Limits,
    budget: ot.Budget | None = None,
) -> list[dict[str, Any]]:
    """The conflicts of a submission with what came after `document`, which its author saw.

    Those with the author's own changes (an OP sent before the last one was answered) are none.
    """
    window = [change.operations for change in concurrent]
    found = []
    for conflict in ot.conflicts(document, submission.patch, window, strategies, limits, budget):
        index = conflict["change"]
        record = _record_of(concurrent[index]) if index >= 0 else None
        if record is None or not _is_author(submission, record):
            found.append(_told(conflict, record))
    return _bounded(found)


def _is_author(submission: Submission, record: Record) -> bool:
    return record.user_id == submission.user_id and record.client_id == submission.client_id


def _told(conflict: ot.Conflict, record: Record | None) -> dict[str, Any]:
    """A conflict as it goes out; `record` is the change that wrote the other value, where there is one."""
    told = {"index": conflict["index"], "path": conflict["path"], "kind": conflict["kind"]}
    if "base" in conflict:
        told["base"] = conflict["base"]
    if "theirs" in conflict:
        told["theirs"] = conflict["theirs"]
    if "omitted" in conflict:
        told["omitted"] = conflict["omitted"]
    if record is not None:
        told["version"] = record.version
        told["user_id"] = record.user_id
        told["timestamp"] = record.timestamp
    return told


def _record_of(change: Concurrent) -> Record:
    return change.record() if isinstance(change, Kept) else change.record


def _bounded(conflicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the values that are beyond the bound in all."""
    left = CONFLICTS_BYTES_MAX
    for conflict in conflicts:
        size = len(orjson.dumps(conflict))
        if size > left:
            there = {name for name in ("base", "theirs") if name in conflict}
            conflict["omitted"] = sorted(there.union(conflict.get("omitted", ())))
            for name in there:
                del conflict[name]
        left -= size
    return conflicts
