"""Rooms that only pass messages on: Socket.IO, the plain broadcast that many start with.

A user joins the room of its document and emits edits; the server sends them to the others in the room and
says so. It keeps nothing: who was away has missed what came meanwhile, and two who write at once each see the
other's last. That is what the verdict will say of it. Engine.IO 4 over a WebSocket, Socket.IO 5.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from loadtest import content
from loadtest.engine import Engine
from loadtest.evidence import Evidence, Findings
from loadtest.protocols.authors import AuthorsProtocol, Reading, judge_authors
from loadtest.protocols.port import ReadAfterwards, States, reading
from loadtest.replica import ReplicaError, apply
from loadtest.users import Target, User

if TYPE_CHECKING:
    from loadtest.crowd import Crowd

OPEN, PING, CONNECTED, EVENT, ACK = b"0", b"2", b"40", b"42", b"43"
JOIN_ACK = 0  # the number of the join's acknowledgement; edits count from 1


def edit_of(payload: bytes) -> tuple[str, int, Any]:
    """(author, its number, the edit) of an event; raises Unreadable."""
    with reading():
        _, body = orjson.loads(payload[2:])
        return str(body["by"]), int(body["n"]), body["edit"]


class RoomReplica:
    """A user's document: edits as they come, one's own as they are made."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.version = 1
        self.problem: str | None = None
        self.digests: Sequence[int] = ()
        self.violations: list[str] = []

    def feed(self, spool: Sequence[dict[str, Any]]) -> None:
        """Apply edits; one that doesn't fit is left out, as a plain client would do."""
        for edit in spool:
            try:
                self.document = apply(copy.deepcopy(self.document), [edit])
            except ReplicaError:
                continue


class Session:
    """What a user remembers."""

    def __init__(self, author: str) -> None:
        self.author = author
        self.reading = Reading()


class SocketIO(AuthorsProtocol):
    """A room a document."""

    name = "socketio"

    def session(self, user: User) -> Session:
        """A user's memory, made when it is first looked at."""
        if user.memory is None:
            user.memory = Session(user.client_id)
        session: Session = user.memory
        return session

    def replica(self, user: User, undo: bool) -> RoomReplica:
        return RoomReplica(content.document(user.document))

    def opened(self, crowd: Crowd, user: User, now: int) -> None:
        """The server speaks first."""

    def received(self, crowd: Crowd, user: User, payload: bytes, before: int, now: int) -> None:
        engine, slot = crowd.engine, user.slot
        if payload.startswith(EVENT):
            self._event(crowd, user, payload, now)
        elif payload.startswith(ACK):
            with reading():
                number = int(payload[2 : payload.index(b"[")])
            if number == JOIN_ACK:
                self.books[user.document].join(self.session(user).reading)
                crowd.joined(user, now)
            else:
                self._acknowledged(crowd, user, number, now)
        elif payload.startswith(CONNECTED):
            crowd.connected_in(user, now)
            engine.send(slot, b"420" + orjson.dumps(["join", user.resource_id]))
        elif payload.startswith(OPEN):
            engine.send(slot, b"40")
        elif payload == PING:
            engine.send(slot, b"3")

    def _event(self, crowd: Crowd, user: User, payload: bytes, now: int) -> None:
        author, number, edit = edit_of(payload)
        book, seen = self.books[user.document], self.session(user).reading
        if book.deliver(crowd.engine, user, seen, author, number, now) and user.replica is not None:
            user.replica.feed([edit])

    def _acknowledged(self, crowd: Crowd, user: User, number: int, now: int) -> None:
        with reading():
            key = self.books[user.document].acknowledge(user.client_id, number)
        crowd.acknowledged(user, number, key, now)

    def edit(self, engine: Engine, user: User, kind: int, index: int) -> tuple[int, bytes]:
        replica = user.replica
        made = user.edited(kind, index, replica.document if replica is not None else None)
        if replica is not None:
            replica.feed([made])
        number = engine.next_number(user.slot)
        self.books[user.document].submit(self.session(user).author, number)
        body = {"room": user.resource_id, "by": user.client_id, "n": number, "edit": made}
        return number, b"42%d" % number + orjson.dumps(["edit", body])

    def resends(self, user: User) -> bool:
        return False

    async def set_up(self, target: Target, documents: Sequence[int]) -> None:
        """There is nothing to make."""

    def auditor(self, target: Target, admin_url: str | None, part: int) -> RoomAuditor:
        return RoomAuditor()

    def judge(self, evidence: Evidence, users: Sequence[User]) -> Findings:
        return judge_authors(evidence, users, self.books[users[0].document if users else -1], None)


class RoomAuditor(ReadAfterwards):
    """A room keeps neither history nor document."""

    async def final_states(self, documents: Sequence[int]) -> tuple[States, list[str]]:
        """Nothing to read."""
        return dict.fromkeys(documents, (0, None)), []
