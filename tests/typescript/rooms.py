"""Rooms in which Python's replicas and TypeScript's edit one document: `python -m tests.typescript.rooms`.

The simulation is that of tests/ot/simulate.py: latency, lost connections, resends, undo and redo, thin
clients. Its documents hold floats such as 1.0, which TypeScript sees as 1: equal is what has the same
canonical form (RFC 8785), in which the two are one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from random import Random
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from tests.ot import sets, simulate
from tests.typescript.differential import written
from tests.typescript.peer import Peer

NAMES = itertools.count()


class Elsewhere:
    """A replica in the peer, with the face of `ot.Replica`."""

    def __init__(self, peer: Peer, document: Any, version: int, strategies: Any) -> None:
        self._peer = peer
        self._name = next(NAMES)
        self._strategies = written(strategies)
        self._outgoing: ot.Outgoing | None = None
        self._call("new", document, version)

    def _call(self, call: str, *arguments: Any) -> ot.Outgoing | None:
        request = {"call": call, "replica": self._name, "strategies": self._strategies}
        answer = self._peer.ask({**request, "arguments": arguments})
        error = answer.get("error")
        if error is not None:
            raise PatchError(error["code"], f"{call} was refused", error.get("index"))
        self.document, self.version, self.view = answer["document"], answer["version"], answer["view"]
        self.is_settled = answer["isSettled"]
        self.in_flight = outgoing_of(answer["inFlight"])
        return outgoing_of(answer["outgoing"])

    def edit(self, patch: ot.Patch) -> ot.Outgoing | None:
        return self._call("edit", patch)

    def undo(self) -> ot.Outgoing | None:
        return self._call("undo")

    def redo(self) -> ot.Outgoing | None:
        return self._call("redo")

    def receive(self, version: int, patch: ot.Patch) -> None:
        self._call("receive", version, patch)

    def acknowledged(self, seq: int, version: int, patch: ot.Patch) -> ot.Outgoing | None:
        return self._call("acknowledged", seq, version, patch)

    def withdraw(self) -> ot.Outgoing | None:
        return self._call("withdraw")

    def reload(self, document: Any, version: int, includes_in_flight: bool) -> ot.Outgoing | None:
        return self._call("reload", document, version, includes_in_flight)

    def resend(self) -> ot.Outgoing | None:
        return self._call("resend")

    def resubmit(self) -> ot.Outgoing | None:
        return self._call("resubmit")

    def reopen(self) -> None:
        """Saved as JSON and opened again, as when an application is closed."""
        self._call("reopen")


def outgoing_of(answer: Any) -> ot.Outgoing | None:
    return ot.Outgoing(answer["seq"], answer["baseVersion"], answer["patch"]) if answer else None


class ElsewhereEditor(simulate.Editor):
    """An editor whose replica is TypeScript's."""

    def __init__(self, number: int, server: simulate.Server, knows_strategies: bool, peer: Peer) -> None:
        super().__init__(number, server, knows_strategies)
        strategies = server.strategies if knows_strategies else None
        self.replica: Any = Elsewhere(peer, server.head, server.version, strategies)

    def resume(self, server: simulate.Server, random: Random) -> None:
        if random.random() < 0.3:
            self.replica.reopen()
        super().resume(server, random)


class Room(simulate.Simulation):
    """A simulation in which every other editor is TypeScript's."""

    def __init__(self, seed: int, peer: Peer) -> None:
        super().__init__(seed)
        for number, party in enumerate(self.parties):
            if isinstance(party, simulate.Editor) and number % 2 == 0:
                self.parties[number] = ElsewhereEditor(number, self.server, party.knows_strategies, peer)


class RoomOfSets(Room, sets.Sets):
    """Such a room, where arrays that are sets are edited."""


def run(seed: int, peer: Peer, steps: int = 250) -> Room:
    room = (Room if seed % 3 else RoomOfSets)(seed, peer)
    room.run(steps)
    return room


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    started = time.monotonic()
    versions = 0
    with Peer() as peer:
        for seed in range(options.seed, options.seed + options.rooms):
            try:
                versions += run(seed, peer).server.version
            except Exception as error:
                error.add_note(f"replay: python -m tests.typescript.rooms --seed {seed} --rooms 1")
                raise
    took = time.monotonic() - started
    print(f"{options.rooms:,} rooms converged, {versions:,} changes ({took:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
