"""Presence across nodes: what the members of this one do is told to the others, and theirs to ours.

News go over the bus, at most once: `[kind, node, number, session, entry]` as JSON. What lasts is kept by
leases (the port `Leases`): a room is filled from there when it opens, and compared with it now and then and
after a gap of the bus. `number` counts a node's news; of one session only newer ones count, so late and
repeated news do no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import trio

from gateway.config import PresenceSettings
from gateway.errors import Refusal
from gateway.ports import Bus, Leases, Member
from gateway.rooms.room import Room
from gateway.rooms.roster import JOIN, LEAVE, NO_CURSOR, UPDATE, Presence
from gateway.runtime.timeslice import Slices
from gateway.wire import messages

logger = logging.getLogger(__name__)

RETRY_PAUSE_S = 1.0
PACE_S = 0.1
# So many rooms are compared by one question.
COMPARED_AT_ONCE = 100
# The bus is faster than the leases' storage: what was heard within this time outweighs what is stored.
GRACE_S = 5.0
NEVER_S = float("-inf")
LOST_NODES_MAX = 1000
MALFORMED = (ValueError, KeyError, TypeError, IndexError, Refusal)


class RemotePerson:
    """Who a session of another node speaks for: the port `Person`."""

    __slots__ = ("avatar_url", "name", "user_id")

    def __init__(self, user_id: str, name: str, avatar_url: str) -> None:
        self.user_id = user_id
        self.name = name
        self.avatar_url = avatar_url


def encode(entry: Presence) -> bytes:
    """An entry for other nodes."""
    person = entry.person
    fields = {
        "number": entry.number,
        "client_id": entry.client_id,
        "user": [person.user_id, person.name, person.avatar_url],
        "cursor": entry.cursor,
        "is_typing": entry.is_typing,
        "seen": entry.seen_ms(),
        "color": entry.color,
        "active": entry.active_ms,
    }
    return orjson.dumps(fields)


def decode(node: str, session: str, fields: Mapping[str, Any], now_ms: int) -> Presence:
    """Another node's entry; one of MALFORMED where it is none. Its times never lie in our future."""
    user_id, name, avatar_url = fields["user"]
    client_id, color = fields["client_id"], fields.get("color", "")  # a node of an older version sends none
    for text in (node, session, user_id, name, avatar_url, client_id, color):
        if not isinstance(text, str):
            raise TypeError(text)
    person = RemotePerson(user_id, name, avatar_url)
    entry = Presence(session, client_id, person, None, min(now_ms, fields["seen"]))
    entry.node = node
    entry.number = messages.integer_of(fields, "number")
    entry.cursor = messages.cursor_of(fields) or NO_CURSOR
    entry.is_typing = messages.flag_of(fields, "is_typing", False)
    entry.color = color
    entry.active_ms = min(now_ms, fields["active"])
    return entry


