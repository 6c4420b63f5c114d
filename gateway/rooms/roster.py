"""Who is here: the presence entries of one resource, and what is told about them.

Small rooms announce each join, leave and update; further updates of one client within the update interval
are conflated, the latest wins. A *crowded* room (more visible members than `members_max`) tells instead, at
most once a refresh interval, the state of those who were active lately, with the count of all.

Where several nodes hold sessions, a roster shares its own members' news, and is given those of others
(`hub/remote_presence.py`): `admit` and `expel`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.config import PresenceSettings
from gateway.ports import Connection, Person
from gateway.rooms.palette import Palette
from gateway.rooms.visibility import VisibilityTurns, is_over
from gateway.wire import messages

NO_CURSOR: dict[str, Any] = {"field": ""}
# Newer than any version.
NEVER = 1 << 62

JOIN, UPDATE, LEAVE = "PRESENCE_JOIN", "PRESENCE_UPDATE", "PRESENCE_LEAVE"

Announce = Callable[[bytes, Connection | None], None]


def _nobody() -> None:
    """Nobody calls `tick`."""


def _as_told(entries: Sequence[Presence]) -> int:
    """Where there is no history, cursors aren't carried."""
    return NEVER


class Client(Protocol):
    """The session of a member of this node."""

    @property
    def last_message_ms(self) -> int:
        """When its last message of any kind came, Unix ms."""
        ...


class Presence:
    """One session's entry in one resource. `connection` is None where another node holds the session."""

    __slots__ = (
        "active_ms",
        "announced_ms",
        "client",
        "client_id",
        "color",
        "connection",
        "cursor",
        "is_typing",
        "last_seen_ms",
        "node",
        "number",
        "person",
        "session_id",
        "typing_ms",
        "waiting",
    )

    def __init__(
        self, session_id: str, client_id: str, person: Person, connection: Connection | None, now_ms: int
    ) -> None:
        self.session_id = session_id
        self.client_id = client_id
        self.person = person
        self.connection = connection
        self.cursor: dict[str, Any] = NO_CURSOR
        self.is_typing = False
        self.typing_ms = 0  # when it last said that it is typing
        self.color = ""  # given by the roster of the node that holds the session
        self.client: Client | None = None
        self.last_seen_ms = now_ms  # of a member of another node; of one of this node its client knows
        self.active_ms = 0  # when it last edited or moved its cursor; 0 = never
        self.announced_ms = 0
        self.waiting = False  # an update is held back until the interval is over
        self.node = ""  # the incarnation of the other node that holds the session
        self.number = 0  # of the session's latest news: what is older is ignored

    def seen_ms(self) -> int:
        """When the client was last heard of."""
        return self.last_seen_ms if self.client is None else self.client.last_message_ms

    def payload(self) -> dict[str, Any]:
        """The RFC's flat `Presence`."""
        person = self.person
        return {
            "user_id": person.user_id,
            "user": {
                "id": person.user_id,
                "name": person.name,
                "avatar_url": person.avatar_url,
                "color": self.color,
            },
            "cursor": self.cursor,
            "is_typing": self.is_typing,
            "last_seen": self.seen_ms(),
            "client_id": self.client_id,
            "session_id": self.session_id,
        }


