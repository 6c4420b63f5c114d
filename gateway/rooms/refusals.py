"""What a room answers where an edit can't be carried out."""

from __future__ import annotations

from typing import Any

from gateway.errors import WHY, PatchError, Refusal
from gateway.ports import Failed

RETRY_BUSY_MS = 200


def too_busy(who: str) -> Refusal:
    """The answer to an edit on top of as many as may be; `who` as in "This node has"."""
    text = f"{who} too many edits on their way; send it again later."
    return Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=RETRY_BUSY_MS)


def not_stored(outcome: Failed) -> Refusal:
    """The answer to an edit that the log didn't take, or of which it can't say whether it did."""
    text = f"The change could not be stored; {WHY}. Send it again."
    if outcome.is_damage:
        text = f"The change could not be stored, for stored data is damaged: {outcome.message}."
    return Refusal("UNAVAILABLE", text, outcome=outcome.outcome, retry_after_ms=outcome.retry_after_ms)


def locate(refusal: Refusal, patch: list[dict[str, Any]], index: int | None = None) -> None:
    """Have a refusal say which operation of the patch failed, as far as that can be told.

    Without an `index` it is the last one that touches the member of the refusal's `path`, or the only one.
    """
    details = refusal.details
    if index is None and len(patch) == 1:
        index = 0
    elif index is None and "path" in details:
        member = details["path"].split("/")[1:2]
        touching = [
            n for n, operation in enumerate(patch) if operation["path"].split("/")[1:2] in (member, [])
        ]
        index = touching[-1] if touching else None
    if index is not None and index < len(patch):
        details["index"] = index
        path = patch[index].get("path")
        if "path" not in details and isinstance(path, str):
            details["path"] = path


def _index_of_test(patch: list[dict[str, Any]], test: int) -> int:
    """Where the patch has its test number `test`: edits keep theirs, in order, past all others."""
    tests = [index for index, operation in enumerate(patch) if operation["op"] == "test"]
    return tests[test]


def refusal_of(error: PatchError, patch: list[dict[str, Any]], document: Any, version: int) -> Refusal:
    """The ERROR for a patch that can't be carried out on this document.

    A CONFLICT that names neither an operation nor conflicts has met too many others: none of the patch is
    to blame.
    """
    index = error.index if error.test is None else _index_of_test(patch, error.test)
    text = f"{error}" if index is None else f"{error} (operation {index})"
    is_conflict = error.code == "CONFLICT"
    refusal = conflict(text, document, version) if is_conflict else Refusal(error.code, text)
    if index is not None or not is_conflict:
        locate(refusal, patch, index)
    return refusal


def conflict(text: str, document: Any, version: int, **details: Any) -> Refusal:
    """The edit met another one; `document` and `version` are the head."""
    return Refusal("CONFLICT", text, server_state=document, version=version, **details)


def other_history(version: int) -> Refusal:
    """The edit was made in an epoch that is over; `version` is the head of the present one."""
    text = "The resource's history is another one now (epoch): resume and resubmit."
    return Refusal("VERSION_TOO_OLD", text, version=version)


def left_behind(version: int) -> Refusal:
    """The edit was made on what the log doesn't keep, or so far back; `version` is the head."""
    text = "Too much came since, or it isn't kept any more: resume, merge and resubmit."
    return Refusal("VERSION_TOO_OLD", text, version=version)
