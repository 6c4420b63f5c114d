"""What an edit overwrote or lost, as its author is told, and as the log keeps it with the change."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from gateway import ot
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry, Kept

# Of one change, values included. What is beyond names its places without them: it goes to the log with the
# change, and to everybody who resumes.
CONFLICTS_BYTES_MAX = 64 * 1024


class Began(NamedTuple):
    """Where an edit began, whose base had left the window.

    The document there; the changes from there to the base that the submission got, their operations in
    `window`, what was logged of them in `bodies`, and what was lost to them (bits as of `ot.rebase_losses`).
    """

    document: Any
    bodies: list[bytes]
    window: list[ot.Operations]
    losses: int


class Met:
    """What a submission met on its way to the head: the operations of all changes in `window`, oldest first,
    and what it lost to them, as `ot.rebase_losses` says it. The last of them are `changes`; those before are
    known where it `began`."""

    __slots__ = ("began", "changes", "losses", "window")

    def __init__(
        self, began: Began | None, changes: list[Kept | Entry], window: list[ot.Operations], losses: int
    ) -> None:
        self.began = began
        self.changes = changes
        self.window = window
        self.losses = losses


class Found(NamedTuple):
    """The conflicts of a submission: the JSON array that the log, the OP_ACK and a resume carry; no bytes
    where there are none. Their kinds, in the same order. `has_others`: others' changes are among them."""

    json: bytes
    kinds: list[str]
    has_others: bool


NOTHING_FOUND = Found(b"", [], False)


def met_by(
    began: Began | None, concurrent: list[Kept | Entry], window: list[ot.Operations], losses: int
) -> Met:
    """What a submission met: after its base, and before that where it began further behind."""
    if began is None:
        return Met(None, concurrent, window, losses)
    if concurrent:
        both = began.losses & losses
        losses = (began.losses | losses) & ~(ot.ONLY_WRITES_OVER & ~both)
    else:
        losses = began.losses
    return Met(began, concurrent, began.window + window, losses)


def found_conflicts(
    submission: Submission,
    document: Any,
    met: Met,
    is_left_out: bool,
    strategies: ot.Strategies,
    limits: ot.Limits,
    budget: ot.Budget | None = None,
) -> Found:
    """The conflicts of a submission with what it met after `document`, which its author saw.

    Those with the author's own changes (an OP sent before the last one was answered) are none. `is_left_out`:
    `normalise` took something out.
    """
    if met.losses & ot.ONLY_WRITES_OVER and len(submission.patch) == 1 and not is_left_out:
        conflicts = ot.overwritten(document, submission.operations[0], met.window, budget)
    else:
        conflicts = ot.conflicts(document, submission.patch, met.window, strategies, limits, budget)
    found = []
    for conflict in conflicts:
        index = conflict.pop("change")
        if index < 0 or _name_change(conflict, met, index, submission):
            found.append(conflict)
    if not found:
        return NOTHING_FOUND
    of_others = [conflict for conflict in found if "version" in conflict]
    return Found(_bounded(found), [conflict["kind"] for conflict in found], bool(of_others))


def _name_change(conflict: ot.Conflict, met: Met, index: int, submission: Submission) -> bool:
    """Have a conflict say which change wrote the other value; False where that is the author's own."""
    index -= len(met.window) - len(met.changes)
    user_id, client_id, timestamp_ms = _origin(met, index)
    if user_id == submission.user_id and client_id == submission.client_id:
        return False
    conflict["version"] = submission.base + 1 + index
    conflict["user_id"] = user_id
    conflict["timestamp"] = timestamp_ms
    return True


def _origin(met: Met, index: int) -> tuple[str, str, int]:
    """Whose change it was, by which client, and when (Unix ms).

    `index` is a place in `met.changes`; below 0 it counts back from where these begin.
    """
    if index < 0:
        assert met.began is not None, "a change that isn't known"
        logged = orjson.loads(met.began.bodies[index])
        return logged["user_id"], logged["client_id"], logged["timestamp"]
    change = met.changes[index]
    if isinstance(change, Kept):
        kept = change
        return kept.user_id, kept.client_id, kept.timestamp
    record = change.record
    return record.user_id, record.client_id, record.timestamp


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
