"""A committed change as messages: OP_BROADCAST in each form, OP_ACK for its author."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway import ot
from gateway.ports import Ack
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry
from gateway.wire import messages


def operations_of(entry: Entry, extended: bool) -> list[dict[str, Any]]:
    """A change's operations in a form: for plain clients those of RFC 6902."""
    return entry.patch if extended else ot.plain(entry.before, entry.patch, entry.after)


def plain_broadcasts(entry: Entry, name: Mapping[str, str], stamp_ms: int) -> list[bytes]:
    """The OP_BROADCASTs of a change for plain clients: one an operation, all of its version."""
    operations = operations_of(entry, False) or [ot.NOOP]
    parts = len(operations)
    payloads = []
    for number, operation in enumerate(operations, 1):
        payload: dict[str, Any] = {**name, "operation": operation}
        if parts > 1:
            payload["part"] = [number, parts]
        payloads.append(_broadcast(entry, payload, stamp_ms))
    return payloads


def broadcast(entry: Entry, name: Mapping[str, str], stamp_ms: int) -> bytes:
    """The OP_BROADCAST of a change. One operation goes by `operation`, more (or none) by `operations`."""
    payload: dict[str, Any] = dict(name)
    if len(entry.patch) == 1:
        payload["operation"] = entry.patch[0]
    else:
        payload["operations"] = entry.patch
    return _broadcast(entry, payload, stamp_ms)


def _broadcast(entry: Entry, payload: dict[str, Any], stamp_ms: int) -> bytes:
    record = entry.record
    payload["version"] = record.version
    payload["client_id"] = record.client_id
    payload["user_id"] = record.user_id
    payload["op_id"] = entry.op_id
    return messages.encode("OP_BROADCAST", payload, stamp_ms)


def acknowledgement(entry: Entry, submission: Submission, name: Mapping[str, str], stamp_ms: int) -> bytes:
    """The OP_ACK of a committed submission, with its operations where they do something else than it did."""
    payload: dict[str, Any] = dict(name)
    payload["version"] = entry.record.version
    payload["id"] = submission.op_id
    if submission.differs:
        payload["operations"] = operations_of(entry, submission.author.extended)
    if submission.conflicts:
        payload["conflicts"] = orjson.Fragment(submission.conflicts)
    if submission.sanitised:
        payload["sanitised"] = submission.sanitised
    return messages.encode("OP_ACK", payload, stamp_ms)


def acknowledged(ack: Ack) -> dict[str, Any]:
    """One of a SYNC_RESPONSE's `acks`."""
    shown: dict[str, Any] = {"id": ack.id, "version": ack.version}
    if ack.seq is not None:
        shown["seq"] = ack.seq
    if ack.conflicts:
        shown["conflicts"] = orjson.Fragment(ack.conflicts)
    return shown


def kept_acknowledgement(ack: Ack, resource: str, stamp_ms: int) -> bytes:
    """The OP_ACK of an author that reads slowly and doesn't look at the resource any more.

    What was committed isn't said, so nothing is to be applied: as with the answer to a resend.
    """
    resource_type, _, resource_id = resource.partition(":")
    payload = {"resource_id": resource_id, "resource_type": resource_type, **acknowledged(ack)}
    payload["duplicate"] = True
    return messages.encode("OP_ACK", payload, stamp_ms)
