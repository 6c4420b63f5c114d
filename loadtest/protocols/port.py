"""The port between virtual users and the servers that they use.

A `Protocol` says how a user connects, subscribes, submits, reads deliveries, and what the server's history
and final document are. The schedule, the sockets, the times and the verdict know nothing of it. An adapter
is a class with a `name`; `loadtest run --protocol NAME`, or `--protocol my_server.py` for one of your own,
in a variable PROTOCOL of that file.

`crowd` in what follows is the crowd that the user belongs to (see `loadtest.crowd.Crowd`): an adapter tells
it what a message meant (`joined`, `acknowledged`, `refused`) and uses its `engine` for the order and the time
of changes (`deliver`, `step`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from typing import Protocol as TypingProtocol

import trio

from loadtest.engine import MALFORMED, TWICE_ACKNOWLEDGED, Engine
from loadtest.evidence import Evidence, Findings, judge_document
from loadtest.users import Target, User, handshake

if TYPE_CHECKING:
    from loadtest.crowd import Crowd

States = dict[int, tuple[int, Any]]


class Unreadable(Exception):
    """A message isn't what the protocol says: it counts as `malformed`."""


@contextmanager
def reading() -> Iterator[None]:
    """Within it a message is read: what isn't there, or isn't what it should be, makes it Unreadable."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unreadable from error


class Auditor(TypingProtocol):
    """What the server has: histories as far as they were read, and final documents.

    `changes` maps a document to its changes in order, all above version `after` and of those up to it what
    could be read, each with `version`, `client_id`, `operations` and, where the protocol has them, `seq`.
    """

    changes: dict[int, list[dict[str, Any]]]
    after: dict[int, int]

    def head(self, document: int) -> int:
        """The newest version that was read."""

    async def follow(self, versions: Mapping[int, int], every_s: float = 0.5) -> None:
        """Keep up with histories that can't be read as a whole afterwards, until cancelled."""

    async def final_states(self, documents: Sequence[int]) -> tuple[States, list[str]]:
        """(version, document) of each as a fresh reader gets it, histories read to the end; what went
        wrong."""


class ReadAfterwards:
    """An auditor that reads nothing during a run: either all is read afterwards, or there is no history."""

    def __init__(self) -> None:
        self.changes: dict[int, list[dict[str, Any]]] = {}
        self.after: dict[int, int] = {}

    def head(self, document: int) -> int:
        """The newest version that was read; 0 where there are none."""
        kept = self.changes.get(document)
        return kept[-1]["version"] if kept else 0

    async def follow(self, versions: Mapping[int, int], every_s: float = 0.5) -> None:
        """There is nothing to keep up with."""
        await trio.sleep_forever()


class UserReplica(TypingProtocol):
    """A user's own document, kept by applying what arrives."""

    version: int
    problem: str | None
    digests: Any
    violations: list[str]

    @property
    def document(self) -> Any:
        """The document as JSON data."""

    def feed(self, spool: Sequence[Any]) -> None:
        """Apply messages in the order they arrived."""


class Protocol(ABC):
    """How users speak with one kind of server. One object for all users of a process."""

    name: ClassVar[str]
    raw: ClassVar[bool] = True  # the engine judges nothing by itself: every message comes to `received`
    opcode: ClassVar[int] = 1  # of its WebSocket messages; 2 is binary
    signed: ClassVar[bool] = False  # users need tokens, signed by the server's secret
    plain_clients: ClassVar[bool] = False  # there are such that know RFC-002 only
    undoes: ClassVar[bool] = False  # it has an undo, which replicas check
    ping: ClassVar[bytes | None] = None  # what keeps an idle connection

    # ---------------------------------------------------------------------------------------- connecting

    def request(self, target: Target, user: User) -> bytes:
        """The WebSocket handshake of a user."""
        return handshake(target, None, False)

    @abstractmethod
    def opened(self, crowd: Crowd, user: User, now: int) -> None:
        """The connection is open: authenticate and subscribe."""

    @abstractmethod
    def received(self, crowd: Crowd, user: User, payload: bytes, before: int, now: int) -> None:
        """A message arrived; `before` is the version that the user had seen. Raises Unreadable."""

    # ----------------------------------------------------------------------------------------- submitting

    def may_send(self, engine: Engine, user: User) -> bool:
        """Whether another edit may be sent while others are unanswered."""
        return True

    @abstractmethod
    def edit(self, engine: Engine, user: User, kind: int, index: int) -> tuple[int, bytes]:
        """(number, message) of the user's next edit, of EDIT_KINDS[kind]; `index` seeds its content."""

    def sending(self, user: User, number: int) -> None:  # noqa: B027 (most have nothing to do)
        """A submission is about to be sent, for the first time or again."""

    def scripts(self, user: User) -> tuple[Mapping[int, bytes], int]:
        """What the engine may send by itself: the messages of edits that need no thought, by kind, with gaps
        (see `loadtest.engine.pure`), and how many may be unanswered, counted by number (0: no bound)."""
        return {}, 0

    def patch(self, engine: Engine, user: User, base: int) -> tuple[int, bytes] | None:
        """What queued up without a connection as one submission against `base`; None where there is no
        such."""
        return None

    def resends(self, user: User) -> bool:
        """Whether the server knows a submission again, so that it may be sent twice."""
        return True

    def presence(self, user: User, at_us: int) -> bytes | None:
        """A cursor's move, meant for `at_us` of the run; None where the protocol has none."""
        return None

    # ---------------------------------------------------------------------------------------- the server

    @abstractmethod
    async def set_up(self, target: Target, documents: Sequence[int]) -> None:
        """Make the documents; raises ClientError."""

    @abstractmethod
    def auditor(self, target: Target, admin_url: str | None, part: int) -> Auditor:
        """The reader of histories and final documents."""

    @abstractmethod
    def replica(self, user: User, undo: bool) -> UserReplica:
        """A document of the user's own."""

    # --------------------------------------------------------------------------------------- judging

    def catch_up(self, engine: Engine, user: User) -> None:  # noqa: B027 (most have nothing to do)
        """Let the user's replica apply what arrived."""

    def missing(self, engine: Engine, user: User) -> int:
        """How many changes that the user skipped never came."""
        return engine.missing(user.slot)

    def ahead(self, engine: Engine, user: User, version: int) -> int:
        """By how many changes a user is before (below 0: behind) what was read of the server."""
        return engine.version(user.slot) - version

    def fault_text(self, kind: int, user: User, expected: int, got: int) -> str:
        """A fault in words."""
        where = f"{user.resource_id}: {user.user_id}"
        if kind == TWICE_ACKNOWLEDGED:
            told = f"{where} was told that its edit is version {got}"
            return f"{told}, and so was another (acknowledged too early)"
        if kind == MALFORMED:
            return f"{where} got a frame or message that can't be read"
        return f"{where} expected version {expected} and got {got}"

    def judge(self, evidence: Evidence, users: Sequence[User]) -> Findings:
        """Compare all there is about one document."""
        return judge_document(evidence)
