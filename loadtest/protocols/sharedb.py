"""ShareDB over its WebSocket protocol, with json0 or json1.

Users behave as its client does. One edit of a user is under way at a time; what comes due meanwhile waits,
and is sent one by one (its client would send it as one operation: then an edit wouldn't be an edit). A
connection comes back under its old `src`, subscribes from its version and sends again what is unanswered,
by `seq`. An operation that came already is no fault: the server sends authors what they lack, and the
channel does too. One that is ahead of the next is: its client would notice and fetch what the channel owed
it.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from loadtest import content
from loadtest.client import REQUEST_TIMEOUT_S, ClientError, Unreachable, in_parts, opened
from loadtest.engine import Engine
from loadtest.evidence import Evidence, Findings, judge_document
from loadtest.forms import is_count, parsed
from loadtest.protocols import json0, json1
from loadtest.protocols.port import Protocol, ReadAfterwards, States, Unreadable
from loadtest.replica import ReplicaError, keep_digest
from loadtest.scenario import EDIT_KINDS
from loadtest.users import Target, User

if TYPE_CHECKING:
    from loadtest.crowd import Crowd

COLLECTION = "load"
DOCUMENTS_A_CLIENT = 50
PARALLEL = 4
NO_CHANGE = "ERR_NO_OP"  # what the edit would do was done already

Change = dict[str, Any]
Apply = Callable[[Any, list[Any]], Any]


def change_of(message: Mapping[str, Any]) -> Change:
    """An operation of the protocol as a change of a history: it makes version `v` + 1."""
    operation = message.get("op")
    if "create" in message:
        operations: Any = [{"create": message["create"]}]
    elif not operation:  # it came to nothing
        operations = []
    else:
        operations = operation if _is_json0(operation) else [operation]
    return {
        "version": message["v"] + 1,
        "client_id": message.get("src"),
        "seq": message.get("seq"),
        "operations": operations,
    }


def _is_json0(operation: Sequence[Any]) -> bool:
    return all(isinstance(one, dict) and "p" in one for one in operation)


def _is_whole(message: Any, client_id: str) -> bool:
    """Whether a message has what users look at."""
    if not isinstance(message, dict):
        return False
    numbered = is_count(message.get("seq"))
    if (error := message.get("error")) is not None:
        return isinstance(error, dict) and (numbered or "seq" not in message)
    if message.get("a") == "op":
        operation = message.get("op")
        whole = is_count(message.get("v")) and (numbered or message.get("src") != client_id)
        return whole and (operation is None or isinstance(operation, list))
    if message.get("a") == "s" and (snapshot := message.get("data")) is not None:
        return isinstance(snapshot, dict) and is_count(snapshot.get("v"))
    return True


class Replica:
    """A user's own document."""

    def __init__(self, client_id: str, apply: Apply) -> None:
        self.client_id, self._apply = client_id, apply
        self.document: Any = None
        self.version = 0
        self.digests = array("I")
        self.problem: str | None = None
        self.violations: list[str] = []
        self._held: dict[int, Change] = {}
        self._expected: set[int] = set()

    def lacks(self, version: int) -> bool:
        """Whether the replica has the change to this version neither in its document nor held back."""
        return version > self.version and version not in self._held

    def expect(self, version: int) -> None:
        """An own edit became this version, in a form that is still to come: hold back what follows it."""
        self._expected.add(version)

    @property
    def expected(self) -> frozenset[int]:
        """The versions of own edits whose form is still to come: until then `document` is an older one."""
        return frozenset(self._expected)

    def feed(self, spool: Sequence[Change]) -> None:
        """Apply changes in the order they arrived."""
        for change in spool:
            version = change["version"]
            if not self.lacks(version):
                continue
            self._held[version] = change
            self._expected.discard(version)
            if not self._expected:
                self._apply_held()

    def _apply_held(self) -> None:
        for version in sorted(self._held):
            change = self._held[version]
            if version != self.version + 1:
                self.problem = self.problem or f"version {version} came after {self.version}"
            if change["client_id"] != self.client_id and not self.problem:
                keep_digest(self.digests, version, change["operations"])
            try:
                self.document = self._apply(self.document, change["operations"])
            except ReplicaError as error:
                self.problem = self.problem or f"version {version}: {error}"
            self.version = version
        self._held.clear()

    def reset(self, version: int, document: Any) -> None:
        """The whole state, as of a version: what was missed or wrong before is in it."""
        self.version, self.document, self.problem = version, document, None
        self._held.clear()
        self._expected.clear()


