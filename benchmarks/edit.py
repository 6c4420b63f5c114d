"""CPU of a whole edit in a node's core: received, checked, transformed, committed in memory, acknowledged.

    python -m benchmarks.edit [--edits 10000] [--repeats 5] [--profile]

Real sessions, rooms and committer over the log in memory, in this process; sockets are left out (echo and
broadcast measure those), so that deliveries cost nothing but the one encoding of a change. Rows: how many
edits of one room are committed together, as happens under load. `--profile` prints where the time goes.
Microseconds an edit; writes out/benchmarks/edit.json.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio
import trio.lowlevel

from benchmarks import measure, node
from gateway.admission import Features, Schemas, TokenVerifier
from gateway.bus.lone import LoneBus
from gateway.config import Config
from gateway.hub.hub import Hub
from gateway.ports import Ack, Admission, Connection, OpLog, Own, Session, UpgradeRequest
from gateway.runtime import interpreter
from gateway.runtime.clock import unix_ms
from gateway.runtime.metrics import Counters
from gateway.sessions.endpoint import Endpoint
from tests.doubles.log import MemoryLog
from tests.rooms.parts import Readers

T = TypeVar("T")
ROOMS = 100
EDITORS = 5
TOGETHER = (1, 5, 20)
TITLE = f"CPU of an edit without sockets, {ROOMS} rooms of {EDITORS} editors"
EVENT = {
    "title": "Meeting",
    "description": "What we talk about. " * 10,
    "start_time": "2025-12-15T14:00:00Z",
    "end_time": "2025-12-15T15:00:00Z",
    "tags": ["a", "b"],
    "attendees": [{"user_id": f"user_{n}", "email": f"user_{n}@example.com"} for n in range(8)],
}


class Nowhere:
    """A connection without a socket."""

    remote = "in memory"
    waiting_bytes = 0

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        pass

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        raise RuntimeError(f"closed with {code}: {reason}")


class Listeners(Readers):
    """Sends nothing."""

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        pass


@dataclass
class Editor:
    """One client of one room, and the seq of its last edit."""

    session: Session
    client_id: str
    resource_id: str
    seq: int = 0

    async def send(self, message: bytes) -> None:
        """Have the session take it, however long that is put off."""
        work = self.session.receive(message)
        if work is not None:
            await work

    async def say(self, kind: str, **payload: object) -> None:
        await self.send(json.dumps({"type": kind, "payload": payload}).encode())

    def edit(self, version: int) -> bytes:
        """The next edit's message: it sets the title."""
        self.seq += 1
        operation = {"op": "replace", "path": "/title", "value": f"Title {self.seq} of {self.client_id}"}
        payload = {
            "resource_type": "event",
            "resource_id": self.resource_id,
            "operation": operation,
            "version": version,
            "client_id": self.client_id,
            "seq": self.seq,
        }
        return json.dumps({"type": "OP", "id": f"{self.client_id}-{self.seq}", "payload": payload}).encode()


class Core:
    """A node's core without sockets, of so many rooms: the hub, and who admits its sessions."""

    def __init__(self, folder: str, log: OpLog, rooms: int) -> None:
        self._rooms = rooms
        config = Config().with_(
            limits={"operations_per_minute": 0, "user_cpu_share": 1, "accept_cpu_share": 1},
            auth={"secret_file": node.secret_file(folder)},
        )
        self.counters = Counters()
        self.bus = LoneBus()
        self.hub = Hub(
            config,
            log,
            self.bus,
            Schemas(config),
            self.counters,
            Listeners,
            unix_ms,
            time.monotonic,
        )
        verifier, features = TokenVerifier(config), Features(config)
        self._endpoint = Endpoint(
            "node", config, self.hub, self.counters, verifier, features, rooms * EDITORS
        )

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: str, log: OpLog | None = None, rooms: int = ROOMS) -> AsyncIterator[Core]:
        """One whose hub and bus run; without a `log` its changes are in memory."""
        core = cls(folder, log or MemoryLog(), rooms)
        async with trio.open_nursery() as nursery:
            await nursery.start(core.bus.run)
            await nursery.start(core.hub.run)
            yield core
            nursery.cancel_scope.cancel()

    async def editors(self) -> list[Editor]:
        """`EDITORS` for each room, subscribed; the rooms' documents exist."""
        found = []
        for number in range(self._rooms * EDITORS):
            room, place = divmod(number, EDITORS)
            headers = {
                "authorization": f"Bearer {node.token(f'user-{number}')}",
                "sec-websocket-protocol": "collab.v1",
            }
            admitted = self._endpoint.admit(UpgradeRequest("/realtime", headers, "in memory"))
            assert isinstance(admitted, Admission), admitted
            editor = Editor(admitted.open(Nowhere()), f"client-{number}", f"room-{room}")
            await editor.say("AUTH", client_id=editor.client_id)
            await editor.say("SUBSCRIBE", resource="event", resource_id=editor.resource_id)
            if place == 0:
                await self._create(editor)
            found.append(editor)
        return found

    async def _create(self, editor: Editor) -> None:
        operation = {"op": "add", "path": "", "value": EVENT}
        await editor.say("OP", resource_id=editor.resource_id, version=0, operation=operation)
        while self.hub.busy:
            await trio.lowlevel.checkpoint()

    def version(self, editor: Editor) -> int:
        """What the editor has seen."""
        room = self.hub.get(f"event:{editor.resource_id}")
        assert room is not None
        return room.version


