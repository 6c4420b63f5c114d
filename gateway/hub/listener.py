"""What the bus brings the rooms of a worker: changes that others committed, and news of other nodes' members.

The bus is at most once, so it only spares a look into the log: whatever doesn't follow what a room has makes
the room catch up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.hub.catch_up import CatchUp
from gateway.hub.remote_presence import RemotePresence
from gateway.ports import TopicListener
from gateway.ports.tracing import Tracer
from gateway.rooms.room import Room
from gateway.runtime.metrics import Counters
from gateway.wire import announcement
from gateway.wire.announcement import Announcement

# Announcements of one room that are kept while an append is under way, and messages while it is being opened.
HELD_MAX = 256


class Listener:
    """The port `BusListener` over the open `rooms`. `heard` is told what others did.

    `remote_presence` is None where a node knows no others.

    `topics` are what isn't a resource, and who hears it.
    """

    def __init__(
        self,
        rooms: Mapping[str, Room],
        heard: Callable[[Room, Announcement], None],
        catch_up: CatchUp,
        remote_presence: RemotePresence | None,
        counters: Counters,
        tracer: Tracer | None = None,
    ) -> None:
        self._rooms = rooms
        self._heard = heard
        self._catch_up = catch_up
        self._remote_presence = remote_presence
        self._counters = counters
        self._tracer = tracer
        self.topics: dict[str, TopicListener] = {}
        self._missed: dict[str, list[bytes]] = {}
        self._doubtful: set[str] = set()  # while they are being opened
        self.held: dict[str, list[Announcement]] = {}  # while an append is under way

    def on_message(self, resource: str, payload: bytes) -> None:
        """An announcement of the log, or another node's presence."""
        self._counters.bus_received += 1
        topic = self.topics.get(resource)
        if topic is None:
            self._hear(resource, payload)
        else:
            topic.heard(payload)

    def on_gap(self, resource: str) -> None:
        """Messages may have been lost: compare with the log."""
        self._counters.bus_gaps += 1
        topic = self.topics.get(resource)
        if topic is not None:
            topic.missed()
        elif resource in self._missed:
            self._doubtful.add(resource)
        else:
            self._compare(resource)

    def _compare(self, resource: str) -> None:
        self._catch_up.soon(resource)
        if self._remote_presence is not None:
            self._remote_presence.reconcile_soon(resource)

    def expect(self, resource: str) -> None:
        """A room is being opened: what comes for it meanwhile is kept, and what may be lost is looked for."""
        self._missed[resource] = []

    def opened(self, resource: str) -> None:
        """A room is open, or couldn't be."""
        for payload in self._missed.pop(resource):
            self._hear(resource, payload)
        if resource in self._doubtful:
            self._doubtful.discard(resource)
            self._compare(resource)

    def release(self, room: Room) -> None:
        """An append was answered: what was announced meanwhile can be compared with it."""
        for announced in self.held.pop(room.resource, ()):
            self._take(room, announced)

    def _hear(self, resource: str, payload: bytes) -> None:
        room = self._rooms.get(resource)
        if room is None:
            if resource in self._missed:
                self._miss(resource, payload)
        elif announcement.is_announcement(payload):
            self._hear_changes(room, announcement.decode_heard(payload))
        elif self._remote_presence is not None:
            self._remote_presence.on_message(room, payload)

    def _miss(self, resource: str, payload: bytes) -> None:
        """Keep a message until the room is open; of too many, compare with the log then."""
        missed = self._missed[resource]
        missed.append(payload)
        if len(missed) > HELD_MAX:
            missed.clear()
            self._doubtful.add(resource)

    def _hear_changes(self, room: Room, announced: Announcement) -> None:
        if room.appending:
            self._heard(room, announced)
            self._hold(room.resource, announced)
        else:
            self._take(room, announced)

    def _take(self, room: Room, announced: Announcement) -> None:
        """Apply what another node committed, or find out what this room lacks."""
        self._heard(room, announced)
        forked = announced.epoch != room.epoch or not room.history.agrees(announced.records)
        if forked or not self._received(room, announced):
            self._catch_up.soon(room.resource)

    def _received(self, room: Room, announced: Announcement) -> bool:
        """Apply it and send it to the subscribers; False where it doesn't follow what the room has."""
        arrived_ms = announcement.arrived_ms_of(announced.nonce)
        if self._tracer is None:
            return room.receive(announced.records, arrived_ms)
        with self._tracer.delivering(room.resource, announced.nonce):
            return room.receive(announced.records, arrived_ms)

    def _hold(self, resource: str, announced: Announcement) -> None:
        """Keep an announcement until the append under way is answered, which may contradict it."""
        held = self.held.setdefault(resource, [])
        held.append(announced)
        if len(held) > HELD_MAX:
            held.clear()
            self._catch_up.soon(resource)
