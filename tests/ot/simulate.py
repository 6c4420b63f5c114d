"""A simulated server with replicas and thin clients: latency, lost connections, resends, undo and redo.

Everything follows from one seed. `run(seed)` raises AssertionError where the parties don't end equal.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from tests.ot import generate

REBASE_VERSIONS_MAX = 40
CHANGES_MAX = 12
STRATEGIES = {("text",): "text", ("count",): "counter", ("list",): ("set",), ("a",): ("set", "a")}


@dataclass(frozen=True)
class Change:
    version: int
    operations: ot.Operations
    patch: ot.Patch
    client: int
    seq: int | None
    undoes: int | None = None


class Server:
    """One log of one document, with the rules of docs/reference/merging.md."""

    def __init__(self, document: Any, strategies: Any) -> None:
        self.snapshots = [document]
        self.log: list[Change] = []
        self.strategies = strategies
        self.answers: dict[tuple[int, int], Change] = {}
        self.refusals: list[str] = []

    @property
    def version(self) -> int:
        return len(self.log)

    @property
    def head(self) -> Any:
        return self.snapshots[-1]

    def submit(self, client: int, submission: ot.Outgoing) -> tuple[str, Change | None, bool]:
        """(answer, change, duplicate); answer is ack, too_old or refused."""
        known = self.answers.get((client, submission.seq))
        if known is not None:
            return "ack", known, True
        base = submission.base_version
        if self.version - base > REBASE_VERSIONS_MAX:
            return "too_old", None, False
        try:
            operations = ot.lower(self.snapshots[base], submission.patch, self.strategies)
            rebased = ot.rebase(operations, [change.operations for change in self.log[base:]])
            change = self.append(client, submission.seq, rebased)
        except PatchError as error:
            self.refusals.append(str(error))
            return "refused", None, False
        self.answers[client, submission.seq] = change
        return "ack", change, False

    def append(
        self, client: int, seq: int | None, operations: ot.Operations, undoes: int | None = None
    ) -> Change:
        normal = ot.normalise(self.head, operations, self.strategies)
        document = ot.apply(self.head, normal)
        settled = ot.settle(self.head, normal)
        patch = ot.emit(self.head, settled)
        assert ot.identical(ot.apply_patch(self.head, patch), document)
        change = Change(self.version + 1, settled, patch, client, seq, undoes)
        self.log.append(change)
        self.snapshots.append(document)
        return change

    def stacks(self, client: int) -> ot.UndoStacks:
        """The client's stacks, rebuilt from the whole history."""
        stacks = ot.UndoStacks()
        for change, before in zip(self.log, self.snapshots, strict=False):
            if change.client == client:
                stacks.local(before, change.operations, change.version, change.undoes)
            else:
                stacks.remote(before, change.operations)
        return stacks

    def undo(self, client: int, redo: bool) -> Change | None:
        stacks = self.stacks(client)
        entry = stacks.redo() if redo else stacks.undo()
        if entry is None:
            return None
        return self.append(client, None, entry.operations, entry.label)


class Party:
    """A client with its two directions of one connection, each in order."""

    patch = staticmethod(generate.patch)  # what it edits

    def __init__(self, number: int, server: Server) -> None:
        self.number = number
        self.online = True
        self.up: deque[Any] = deque()
        self.down: deque[Any] = deque()

    def send(self, message: Any) -> None:
        if message is not None and self.online:
            self.up.append(message)

    def disconnect(self) -> None:
        self.online = False
        self.up.clear()
        self.down.clear()