@dataclass
class Cost:
    """CPU seconds of so many edits; `receive_s` of it until each was in its room."""

    edits: int = 0
    receive_s: float = 0.0
    total_s: float = 0.0

    def us(self) -> dict[str, float]:
        """Microseconds an edit."""
        each = 1e6 / self.edits
        return {
            "receive": self.receive_s * each,
            "commit": (self.total_s - self.receive_s) * each,
            "whole": self.total_s * each,
        }


async def edited(core: Core, editors: Sequence[Editor], edits: int, together: int) -> Cost:
    """Send so many edits, so many of each room at once, each time waiting until they are committed."""
    cost = Cost()
    while cost.edits < edits:
        messages = [(editor, editor.edit(core.version(editor))) for editor in turn(editors, together)]
        before_s = time.thread_time()
        for editor, message in messages:
            assert editor.session.receive(message) is None, "an edit had to wait"
        cost.receive_s += time.thread_time() - before_s
        while core.counters.pending_changes:
            await trio.lowlevel.checkpoint()
        cost.total_s += time.thread_time() - before_s
        cost.edits += len(messages)
    return cost


def turn(editors: Sequence[Editor], together: int) -> list[Editor]:
    """Who edits in one turn: the editors of a room one after the other, `together` edits in all."""
    return [editors[room * EDITORS + place % EDITORS] for place in range(together) for room in range(ROOMS)]


def as_in_a_worker(measured: Callable[..., Awaitable[T]], *given: object) -> T:
    """What is measured in a new folder, with the interpreter as a worker has it."""
    with tempfile.TemporaryDirectory() as folder, interpreter.runtime(Counters()) as runtime:
        runtime.started()
        return trio.run(measured, folder, *given)


async def measured(folder: str, edits: int, together: int, profiler: cProfile.Profile | None) -> Cost:
    """One run on a core of its own."""
    async with Core.running(folder) as core:
        editors = await core.editors()
        await edited(core, editors, edits // 5, together)
        before = core.counters.operations_committed
        if profiler is not None:
            profiler.enable()
        cost = await edited(core, editors, edits, together)
        if profiler is not None:
            profiler.disable()
        assert core.counters.operations_committed - before == cost.edits, "an edit was refused"
    return cost


def run(arguments: Sequence[str] = ()) -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print where the time of one run goes")
    options = parser.parse_args(arguments)

    if options.profile:
        profiler = cProfile.Profile()
        as_in_a_worker(measured, options.edits, 1, profiler)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
        return
    names = [str(together) for together in TOGETHER]
    results = measure.repeated(
        names,
        options.repeats,
        lambda name: as_in_a_worker(measured, options.edits, int(name), None).us(),
    )
    print(table(results))
    print(measure.save("edit", {"title": TITLE, "results": results}, vars(options)))


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Microseconds of each part, by how many edits of a room came at once."""
    parts = ("receive", "commit", "whole")
    rows = [[name, *(f"{row[part]:.1f}" for part in parts)] for name, row in results.items()]
    columns = ("edits of a room at once", "receive, us", "commit and tell, us", "whole, us")
    return measure.table(TITLE, columns, rows)


if __name__ == "__main__":
    run(sys.argv[1:])
