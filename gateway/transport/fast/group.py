"""The subscribers of one room in the fast transport: each message is framed once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from _speedups.fanout import FORMS_MAX, Frame, Members
from gateway.ports import Connection
from gateway.ports.values import Own
from gateway.transport.fast.connection import FastConnection
from gateway.transport.fast.context import TransportContext


class FastGroup:
    """Implements `gateway.ports.Group` with the fan-out kernel."""

    __slots__ = ("_forms", "_members", "_shared")

    def __init__(self, shared: TransportContext) -> None:
        self._shared = shared
        self._members = Members()
        self._forms: dict[int, int] = {}  # members of each form

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Connection) -> None:
        assert isinstance(connection, FastConnection)
        if self not in connection.groups and connection.handle in self._shared.connections:
            connection.groups[self] = None
            self._members.add(connection.handle)
            self._forms[connection.form] = self._forms.get(connection.form, 0) + 1

    def discard(self, connection: Connection) -> None:
        assert isinstance(connection, FastConnection)
        if self._members.discard(connection.handle):
            del connection.groups[self]
            self._forms[connection.form] -= 1
            if not self._forms[connection.form]:
                del self._forms[connection.form]

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        """See `gateway.ports.Group.publish`."""
        shared = self._shared
        forms: list[list[Frame] | None] = [None] * FORMS_MAX
        for form in self._forms:
            forms[form] = [Frame(shared.encode(payload, form), topic, droppable) for payload in payloads]
        substitutes = {}
        for connection, places in own.items():
            assert isinstance(connection, FastConnection)
            frames_of_form = forms[connection.form]
            if frames_of_form is not None:
                substitute = self._substitute(frames_of_form, places, connection.form, topic)
                substitutes[connection.handle] = substitute
        blocked = shared.slots.publish(self._members, tuple(forms), substitutes)
        for handle in blocked:
            slow = shared.connections.get(handle)
            if slow is not None:
                slow.enqueue_published(substitutes.get(handle, forms[slow.form]) or ())
        size = 0
        for payload in payloads:
            size += len(payload)
        shared.counters.messages_sent += len(self) * len(payloads)
        shared.counters.bytes_sent += len(self) * size
        shared.flush_soon()

    def _substitute(
        self, shared_frames: list[Frame], places: Mapping[int, Own], form: int, topic: str
    ) -> list[Frame]:
        """One member's frames: its own in the places that `places` names."""
        mine: list[Frame] = []
        for index, frame in enumerate(shared_frames):
            substitute = places.get(index)
            if substitute is None:
                mine.append(frame)
            elif substitute.payload is not None:
                data = self._shared.encode(substitute.payload, form)
                mine.append(Frame(data, topic, False, substitute.ack))
        return mine
