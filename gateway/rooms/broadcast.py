"""A committed change as messages: OP_BROADCAST in each form, OP_ACK for its author."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import ot
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry
from gateway.wire import messages


def operations_of(entry: Entry, extended: bool) -> list[dict[str, Any]]:
    """A change's operations in a form: for plain clients one RFC 6902 operation, none for a no-op."""
    if extended:
        return entry.patch
    operation = ot.plain(entry.before, entry.patch, entry.after)
    return [] if operation["op"] == "noop" else [operation]


def broadcast(entry: Entry, extended: bool, name: Mapping[str, str], stamp_ms: int) -> bytes:
    """The OP_BROADCAST of a change. One operation goes by `operation`, more (or none) by `operations`."""
    record = entry.record
    payload: dict[str, Any] = dict(name)
    if not extended:
        payload["operation"] = ot.plain(entry.before, entry.patch, entry.after)
    elif len(entry.patch) == 1:
        payload["operation"] = entry.patch[0]
    else:
        payload["operations"] = entry.patch
    payload["version"] = record.version
    payload["client_id"] = record.client_id
    payload["user_id"] = record.user_id
    payload["op_id"] = entry.op_id
    return messages.encode("OP_BROADCAST", payload, stamp_ms)


def acknowledgement(entry: Entry, submission: Submission, name: Mapping[str, str], stamp_ms: int) -> bytes:
    """The OP_ACK of a committed submission, with its operations where they aren't the submitted ones."""
    payload: dict[str, Any] = dict(name)
    payload["version"] = entry.record.version
    payload["id"] = submission.op_id
    if submission.undoes is not None or entry.patch != submission.patch:
        payload["operations"] = operations_of(entry, submission.author.extended)
    if submission.conflicts:
        payload["conflicts"] = submission.conflicts
    if submission.sanitised:
        payload["sanitised"] = submission.sanitised
    return messages.encode("OP_ACK", payload, stamp_ms)