class ShareDB(Protocol):
    """json0, ShareDB's default."""

    name = "sharedb"
    ping = b'{"a":"pp"}'
    kind: ClassVar[Any] = json0  # a module: URI, translate, apply

    def opened(self, crowd: Crowd, user: User, now: int) -> None:
        shake = {"a": "hs", "id": user.client_id, "protocol": 1, "protocolMinor": 2}
        crowd.engine.send(user.slot, orjson.dumps(shake))
        request: dict[str, Any] = {"a": "s", "c": COLLECTION, "d": user.resource_id}
        if user.subscribed and crowd.resume:
            request["v"] = crowd.engine.version(user.slot)
        crowd.engine.send(user.slot, orjson.dumps(request))
        if user.subscribed and isinstance(user.replica, Replica):
            for version in sorted(user.replica.expected):  # asked for over a connection that went
                self._fetch(crowd.engine, user, version - 1)

    @staticmethod
    def _fetch(engine: Engine, user: User, version: int) -> None:
        """Ask for all operations since a version."""
        request = {"a": "f", "c": COLLECTION, "d": user.resource_id, "v": version}
        engine.send(user.slot, orjson.dumps(request))

    def received(self, crowd: Crowd, user: User, payload: bytes, before: int, now: int) -> None:
        message = parsed(payload)
        if not _is_whole(message, user.client_id):
            raise Unreadable
        action, error = message.get("a"), message.get("error")
        if error is not None:
            self._error(crowd, user, message, error, now)
        elif action == "op":
            self._operation(crowd, user, message, now)
        elif action == "hs":
            crowd.connected_in(user, now)
        elif action == "s" and user.state == "joining":
            self._subscribed(crowd, user, message.get("data"), before, now)

    def _subscribed(
        self, crowd: Crowd, user: User, snapshot: dict[str, Any] | None, before: int, now: int
    ) -> None:
        if snapshot is not None:
            if snapshot["v"] < before:
                crowd.backwards(user, before, snapshot["v"])
            crowd.engine.follow(user.slot, snapshot["v"])
            if isinstance(user.replica, Replica):
                user.replica.reset(snapshot["v"], snapshot.get("data"))
        crowd.joined(user, now)

    def _operation(self, crowd: Crowd, user: User, message: dict[str, Any], now: int) -> None:
        engine, slot, version = crowd.engine, user.slot, message["v"] + 1
        if message.get("src") == user.client_id:
            if version > engine.version(slot):
                engine.step(slot, version)
            self._keep_own(engine, user, message)
            if crowd.acknowledged(user, message["seq"], version, now):
                crowd.send_queue(user, now)
        elif version > engine.version(slot) or engine.lacks(slot, version):
            engine.deliver(slot, version, now)
            self._keep(user, message)
        else:
            crowd.counts["repeats"] += 1

    def _keep_own(self, engine: Engine, user: User, message: dict[str, Any]) -> None:
        """An answer has no content: where others wrote meanwhile, the server is asked for the edit."""
        if not isinstance(user.replica, Replica) or not user.replica.lacks(message["v"] + 1):
            return  # a snapshot had it already
        if "op" in message:
            self._keep(user, message)
            return
        flying = {number: payload for number, _, payload in engine.in_flight(user.slot)}
        sent = orjson.loads(flying.get(message["seq"], b"null"))
        if sent is not None and sent["v"] == message["v"]:
            self._keep(user, {**message, "op": sent["op"]})
        else:
            user.replica.expect(message["v"] + 1)
            self._fetch(engine, user, message["v"])

    @staticmethod
    def _keep(user: User, message: dict[str, Any]) -> None:
        if user.replica is not None:
            user.replica.feed([change_of(message)])

    @staticmethod
    def _error(crowd: Crowd, user: User, message: dict[str, Any], error: dict[str, Any], now: int) -> None:
        crowd.errors[str(error.get("code") or error.get("message"))[:60]] += 1
        if message.get("a") == "op" and "seq" in message:
            outcome = "no_change" if error.get("code") == NO_CHANGE else "refused"
            crowd.refused(user, message["seq"], outcome)
            crowd.send_queue(user, now)

    def may_send(self, engine: Engine, user: User) -> bool:
        """Not while an edit is unanswered, nor while the replica's document is older than what it would be
        said to be written on."""
        held = isinstance(user.replica, Replica) and user.replica.expected
        return not held and not engine.oldest(user.slot)

    def edit(self, engine: Engine, user: User, kind: int, index: int) -> tuple[int, bytes]:
        replica = user.replica
        known = replica.document if replica is not None and not replica.problem else None
        if known is None and EDIT_KINDS[kind] == "description":
            kind = EDIT_KINDS.index("location")  # a text that is replaced must be known
        operation = self.kind.translate(user.edited(kind, index, known), known)
        number = engine.next_number(user.slot)
        message = {
            "a": "op",
            "c": COLLECTION,
            "d": user.resource_id,
            "v": engine.version(user.slot),
            "seq": number,
            "x": {},
            "op": operation,
        }
        return number, orjson.dumps(message)

    def replica(self, user: User, undo: bool) -> Replica:
        return Replica(user.client_id, self.kind.apply)

    async def set_up(self, target: Target, documents: Sequence[int]) -> None:
        async def make(part: Sequence[int]) -> None:
            async with connected(target.url, f"setup-{target.run}-{part[0]}") as client:
                for seq, document in enumerate(part, 1):
                    made = {"type": self.kind.URI, "data": content.document(document)}
                    await client.create(target.resource_id(document), made, seq)

        await in_parts(documents, DOCUMENTS_A_CLIENT, PARALLEL, make)

    def auditor(self, target: Target, admin_url: str | None, part: int) -> ShareDBAuditor:
        return ShareDBAuditor(target, part)

    def ahead(self, engine: Engine, user: User, version: int) -> int:
        """Who still waits for the form of an own edit is behind."""
        waits = len(user.replica.expected) if isinstance(user.replica, Replica) else 0
        return super().ahead(engine, user, version) or -waits

    def judge(self, evidence: Evidence, users: Sequence[User]) -> Findings:
        findings = judge_document(replace(evidence, apply=self.kind.apply))
        for user in users:
            if user.state == "live" and isinstance(user.replica, Replica) and user.replica.expected:
                findings.add(
                    "gaps",
                    f"{user.resource_id}: {user.user_id} asked for version {min(user.replica.expected)}, and "
                    "it never came",
                )
        return findings


