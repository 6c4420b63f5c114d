"""Telling a room's subscribers of its changes: each form encoded once, the author's OP_ACK in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway import ot
from gateway.ports import Connection, Group
from gateway.ports.values import Ack, Own
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry
from gateway.wire import messages


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
    return messages.encode("OP_BROADCAST", payload, stamp_ms)


def acknowledgement(entry: Entry, submission: Submission, name: Mapping[str, str], stamp_ms: int) -> bytes:
    """The OP_ACK of a committed submission, with its operations where they aren't the submitted ones."""
    payload: dict[str, Any] = dict(name)
    payload["version"] = entry.record.version
    payload["id"] = submission.op_id
    if submission.undoes is not None or entry.patch != submission.patch:
        payload["operations"] = operations_of(entry, submission.author.extended)
    return messages.encode("OP_ACK", payload, stamp_ms)


def deliver(
    forms: Iterable[Form],
    members: Mapping[Connection, Form],
    entries: Sequence[Entry],
    submissions: Sequence[Submission],
    name: Mapping[str, str],
    topic: str,
    stamp_ms: int,
) -> int:
    """Publish changes, in order, to every subscriber; returns how many broadcasts went out.

    `submissions` are those of the entries, in the same order; none where another worker made the changes.
    `stamp_ms` is the messages' time: not the changes' own, for others of the resource went out since.
    """
    own: dict[Connection, dict[int, Own]] = {}
    sent = 0
    for index, submission in enumerate(submissions):
        connection = submission.author.connection
        if connection is None:
            continue
        entry = entries[index]
        ack = Ack(submission.op_id, submission.seq, entry.record.version)
        message = acknowledgement(entry, submission, name, stamp_ms)
        if connection in members:
            own.setdefault(connection, {})[index] = Own(message, ack)
            sent -= 1
        else:
            connection.send(message, topic, ack=ack)
    for form in forms:
        group, extended = form.group, form.extended
        count = len(group)
        if count:
            payloads = [broadcast(entry, extended, name, stamp_ms) for entry in entries]
            group.publish(payloads, own, topic)
            sent += count * len(payloads)
    return sent
