"""What a room needs around it, without any I/O: readers, authors, a clock that is set, and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway import ot
from gateway.admission import Schemas
from gateway.config import Config
from gateway.errors import Refusal
from gateway.ports import Ack, Batch, Connection, Own
from gateway.ports.values import Record
from gateway.rooms.context import RoomContext
from gateway.rooms.history import History
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.runtime.metrics import Counters

CONFIG = Config().with_(limits={"operations_per_minute": 0})
RULES = Schemas(CONFIG)
RESOURCE = "event:1"
START_MS = 1_700_000_000_000
EVENT = {"title": "T", "description": "abc", "tags": []}
CREATE = [{"op": "add", "path": "", "value": EVENT}]


def titled(title: str) -> list[dict[str, Any]]:
    """A patch that sets the title."""
    return [{"op": "replace", "path": "/title", "value": title}]


def record(
    version: int,
    patch: list[dict[str, Any]],
    by: str = "ann",
    seq: int | None = None,
    timestamp: int = START_MS,
) -> Record:
    """A change as the log keeps it; its client is the user's `by-client`."""
    fields = {"version": version, "operations": patch, "client_id": f"{by}-client", "user_id": by}
    fields |= {"op_id": f"op-{version}", "timestamp": timestamp} | ({} if seq is None else {"seq": seq})
    body = orjson.dumps(fields)
    return Record(version, body, by, f"{by}-client", seq, f"digest-{seq}", timestamp, None)


class Reader:
    """A connection that keeps what it was sent."""

    remote = "in memory"
    waiting_bytes = 0

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.acks: list[Ack] = []
        self.closed_with: int | None = None
        self.rested = 0

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        self.messages.append(orjson.loads(payload) | {"droppable": droppable})
        if ack is not None:
            self.acks.append(ack)

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        self.rested += 1
        for payload in payloads:
            self.send(payload)

    def close(self, code: int, reason: str) -> None:
        if self.closed_with is None:
            self.closed_with = code

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and payload of the messages since the last call."""
        messages, self.messages = self.messages, []
        return [(message["type"], message["payload"]) for message in messages]

    def kinds(self) -> list[str]:
        """The types of the messages since the last call."""
        return [kind for kind, _ in self.take()]


class Readers:
    """The port `Group` over readers, in a fixed order."""

    def __init__(self) -> None:
        self._members: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Connection) -> None:
        self._members[connection] = None

    def discard(self, connection: Connection) -> None:
        self._members.pop(connection, None)

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        for member in self._members:
            replaced = own.get(member, {})
            for index, payload in enumerate(payloads):
                mine = replaced.get(index, Own(payload))
                if mine.payload is not None:
                    member.send(mine.payload, topic, droppable, mine.ack)


class Author:
    """Who waits for answers to edits, on a connection of its own or none."""

    def __init__(self, name: str, connection: Reader | None = None, extended: bool = True) -> None:
        self.name = name
        self.connection = connection
        self.extended = extended
        self.versions: list[int] = []
        self.refusals: list[Refusal] = []

    def worked(self, units: int) -> None:
        pass

    def committed(self, submission: Submission, version: int) -> None:
        self.versions.append(version)

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        self.refusals.append(refusal)


class Table:
    """A room on a clock that is set, and who asked for its work; no hub and no log."""

    def __init__(self, config: Config = CONFIG, records: Sequence[Record] = ()) -> None:
        self.now_ms = START_MS
        self.now_s = 0.0
        self.worked: list[Room] = []
        self.counters = Counters()
        limits = ot.Limits(
            depth_max=config.limits.depth_max,
            patch_operations_max=config.limits.patch_operations_max,
            copied_bytes_max=config.limits.document_bytes_max,
        )
        self.context = RoomContext(
            config,
            Schemas(config),
            self.counters,
            limits,
            Readers,
            lambda: self.now_ms,
            lambda: self.now_s,
            self.worked.append,
            lambda room: None,
        )
        self.room = Room(RESOURCE, self.context, History(START_MS, 0, None))
        assert self.room.receive(list(records))

    def reader(self, extended: bool = True) -> Reader:
        """A subscriber."""
        reader = Reader()
        self.room.add(reader, extended)
        return reader

    def edit(
        self,
        author: Author,
        patch: list[dict[str, Any]],
        base: int | None = None,
        seq: int | None = None,
        **fields: Any,
    ) -> Submission:
        """Submit a patch, lowered at its base (the head, for None)."""
        base = self.room.version if base is None else base
        document = self.room.history.document_at(base)
        operations = ot.lower(document, patch, RULES.strategies("event"), self.context.patch_limits)
        who = (author, author.name, f"{author.name}-client", f"op-of-{author.name}")
        submission = Submission(*who, base, patch, operations, self.now_s, 100)
        submission.seq = seq
        submission.digest = "" if seq is None else f"digest-{seq}"
        submission.on_nothing = document is None
        for name, value in fields.items():
            setattr(submission, name, value)
        self.room.submit(submission)
        return submission

    def prepared(self) -> Batch:
        """The batch that the room wants appended."""
        batch = self.room.prepare()
        assert batch is not None, "there is nothing to append"
        return batch
