"""Telling a room's subscribers of its changes: each form encoded once, the author's OP_ACK in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway import ot, protocol
from gateway.ports import Ack, Connection, Group, Own
from gateway.submission import Submission
from gateway.window import Entry

Change = tuple[Submission | None, Entry]  # the submission where it was made on this worker


class Form:
    """The subscribers that get one form of a change: the extended one, or the plain one."""

    __slots__ = ("extended", "group")

    def __init__(self, extended: bool, group: Group) -> None:
        self.extended = extended
        self.group = group


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
    return protocol.encode("OP_BROADCAST", payload, stamp_ms)


def acknowledgement(
    entry: Entry, submission: Submission, name: Mapping[str, str], stamp_ms: int
) -> tuple[bytes, Ack]:
    """The OP_ACK of a committed submission, with its operations where they aren't the submitted ones."""
    version, op_id = entry.record.version, submission.op_id
    payload: dict[str, Any] = {**name, "version": version, "id": op_id}
    if submission.undoes is not None or entry.patch != submission.patch:
        payload["operations"] = operations_of(entry, submission.author.extended)
    return protocol.encode("OP_ACK", payload, stamp_ms), Ack(op_id, submission.seq, version)


def deliver(
    forms: Iterable[Form],
    members: Mapping[Connection, Form],
    changes: Sequence[Change],
    name: Mapping[str, str],
    topic: str,
    stamp_ms: int,
) -> int:
    """Publish changes, in order, to every subscriber; returns how many broadcasts went out.

    `stamp_ms` is the messages' time: not the changes' own, for others of the resource went out since.
    """
    own: dict[Connection, dict[int, Own]] = {}
    sent = 0
    for index, (submission, entry) in enumerate(changes):
        connection = None if submission is None else submission.author.connection
        if submission is None or connection is None:
            continue
        message, ack = acknowledgement(entry, submission, name, stamp_ms)
        if connection in members:
            own.setdefault(connection, {})[index] = Own(message, ack)
            sent -= 1
        else:
            connection.send(message, topic, ack=ack)
    for form in forms:
        group, extended = form.group, form.extended
        count = len(group)
        if count:
            payloads = [broadcast(entry, extended, name, stamp_ms) for _, entry in changes]
            group.publish(payloads, own, topic)
            sent += count * len(payloads)
    return sent
