"""Yjs documents over Hocuspocus' protocol. Needs pycrdt, which speaks the Yjs formats (`pip install pycrdt`).

Editors and replicas keep a document each, as a Yjs client does; other readers read which edits a message has.
The server answers each update in turn with a status; a status is the acknowledgement of the oldest one. It
sends updates to everybody, their author included, several in one message when they are close. There are no
versions: see `loadtest.protocols.authors` for what is judged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pycrdt
import trio
from trio_websocket import WebSocketConnection

from loadtest import content
from loadtest.client import REQUEST_TIMEOUT_S, ClientError, opened
from loadtest.engine import Engine
from loadtest.evidence import Evidence, Findings
from loadtest.protocols.authors import Author, AuthorsProtocol, Reading, judge_authors
from loadtest.protocols.lib0 import Decoder, ranges, state_vector, var_bytes, var_uint
from loadtest.protocols.port import ReadAfterwards, States, reading
from loadtest.scenario import EDIT_KINDS
from loadtest.users import Target, User

if TYPE_CHECKING:
    from loadtest.crowd import Crowd

SYNC, AUTH, SYNC_REPLY, STATUS = 0, 2, 4, 8
SYNCS = (SYNC, SYNC_REPLY)
STEP_1, STEP_2, UPDATE = 0, 1, 2
TOKEN, DENIED = 0, 1
ROOT = "event"
NOTHING = b"\0\0"  # an update without anything
Stretch = tuple[int, int, int]  # of an author's clock: see `ranges`


def authentication(name: bytes) -> bytes:
    """The first message to a document; the token is not looked at."""
    return name + var_uint(AUTH) + var_uint(TOKEN) + var_bytes(b"loadtest")


def sync(name: bytes, step: int, data: bytes) -> bytes:
    """A message of the sync protocol."""
    return name + var_uint(SYNC) + var_uint(step) + var_bytes(data)


def read(payload: bytes) -> tuple[int, int, bytes]:
    """(kind, number, content) of a message: the step of a sync and what it has, a status, the answer to a
    token; (kind, 0, b"") of other kinds."""
    decoder = Decoder(payload)
    decoder.bytes()  # the document's name
    kind = decoder.uint()
    number = decoder.uint() if kind in (*SYNCS, STATUS, AUTH) else 0
    return kind, number, decoder.bytes() if kind in SYNCS else b""


class YjsReplica:
    """A user's Yjs document: applies updates when it is looked at, and writes."""

    def __init__(self, client: int) -> None:
        self.doc: Any = pycrdt.Doc(client_id=client)
        self.root: Any = self.doc.get(ROOT, type=pycrdt.Map)
        self._waiting: list[bytes] = []
        self._made: list[bytes] = []
        self._writing = False
        self.removals = 0
        self._subscription = self.doc.observe(self._changed)
        self.version = 1
        self.problem: str | None = None
        self.digests: Sequence[int] = ()
        self.violations: list[str] = []

    def _changed(self, event: Any) -> None:
        if self._writing:
            self._made.append(event.update)

    def feed(self, spool: Sequence[bytes]) -> None:
        """Updates arrived."""
        self._waiting += spool

    def settle(self) -> None:
        """Apply what arrived, in one transaction."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        with self.doc.transaction():
            for update in waiting:
                try:
                    self.doc.apply_update(update)
                except ValueError as error:
                    self.problem = self.problem or f"an update that can't be read: {error}"

    @property
    def document(self) -> Any:
        """The document as JSON."""
        self.settle()
        return self.root.to_py()

    def write(self, edit: dict[str, Any]) -> bytes:
        """Do an edit; returns its update."""
        self._writing = True
        with self.doc.transaction():
            _write(self.root, edit)
            if _only_removes(edit):  # such an update has no number of its own
                self.removals += 1
                self.root["removals"] = self.removals
        self._writing = False
        made, self._made = self._made, []
        return made[-1]


def fill(root: Any, document: Mapping[str, Any]) -> None:
    """Make the document: texts that people type are Yjs texts, lists Yjs arrays."""
    for member, value in document.items():
        if member == "description":
            root[member] = pycrdt.Text(value)
        elif isinstance(value, list):
            root[member] = pycrdt.Array([pycrdt.Map(one) for one in value])
        else:
            root[member] = value


def _only_removes(edit: dict[str, Any]) -> bool:
    return edit["op"] == "remove" or (edit["op"] == "text" and isinstance(edit["value"][-1], dict))


def _write(root: Any, edit: dict[str, Any]) -> None:
    *path, last = edit["path"].strip("/").split("/")
    parent = root
    for step in path:
        parent = parent[int(step)] if isinstance(parent, pycrdt.Array) else parent[step]
    if edit["op"] == "text":
        _type(parent[last], edit["value"])
    elif isinstance(parent, pycrdt.Array):
        _list(parent, last, edit)
    else:
        parent[last] = edit["value"]


def _list(array: Any, last: str, edit: dict[str, Any]) -> None:
    at = min(len(array) if last == "-" else int(last), len(array))
    if edit["op"] == "add":
        array.insert(at, pycrdt.Map(edit["value"]))
    elif at < len(array):
        del array[at]


def _type(text: Any, components: list[Any]) -> None:
    """pycrdt counts the bytes of UTF-8."""
    known = str(text)
    at, change = components if len(components) == 2 else (0, components[0])
    start = len(known[:at].encode())
    if isinstance(change, str):
        text.insert(start, change)
    else:
        del text[start : len(known[: at + change["d"]].encode())]


class Session:
    """What a user remembers. `author` is its number in Yjs, `ends` are the clocks behind its edits."""

    def __init__(self, author: int, replica: YjsReplica | None) -> None:
        self.author = author
        self.replica = replica
        self.reading = Reading()
        self.clocks: dict[int, int] = {}
        self.ends: list[int] = []
        self.clock = 0
        self.expected: deque[int | None] = deque()


class Hocuspocus(AuthorsProtocol):
    """Yjs through Hocuspocus."""

    name = "yjs"
    opcode = 2

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[int, Session] = {}  # by Yjs' client number, which is the user's, from 1 on
        self.stored: dict[int, dict[Author, int]] = {}

    def session(self, user: User) -> Session:
        """A user's memory, made when it is first looked at."""
        if user.memory is None:
            client = user.index + 1
            replica = user.replica if isinstance(user.replica, YjsReplica) else None
            if replica is None and user.editor:
                replica = YjsReplica(client)
            user.memory = self.sessions[client] = Session(client, replica)
        session: Session = user.memory
        return session

    def replica(self, user: User, undo: bool) -> YjsReplica:
        return YjsReplica(user.index + 1)

    # ---------------------------------------------------------------------------------------- connecting

    def opened(self, crowd: Crowd, user: User, now: int) -> None:
        session, name = self.session(user), var_bytes(user.resource_id.encode())
        session.expected.clear()
        crowd.engine.send(user.slot, authentication(name))
        known = session.clocks if crowd.resume else {}
        crowd.engine.send(user.slot, sync(name, STEP_1, state_vector(known)))

    def received(self, crowd: Crowd, user: User, payload: bytes, before: int, now: int) -> None:
        with reading():
            kind, number, update = read(payload)
            stretches = list(ranges(update)) if kind in SYNCS and number != STEP_1 else []
        if kind in SYNCS:
            self._synced(crowd, user, number, update, stretches, now)
        elif kind == STATUS:
            self._status(crowd, user, number, now)
        elif kind == AUTH:
            if number == DENIED:
                crowd.errors["PERMISSION_DENIED"] += 1
            else:
                crowd.connected_in(user, now)

    def _synced(
        self, crowd: Crowd, user: User, step: int, update: bytes, stretches: Sequence[Stretch], now: int
    ) -> None:
        session = self.session(user)
        if step == STEP_1:  # the server asks for what it lacks: what is unanswered is sent again by itself
            session.expected.append(None)
            crowd.engine.send(user.slot, sync(var_bytes(user.resource_id.encode()), STEP_2, NOTHING))
            return
        if session.replica is not None:
            session.replica.feed([update])
        for client, clock, length in stretches:
            end = clock + length
            if step == UPDATE and client != session.author and user.state == "live":
                self._deliver(crowd.engine, user, client, clock, end, now)
            session.clocks[client] = max(end, session.clocks.get(client, 0))
        if step == STEP_2 and user.state == "joining":
            self._joined(crowd, user, session, now)

    def _joined(self, crowd: Crowd, user: User, session: Session, now: int) -> None:
        for client, clock in session.clocks.items():
            author = self.sessions.get(client)
            if author is not None:
                known = bisect_right(author.ends, clock) + 1
                known = max(known, session.reading.following.get(client, 1))
                # What the state has may be on its way as an update too.
                session.reading.following[client] = session.reading.since[client] = known
        crowd.joined(user, now)

    def _deliver(self, engine: Engine, user: User, client: int, clock: int, end: int, now: int) -> None:
        """Every edit of an author that ends in this stretch."""
        author = self.sessions.get(client)
        if author is None:
            return
        reading = self.session(user).reading
        first, last = bisect_right(author.ends, clock) + 1, bisect_right(author.ends, end)
        for number in range(first, last + 1):
            self.books[user.document].deliver(engine, user, reading, client, number, now)

    # ----------------------------------------------------------------------------------------- submitting

    def edit(self, engine: Engine, user: User, kind: int, index: int) -> tuple[int, bytes]:
        session = self.session(user)
        assert session.replica is not None
        session.replica.settle()
        informed = EDIT_KINDS[kind] in ("description", "attendees")
        update = session.replica.write(
            user.edited(kind, index, session.replica.document if informed else None)
        )
        session.clock = max(
            (clock + length for client, clock, length in ranges(update) if client == session.author),
            default=session.clock,
        )
        session.ends.append(session.clock)
        number = engine.next_number(user.slot)
        self.books[user.document].submit(session.author, number)
        return number, sync(var_bytes(user.resource_id.encode()), UPDATE, update)

    def sending(self, user: User, number: int) -> None:
        self.session(user).expected.append(number)

    def _status(self, crowd: Crowd, user: User, saved: int, now: int) -> None:
        session = self.session(user)
        number = session.expected.popleft() if session.expected else None
        if number is None:
            return
        if not saved:
            crowd.refused(user, number)
            return
        key = self.books[user.document].acknowledge(session.author, number)
        crowd.acknowledged(user, number, key, now)

    # ---------------------------------------------------------------------------------------- the server

    async def set_up(self, target: Target, documents: Sequence[int]) -> None:
        for document in documents:
            replica = YjsReplica(pycrdt.Doc().client_id)
            fill(replica.root, content.document(document))
            async with connected(target, document) as (socket, name, _):
                await socket.send_message(sync(name, UPDATE, replica.doc.get_update()))
                await answer(socket, STATUS)

    def auditor(self, target: Target, admin_url: str | None, part: int) -> YjsAuditor:
        return YjsAuditor(target, self)

    # ------------------------------------------------------------------------------------------ judging

    def judge(self, evidence: Evidence, users: Sequence[User]) -> Findings:
        document = users[0].document if users else -1
        clocks = self.stored.get(document, {})
        stored: dict[Author, int] = {
            session.author: bisect_right(session.ends, clocks.get(session.author, 0))
            for session in self.sessions.values()
        }
        return judge_authors(evidence, users, self.books[document], stored)