class Editor(Party):
    """A replica: optimistic edits, one submission in flight."""

    def __init__(self, number: int, server: Server, knows_strategies: bool) -> None:
        super().__init__(number, server)
        self.knows_strategies = knows_strategies
        self.replica = ot.Replica(
            server.head, server.version, server.strategies if knows_strategies else None
        )

    def act(self, random: Random) -> None:
        choice = random.randrange(10)
        if choice == 0:
            self.send(self.replica.undo())
        elif choice == 1:
            self.send(self.replica.redo())
        elif choice == 2 and self.replica.in_flight is not None:
            self.send(self.replica.resend())  # a duplicate on a connection that lives
        else:
            patch, _ = self.patch(random, self.replica.view, random.choice((1, 1, 1, 2, 5)))
            if random.randrange(8) == 0:
                path, value = random.choice(list(generate.nodes(self.replica.view)))
                patch.insert(0, {"op": "test", "path": generate.pointer(path), "value": value})
            try:
                self.send(self.replica.edit(patch))
            except PatchError:
                # Known strategies put an item that is there elsewhere than the generator assumed.
                assert self.knows_strategies

    def receive(self, message: tuple[Any, ...]) -> None:
        kind, change, seq = message
        if kind == "change":
            self.receive_change(change)
        elif kind == "ack":
            self.send(self.replica.acknowledged(seq, change.version, change.patch))
        elif kind == "too_old":
            self.send(self.replica.resubmit())
        elif kind == "state":
            document, version, acked = change
            self.send(self.replica.reload(document, version, acked))
        elif kind == "resumed":
            self.send(self.replica.resend())
        elif self.replica.in_flight is not None and self.replica.in_flight.seq == seq:
            self.send(self.replica.withdraw())

    def receive_change(self, change: Change) -> None:
        if change.client == self.number and change.seq is not None:
            self.send(self.replica.acknowledged(change.seq, change.version, change.patch))
        else:
            self.replica.receive(change.version, change.patch)

    def resume(self, server: Server, random: Random) -> None:
        self.online = True
        flying = self.replica.in_flight
        if server.version - self.replica.version > CHANGES_MAX:
            acked = flying is not None and (self.number, flying.seq) in server.answers
            told = acked and random.random() < 0.5  # else the resend finds out
            self.down.append(("state", (server.head, server.version, told), None))
        else:
            for change in server.log[self.replica.version :]:
                self.down.append(("change", change, None))
        self.down.append(("resumed", None, None))

    def check(self, server: Server) -> None:
        assert self.replica.is_settled, "something is still under way"
        assert self.replica.version == server.version, "versions"
        wanted = ot.canonical_hash(server.head)
        assert ot.canonical_hash(self.replica.document) == wanted, "document"
        assert ot.canonical_hash(self.replica.view) == wanted, "view"


class Thin(Party):
    """Applies what arrives, in order; asks the server to undo."""

    def __init__(self, number: int, server: Server) -> None:
        super().__init__(number, server)
        self.document = server.head
        self.version = server.version

    def act(self, random: Random) -> None:
        if random.randrange(4) == 0:
            self.send(random.choice(("UNDO", "UNDO", "REDO")))
            return
        patch, _ = self.patch(random, self.document, random.choice((1, 1, 2)))
        self.send(ot.Outgoing(random.randrange(1 << 60), self.version, patch))

    def receive(self, message: tuple[Any, ...]) -> None:
        kind, change, _ = message
        if kind == "state":
            self.document, self.version, _ = change
        elif kind in ("change", "ack"):
            assert change.version == self.version + 1, "a gap"
            self.document = ot.apply_patch(self.document, change.patch)
            self.version = change.version

    def resume(self, server: Server, random: Random) -> None:
        self.online = True
        self.down.append(("state", (server.head, server.version, False), None))

    def check(self, server: Server) -> None:
        assert ot.canonical_hash(self.document) == ot.canonical_hash(server.head), "thin document"


class Simulation:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.server = self.start()
        count = self.random.randint(2, 8)
        self.parties: list[Any] = [
            Editor(number, self.server, self.random.random() < 0.5) for number in range(count - 1)
        ]
        self.parties.append(Thin(count - 1, self.server))

    def start(self) -> Server:
        strategies = self.random.choice((None, STRATEGIES))
        return Server(generate.document(self.random), strategies)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        for party in self.parties:
            if not party.online:
                party.resume(self.server, self.random)
        while any(party.up or party.down for party in self.parties):
            party = self.random.choice(self.parties)
            self.deliver(party, up=self.random.random() < 0.5)
        for party in self.parties:
            party.check(self.server)
        self.check_log()

    def step(self) -> None:
        party = self.random.choice(self.parties)
        choice = self.random.randrange(100)
        if choice < 30:
            party.act(self.random)
        elif choice < 33:
            party.disconnect()
        elif not party.online:
            if choice < 45:
                party.resume(self.server, self.random)
        else:
            self.deliver(party, up=choice < 66)

    def deliver(self, party: Any, up: bool) -> None:
        if up and party.up:
            self.handle(party, party.up.popleft())
        elif not up and party.down:
            party.receive(party.down.popleft())

    def handle(self, party: Any, message: Any) -> None:
        if isinstance(message, str):
            change = self.server.undo(party.number, message == "REDO")
            if change is not None:
                self.publish(party, change, None)
            return
        answer, change, duplicate = self.server.submit(party.number, message)
        if change is None or duplicate:
            party.down.append((answer, change, message.seq))
        else:
            self.publish(party, change, message.seq)

    def publish(self, author: Any, change: Change, seq: int | None) -> None:
        for party in self.parties:
            if party is author:
                party.down.append(("ack", change, seq))
            elif party.online:
                party.down.append(("change", change, None))

    def check_log(self) -> None:
        document = self.server.snapshots[0]
        for change in self.server.log:
            document = ot.apply_patch(document, change.patch)
        assert ot.canonical_hash(document) == ot.canonical_hash(self.server.head), "replay"


def run(seed: int, steps: int = 250) -> Simulation:
    simulation = Simulation(seed)
    simulation.run(steps)
    return simulation
