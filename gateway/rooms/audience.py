"""Who looks on: a room's subscribers, each form of a message encoded once for all who get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from gateway.ports import Connection, Group
from gateway.ports.values import Ack, Own
from gateway.rooms.broadcast import acknowledgement, broadcast, plain_broadcasts
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry
from gateway.runtime.metrics import Counters


class Form:
    """The subscribers that get one form of a change: the extended one, or the plain one."""

    __slots__ = ("extended", "group")

    def __init__(self, extended: bool, group: Group) -> None:
        self.extended = extended
        self.group = group


class Audience:
    """The subscribers of one resource, `topic`. `make_group` makes the group of a form's subscribers."""

    __slots__ = ("_counters", "_forms", "_make_group", "_members", "_topic", "watchers")

    def __init__(self, topic: str, make_group: Callable[[], Group], counters: Counters) -> None:
        self._topic = topic
        self._make_group = make_group
        self._counters = counters
        self._members: dict[Connection, Form] = {}
        self._forms: dict[bool, Form] = {}
        self.watchers: list[Callable[[], None]] = []  # of those who aren't connected: called for each change

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection: Connection | None) -> bool:
        return connection in self._members

    def add(self, connection: Connection, extended: bool) -> None:
        """A subscriber from now on, in its form; who is one already may change it."""
        self.discard(connection)
        form = self._forms.get(extended)
        if form is None:
            form = self._forms[extended] = Form(extended, self._make_group())
        form.group.add(connection)
        self._members[connection] = form

    def discard(self, connection: Connection) -> bool:
        """A subscriber no longer; False where it was none."""
        form = self._members.pop(connection, None)
        if form is None:
            return False
        form.group.discard(connection)
        return True

    def send(self, message: bytes) -> None:
        """Something that all get, in order with the changes."""
        for form in self._forms.values():
            form.group.publish((message,), {}, self._topic)
        for changed in tuple(self.watchers):  # who hears may leave
            changed()

    def announce(self, message: bytes, author: Connection | None) -> None:
        """Tell everyone but `author` something that a slow reader may miss (presence)."""
        for form in self._forms.values():
            if len(form.group):
                own = {author: {0: Own(None)}} if author is not None else {}
                form.group.publish((message,), own, self._topic, droppable=True)
        self._counters.presence_sent += len(self._members)

    def tell(
        self,
        entries: Sequence[Entry],
        submissions: Sequence[Submission],
        name: dict[str, Any],
        stamp_ms: int,
    ) -> None:
        """Publish changes, in order, to every subscriber; an author gets its OP_ACK in the broadcast's place.

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
            ack = Ack(submission.op_id, submission.seq, entry.record.version, submission.conflicts)
            message = acknowledgement(entry, submission, name, stamp_ms)
            if connection in self._members:
                own.setdefault(connection, {})[index] = Own(message, ack)
                sent -= 1
            else:
                connection.send(message, self._topic, ack=ack)
        for form in self._forms.values():
            group = form.group
            count = len(group)
            if not count:
                continue
            if form.extended:
                payloads = [broadcast(entry, name, stamp_ms) for entry in entries]
                group.publish(payloads, own, self._topic)
                sent += count * len(payloads)
            else:
                sent += self._tell_plain(form, entries, own, name, stamp_ms)
        self._counters.deliveries += sent
        for changed in tuple(self.watchers):  # who hears may leave
            changed()

    def _tell_plain(
        self,
        form: Form,
        entries: Sequence[Entry],
        own: Mapping[Connection, Mapping[int, Own]],
        name: dict[str, Any],
        stamp_ms: int,
    ) -> int:
        """The same in the plain form, in which a change may be several messages.

        Of an author's own changes the first message is replaced, the others are left out. Returns how many
        were sent beyond those, which count as broadcasts too.
        """
        changes = [plain_broadcasts(entry, name, stamp_ms) for entry in entries]
        first = list(accumulate(map(len, changes), initial=0))
        nothing = Own(None)
        left_out = 0
        replaced: dict[Connection, dict[int, Own]] = {}
        for connection, acknowledged in own.items():
            if self._members[connection] is form:
                mine = replaced[connection] = {}
                for index, message in acknowledged.items():
                    mine.update(dict.fromkeys(range(first[index], first[index + 1]), nothing))
                    mine[first[index]] = message
                    left_out += len(changes[index]) - 1
        payloads = [message for change in changes for message in change]
        form.group.publish(payloads, replaced, self._topic)
        return len(form.group) * len(payloads) - left_out