class ShareDBJson1(ShareDB):
    """The newer type, ottypes/json1, which a server has to register."""

    name = "sharedb-json1"
    kind: ClassVar[Any] = json1


class Client:
    """A connection for what isn't load: one request at a time."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket

    async def request(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The answer, and the operations that came before it; raises ClientError."""
        operations: list[dict[str, Any]] = []
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                await self._socket.send_message(orjson.dumps(message).decode())
                while True:
                    said = await self._socket.get_message()
                    answer = parsed(said)
                    if not _is_whole(answer, ""):
                        raise ClientError(f"a message that can't be read: {said[:80]!r}")
                    if answer.get("error"):
                        raise ClientError(f"{answer['error'].get('code')}: {answer['error'].get('message')}")
                    answers = answer.get("a") == message["a"] and (
                        message["a"] != "op" or answer.get("seq") == message["seq"]
                    )
                    if answers:
                        return answer, operations
                    if answer.get("a") == "op":
                        operations.append(answer)
        except trio.TooSlowError:
            raise ClientError(f"no answer to {message['a']!r} in {REQUEST_TIMEOUT_S:.0f} s") from None
        except ConnectionClosed as error:
            raise Unreachable(f"the connection was closed: {error.reason}") from None

    async def create(self, resource_id: str, made: dict[str, Any], seq: int) -> None:
        """Make a document."""
        await self.request(
            {"a": "op", "c": COLLECTION, "d": resource_id, "v": 0, "seq": seq, "x": {}, "create": made}
        )


@asynccontextmanager
async def connected(url: str, client_id: str) -> AsyncIterator[Client]:
    """A client after its handshake; raises Unreachable."""
    async with opened(url) as socket:
        client = Client(socket)
        await client.request({"a": "hs", "id": client_id, "protocol": 1, "protocolMinor": 2})
        yield client


class ShareDBAuditor(ReadAfterwards):
    """Histories, which ShareDB gives from any version, and snapshots."""

    def __init__(self, target: Target, part: int) -> None:
        super().__init__()
        self._target, self._part = target, part

    async def final_states(self, documents: Sequence[int]) -> tuple[States, list[str]]:
        """See `loadtest.protocols.port.Auditor`."""
        found: States = {}
        problems: list[str] = []
        try:
            async with connected(self._target.url, f"auditor-{self._target.run}-{self._part}") as client:
                for document in documents:
                    found[document] = await self._read(client, document)
        except ClientError as error:
            problems = [f"audit: {error}"]
        return found, problems

    async def _read(self, client: Client, document: int) -> tuple[int, Any]:
        where = {"c": COLLECTION, "d": self._target.resource_id(document)}
        answer, _ = await client.request({"a": "f", **where})
        snapshot = answer.get("data")
        if not isinstance(snapshot, dict) or not is_count(snapshot.get("v")):
            raise ClientError(f"{where['d']} has no snapshot")
        _, operations = await client.request({"a": "f", **where, "v": 0})
        self.changes[document] = [change_of(one) for one in operations]
        self.after[document] = 0
        return snapshot["v"], snapshot.get("data")