class RemotePresence:
    """The other nodes' part of the rosters of `rooms`. `run` must be running."""

    def __init__(
        self,
        config: PresenceSettings,
        bus: Bus,
        leases: Leases,
        rooms: Mapping[str, Room],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        self._config = config
        self._bus = bus
        self._leases = leases
        self._rooms = rooms
        self._wall_ms = wall_ms
        self._now_s = now_s
        self._number = 0
        self._heard_s: dict[tuple[str, str], float] = {}  # (resource, session) -> when news came
        self._left: dict[tuple[str, str], int] = {}  # (resource, session) -> number of its leaving
        self._lost: dict[str, None] = {}
        self._newly_lost: set[str] = set()
        self._lapsed = False
        self._unreconciled: dict[str, None] = {}
        self._doubted: dict[str, None] = {}  # rooms with who was heard of and isn't stored
        self._work = trio.Event()
        leases.attach(self)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled; started with the lease taken."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._leases.run)
            nursery.start_soon(self._reconcile)
            nursery.start_soon(self._reconcile_everything)
            nursery.start_soon(self._reconcile_doubted)
            nursery.start_soon(self._forget_old_news)
            task_status.started()

    # ------------------------------------------------------------------------------------- ours

    def share(self, resource: str, kind: str, entry: Presence) -> None:
        """Tell the other nodes what became of a member of this one."""
        self._number += 1
        entry.number = self._number
        encoded = encode(entry)
        if kind == LEAVE:
            self._leases.remove(resource, entry.session_id)
        else:
            self._leases.put(resource, entry.session_id, encoded)
        news = (kind, self._leases.node, entry.number, entry.session_id, orjson.Fragment(encoded))
        self._bus.publish(resource, orjson.dumps(news))

    def on_lease_lapsed(self) -> None:
        """The others dropped our members: they join again, under the new incarnation."""
        self._lapsed = True
        self._work.set()

    async def _join_again(self) -> None:
        self._lapsed = False
        slices = Slices(self._now_s)
        for room in list(self._rooms.values()):
            for entry in room.roster.entries():
                if not entry.node:
                    self.share(room.resource, JOIN, entry)
            await slices.pause()

    # ------------------------------------------------------------------------------------- theirs

    def on_message(self, room: Room, payload: bytes) -> None:
        """News of another node's member."""
        try:
            kind, node, _, session, fields = orjson.loads(payload)
            if node in self._lost:
                return
            entry = decode(node, session, fields, self._wall_ms())
        except MALFORMED as error:
            logger.warning("%s: no presence, and no announcement: %r", room.resource, error)
            return
        place = (room.resource, session)
        if entry.number < self._left.get(place, 0):
            return
        self._heard_s[place] = self._now_s()
        if kind == LEAVE:
            self._left[place] = entry.number
            known = room.roster.get(session)
            if known is not None and known.number < entry.number:
                room.roster.expel(session, self._wall_ms())
        elif kind in (JOIN, UPDATE):
            room.roster.admit(entry, self._wall_ms())

    async def fill(self, room: Room) -> None:
        """Bring a room that opens the members of the other nodes; when they can't be had, soon."""
        await self._compare({room.resource: room})

    async def _compare(self, rooms: Mapping[str, Room]) -> bool:
        """Bring rooms the members of the other nodes, later where they can't be had; whether all could."""
        asked_s = self._now_s()
        members = await self._leases.members(list(rooms))
        slices = Slices(self._now_s)
        for name, room in rooms.items():
            await slices.pause()  # never after the last one, which its caller may be about to open
            if name in members:
                self._take_all(room, members[name], asked_s)
            else:
                self.reconcile_soon(name)
        return len(members) == len(rooms)

    def _take_all(self, room: Room, members: Sequence[Member], asked_s: float) -> None:
        """Have a room list these of the other nodes, and no others but those it heard of since then."""
        present = {member.session for member in members if self._take(room, member)}
        for entry in room.roster.entries():
            if not entry.node or entry.session_id in present:
                continue
            if self._heard_s.get((room.resource, entry.session_id), NEVER_S) <= asked_s - GRACE_S:
                room.roster.expel(entry.session_id, self._wall_ms())
            else:
                self._doubted[room.resource] = None

    def _take(self, room: Room, member: Member) -> bool:
        """Whether a stored member counts; it is admitted then."""
        if member.node == self._leases.node or member.node in self._lost:
            return False
        try:
            entry = decode(member.node, member.session, orjson.loads(member.entry), self._wall_ms())
        except MALFORMED as error:
            logger.warning("%s: no presence entry: %r", room.resource, error)
            return False
        if entry.number <= self._left.get((room.resource, member.session), 0):
            return False
        room.roster.admit(entry, self._wall_ms())
        return True

    def on_node_lost(self, node: str) -> None:
        """A node's lease ran out, or it left: its members go."""
        self._lost[node] = None
        if len(self._lost) > LOST_NODES_MAX:
            del self._lost[next(iter(self._lost))]
        self._newly_lost.add(node)
        self._work.set()

    def on_node_found(self, node: str) -> None:
        """Where it was told as lost, its members return and its news count: it heard late that partitions had
        moved, and took its lease anew."""
        if node in self._lost:
            del self._lost[node]
            for name in self._watched():
                self.reconcile_soon(name)

    async def _expel_lost(self) -> None:
        lost, self._newly_lost = self._newly_lost, set()
        slices = Slices(self._now_s)
        for room in list(self._rooms.values()):
            for entry in room.roster.entries():
                if entry.node in lost:
                    room.roster.expel(entry.session_id, self._wall_ms())
            await slices.pause()

    # ------------------------------------------------------------------------------------- reconciling

    def reconcile_soon(self, resource: str) -> None:
        """News may have been lost: compare this room with what is stored, soon."""
        self._unreconciled[resource] = None
        self._work.set()

    async def _reconcile(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            due, self._unreconciled = self._unreconciled, {}
            names = list(due)
            await self._settle_nodes()
            could_all = True
            for start in range(0, len(names), COMPARED_AT_ONCE):
                could_all &= await self._settle(names[start : start + COMPARED_AT_ONCE])
                await self._settle_nodes()
            if not could_all:
                await trio.sleep(RETRY_PAUSE_S)

    async def _settle_nodes(self) -> None:
        """What is to be done for whole nodes waits for no more than one comparison."""
        if self._lapsed:
            await self._join_again()
        if self._newly_lost:
            await self._expel_lost()

    async def _settle(self, names: Sequence[str]) -> bool:
        """Compare these rooms, as far as they are open; whether all could be."""
        rooms = {name: room for name in names if (room := self._rooms.get(name)) is not None}
        return not rooms or await self._compare(rooms)

    async def _reconcile_everything(self) -> None:
        """Compare each room once in `reconcile_s`, spread over that time."""
        while True:
            names = self._watched()
            turns = max(1, int(self._config.reconcile_s / PACE_S))
            for turn in range(turns):
                await trio.sleep(self._config.reconcile_s / turns)
                for name in names[turn::turns]:
                    self.reconcile_soon(name)

    async def _reconcile_doubted(self) -> None:
        """Who isn't stored is about to be, or left, and the news of it was lost: the next look tells."""
        while True:
            await trio.sleep(GRACE_S)
            doubted, self._doubted = self._doubted, {}
            for name in doubted:
                self.reconcile_soon(name)

    def _watched(self) -> list[str]:
        return [name for name, room in self._rooms.items() if room.subscriber_count]

    async def _forget_old_news(self) -> None:
        """Bound what is remembered of news: it matters only while the storage may lag behind."""
        while True:
            await trio.sleep(2 * GRACE_S)
            before_s = self._now_s() - 2 * GRACE_S
            old = [place for place, heard_s in self._heard_s.items() if heard_s < before_s]
            for place in old:
                del self._heard_s[place]
                self._left.pop(place, None)