async def answer(socket: WebSocketConnection, kind: int, step: int | None = None) -> Decoder:
    """The next message of a kind, read up to its content; raises ClientError."""
    try:
        with trio.fail_after(REQUEST_TIMEOUT_S):
            while True:
                data = await socket.get_message()
                decoder = Decoder(data if isinstance(data, bytes) else data.encode())
                decoder.bytes()
                if decoder.uint() == kind and (step is None or decoder.uint() == step):
                    return decoder
    except trio.TooSlowError:
        raise ClientError(f"no message {kind} in {REQUEST_TIMEOUT_S:.0f} s") from None


@asynccontextmanager
async def connected(target: Target, document: int) -> AsyncIterator[tuple[WebSocketConnection, bytes, bytes]]:
    """(socket, the document's name as a prefix, its whole state as an update); raises ClientError."""
    name = var_bytes(target.resource_id(document).encode())
    async with opened(target.url) as socket:
        await socket.send_message(authentication(name))
        await socket.send_message(sync(name, STEP_1, state_vector({})))
        whole = await answer(socket, SYNC, STEP_2)
        yield socket, name, whole.bytes()


class YjsAuditor(ReadAfterwards):
    """Final documents as somebody who comes gets them. Yjs keeps no history but the state itself."""

    def __init__(self, target: Target, protocol: Hocuspocus) -> None:
        super().__init__()
        self._target, self._protocol = target, protocol

    async def final_states(self, documents: Sequence[int]) -> tuple[States, list[str]]:
        """See `loadtest.protocols.port.Auditor`."""
        found: States = {}
        problems: list[str] = []
        try:
            for document in documents:
                async with connected(self._target, document) as (_, _, update):
                    replica = YjsReplica(pycrdt.Doc().client_id)
                    replica.feed([update])
                    found[document] = 0, replica.document
                    clocks: dict[Author, int] = {}
                    for client, clock, length in ranges(update):
                        if clock == clocks.get(client, 0):  # what waits for something lost doesn't count
                            clocks[client] = clock + length
                    self._protocol.stored[document] = clocks
        except ClientError as error:
            problems = [f"audit: {error}"]
        return found, problems