class Roster:
    """The visible members of one resource. Times are the node's own clock's, Unix ms, and passed in.

    `announce` tells everybody but one; `on_due` asks for calls of `tick` while `due`. `share` tells the other
    nodes what became of a member of this one (JOIN, UPDATE or LEAVE). `stamp` makes a time that of a message:
    it may be later, for other nodes' clocks count there, so it can't measure how long ago something was.
    `carry` puts members' cursors where they stand at the head, and returns its version.
    """

    __slots__ = (
        "_announce",
        "_carry",
        "_config",
        "_entries",
        "_members_max",
        "_on_due",
        "_palette",
        "_refresh_due",
        "_refreshed_ms",
        "_resource",
        "_share",
        "_stamp",
        "_told_from",
        "_typing",
        "_unshared",
        "_waiting",
        "turns",
    )

    def __init__(
        self,
        resource_type: str,
        resource_id: str,
        config: PresenceSettings,
        announce: Announce,
        on_due: Callable[[], None],
        share: Callable[[str, Presence], None] | None = None,
        stamp: Callable[[int], int] = int,
        carry: Callable[[Sequence[Presence]], int] = _as_told,
    ) -> None:
        self._resource = {"resource_type": resource_type, "resource_id": resource_id}
        self._config = config
        self._members_max = config.members_max
        self._announce = announce
        self._on_due = on_due
        self._entries: dict[str, Presence] = {}
        self._palette = Palette()
        self._waiting: list[Presence] = []
        self._typing: dict[Presence, None] = {}  # those of this node, who typed longest ago first
        self._refresh_due = False
        self._refreshed_ms = 0
        self._share = share
        self._stamp = stamp
        self._carry = carry
        self._told_from = NEVER  # no cursor was told before this version that `carry` could carry
        self._unshared: dict[Presence, None] = {}  # updates that wait for a crowded room's refresh
        self.turns = VisibilityTurns(config.update_interval_ms, on_due)

    def let_go(self) -> None:
        """Its room is no more, and isn't held: that would be a cycle."""
        self._on_due, self._stamp, self._carry = _nobody, int, _as_told
        self.turns = VisibilityTurns(self._config.update_interval_ms, _nobody)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def crowded(self) -> bool:
        """Whether single events are no longer told."""
        return self._is_crowded()

    def _is_crowded(self) -> bool:
        return len(self._entries) > self._members_max

    @property
    def due(self) -> bool:
        """Whether `tick` has something to tell, now or soon."""
        return self._refresh_due or bool(self._waiting) or self.turns.due

    def get(self, session_id: str) -> Presence | None:
        """The entry of a visible session."""
        return self._entries.get(session_id)

    def entries(self) -> Sequence[Presence]:
        """All members, those of other nodes among them."""
        return list(self._entries.values())

    def join(self, entry: Presence, now_ms: int) -> None:
        """A session becomes visible."""
        self._entries[entry.session_id] = entry
        self._note_cursor(entry)
        entry.color = self._palette.take(entry.person.user_id, entry.color)
        self._tell(JOIN, entry, now_ms)

    def leave(self, session_id: str, now_ms: int) -> None:
        """A session leaves, or turns invisible; unknown ones are ignored."""
        was_crowded = self.crowded
        entry = self._entries.pop(session_id, None)
        if entry is not None:
            self._unshared.pop(entry, None)
            self._typing.pop(entry, None)
            self._palette.give_back(entry.person.user_id)
            self._tell(LEAVE, entry, now_ms)
            if was_crowded and not self.crowded:  # not all who are left were told of
                self._refresh_later()

    def update(
        self, entry: Presence, now_ms: int, cursor: dict[str, Any] | None, is_typing: bool | None
    ) -> None:
        """A member moved its cursor or (un)set typing; told now, or with what follows within the interval."""
        if cursor is not None:
            entry.cursor = cursor
            self._carry((entry,))
            self._note_cursor(entry)
        if is_typing is not None:
            entry.is_typing = is_typing
        self._typing.pop(entry, None)
        if entry.is_typing:
            entry.typing_ms = now_ms
            self._typing[entry] = None
        entry.last_seen_ms = entry.active_ms = now_ms
        if is_over(entry.announced_ms, self._config.update_interval_ms, now_ms):
            self._tell(UPDATE, entry, now_ms)
        elif not entry.waiting:
            entry.waiting = True
            self._waiting.append(entry)
            self._on_due()

    def end_typing(self, now_ms: int) -> None:
        """Who hasn't said for a while that it is typing, or moved its cursor, isn't typing any more."""
        while self._typing:
            entry = next(iter(self._typing))
            if not is_over(entry.typing_ms, self._config.typing_s * 1000, now_ms):
                return
            del self._typing[entry]
            entry.is_typing = False
            self._tell(UPDATE, entry, now_ms)

    def rename(self, entry: Presence, client_id: str, now_ms: int) -> None:
        """The session's client_id became known."""
        entry.client_id = client_id
        self._tell(UPDATE, entry, now_ms)

    def edited(self, session_id: str, now_ms: int) -> None:
        """A member edited: it counts as active, without a message of its own."""
        entry = self._entries.get(session_id)
        if entry is not None:
            entry.last_seen_ms = entry.active_ms = now_ms
            if self._is_crowded():
                self._refresh_later(entry)

    def admit(self, entry: Presence, now_ms: int) -> None:
        """Another node's member, as it is now: news unless it is what is known."""
        known = self._entries.get(entry.session_id)
        if known is None:
            self.join(entry, now_ms)
        elif known.node and entry.number > known.number:
            self._entries[entry.session_id] = entry
            self._note_cursor(entry)
            entry.color = entry.color or known.color
            if self.crowded or entry.payload() != known.payload():
                self._tell(UPDATE, entry, now_ms)

    def expel(self, session_id: str, now_ms: int) -> None:
        """Another node's member is gone; one of this node stays."""
        entry = self._entries.get(session_id)
        if entry is not None and entry.node:
            self.leave(session_id, now_ms)

    def tick(self, now_ms: int) -> None:
        """Tell the held-back turns and updates that are due, and a crowded room's state."""
        self.turns.tick(now_ms)
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            if not entry.waiting:
                continue
            if is_over(entry.announced_ms, self._config.update_interval_ms, now_ms):
                self._tell(UPDATE, entry, now_ms)
            else:
                self._waiting.append(entry)
        if self._refresh_due and is_over(self._refreshed_ms, self._config.refresh_interval_ms, now_ms):
            self._refresh_due = False
            self._refreshed_ms = now_ms
            self._announce(self.state(now_ms), None)
            self._share_late()

    def state(self, now_ms: int) -> bytes:
        """The PRESENCE_STATE message: with cursors as of the head, for who comes."""
        payload = {
            **self._resource,
            "presences": [entry.payload() for entry in self._carried(now_ms)],
            "count": len(self._entries),
        }
        return messages.encode("PRESENCE_STATE", payload, self._stamp(now_ms))

    def carry_before(self, version: int, now_ms: int) -> None:
        """Have cursors carried where one was told before a version: those that a state would show."""
        if self._told_from < version:
            self._carried(now_ms)

    def _carried(self, now_ms: int) -> Sequence[Presence]:
        """Whom a state names, with their cursors as of the head."""
        entries = self._named(now_ms)
        self._told_from = self._carry(entries)
        return entries

    def _named(self, now_ms: int) -> list[Presence]:
        """Everybody, or of a crowd those who were active lately, the latest first."""
        entries = list(self._entries.values())
        if self.crowded:
            since = now_ms - self._config.active_s * 1000
            entries = [entry for entry in entries if entry.active_ms >= since]
            entries.sort(key=lambda entry: entry.active_ms, reverse=True)
        return entries[: self._members_max]

    def _note_cursor(self, entry: Presence) -> None:
        self._told_from = min(self._told_from, entry.cursor.get("version", NEVER))

    def _tell(self, kind: str, entry: Presence, now_ms: int) -> None:
        entry.waiting = False
        if kind == UPDATE:
            entry.announced_ms = now_ms
        if self.crowded and kind == UPDATE:
            self._refresh_later(entry)
            return
        if self._share is not None and not entry.node:
            self._share(kind, entry)
        if self.crowded:
            self._refresh_later()
            return
        message = messages.encode(kind, {**self._resource, **entry.payload()}, self._stamp(now_ms))
        self._announce(message, entry.connection)

    def _refresh_later(self, updated: Presence | None = None) -> None:
        if updated is not None and self._share is not None and not updated.node:
            self._unshared[updated] = None
        self._refresh_due = True
        self._on_due()

    def _share_late(self) -> None:
        unshared, self._unshared = self._unshared, {}
        if self._share is not None:
            for entry in unshared:
                self._share(UPDATE, entry)
