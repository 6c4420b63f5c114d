"""One recipe, tried on a node's core: real sessions, rooms and committer, a log in memory, no sockets."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import trio

from gateway import ot
from gateway.admission import Features, Schemas
from gateway.bus.lone import LoneBus
from gateway.config import Config
from gateway.errors import PatchError
from gateway.hub.hub import Hub
from gateway.ports import Ack, Admission, Connection, Own, UpgradeRequest
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.runtime.clock import unix_ms
from gateway.runtime.metrics import Counters
from gateway.sessions.endpoint import Endpoint
from gateway.sessions.session import ClientSession
from tests.doubles.log import MemoryLog
from tests.rooms.parts import Author, Readers
from tests.sessions.parts import Office
from tests.worst.meter import Idle, Lines, Step, Steps, Units, WorkClock, thread_ns
from tests.worst.recipe import DOCUMENT_BYTES_MAX, Message, Recipe, messages_of, value_of

# What a trial may take: beyond it nothing is learned.
TRIAL_MAX_S = 20.0
# Rates and shares bound how often something dear is done; what it costs once is what is searched for.
CONFIG = Config().with_(
    limits={
        "operations_per_minute": 0,
        "reads_per_minute": 0,
        "user_cpu_share": 1.0,
        "user_cpu_burst_s": 60.0,
    }
)
MESSAGE = "message"
RESOURCE = "event:1"


class Sink:
    """A connection that counts what it is sent."""

    remote = "in memory"

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        self._tally.add(len(payload))

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.send(payload)

    def close(self, code: int, reason: str) -> None:
        self._tally.closed += 1


class Tally:
    """What was sent: `bytes` in all, the `largest` message; how many connections were closed."""

    def __init__(self) -> None:
        self.bytes = 0
        self.largest = 0
        self.closed = 0

    def add(self, size: int, times: int = 1) -> None:
        self.bytes += size * times
        self.largest = max(self.largest, size)


class Crowd(Readers):
    """A group that counts what it is sent."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        for payload in payloads:
            self._tally.add(len(payload), len(self._members))


class Cost(NamedTuple):
    """What an attack cost: of the dearest message and of the dearest step of others, and in all.

    `*_cpu` are instructions or ns; `sent_bytes` went out, the largest message of it `largest_bytes`, for
    `attack_bytes` of the attacker's. `bugs`: answered INTERNAL.
    """

    message_cpu: int
    batch_cpu: int
    total_cpu: int
    message_units: int
    batch_units: int
    message_lines: int
    batch_lines: int
    attack_bytes: int
    sent_bytes: int
    largest_bytes: int
    bugs: int

    @property
    def cpu_a_byte(self) -> float:
        return self.total_cpu / self.attack_bytes

    @property
    def sent_a_byte(self) -> float:
        return self.sent_bytes / self.attack_bytes


class Bench:
    """A core and its clients. `steps` are recorded while the attack goes on."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.tally = Tally()
        self.attack_bytes = 0
        self._bus = LoneBus()
        self.counters = Counters()
        rules = Schemas(CONFIG)
        parts = (MemoryLog(), self._bus, rules, self.counters, self._crowd, unix_ms, trio.current_time)
        self.hub = Hub(CONFIG, *parts)
        self._endpoint = Endpoint("node", CONFIG, self.hub, self.counters, Office(), Features(CONFIG), 100)
        self._clients: dict[int, ClientSession] = {}
        self._number = 0

    def _crowd(self) -> Crowd:
        return Crowd(self.tally)

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self._bus.run)
        await nursery.start(self.hub.run)

    async def create(self, document: Any) -> Room:
        """The resource, as an import makes it: so large a document fits no message."""
        room = await self.hub.open(RESOURCE)
        try:
            ot.size(document, DOCUMENT_BYTES_MAX, CONFIG.limits.depth_max)
        except PatchError:
            document = {"title": "T"}
        patch = [{"op": "add", "path": "", "value": document}]
        operations = ot.lower(None, patch, budget=ot.budget())
        author = Author("creator")
        room.submit(Submission(author, "creator", "creator", "c", 0, patch, operations, 0.0, 100))
        await self.quiet()
        if room.document is None:  # the schema doesn't allow it
            await self.create({"title": "T"})
        return room

    async def client(self, number: int) -> ClientSession:
        """An editor, subscribed."""
        found = self._clients.get(number)
        if found is None:
            found = self._clients[number] = await self._open(f"u{number}:admin", True)
        return found

    async def _open(self, token: str, extended: bool) -> ClientSession:
        headers = {"sec-websocket-protocol": "collab.v1"} if extended else {}
        admission = self._endpoint.admit(UpgradeRequest("/realtime", headers, "in memory"))
        assert isinstance(admission, Admission), admission
        session = admission.open(Sink(self.tally))
        assert isinstance(session, ClientSession)
        name = token.partition(":")[0]
        for message in (
            Message(0, "AUTH", 0, {"token": token, "client_id": f"{name}-{extended}"}),
            Message(0, "SUBSCRIBE", 0, {"resource": "event"}),
        ):
            work = session.receive(message.encoded(0, 0))
            if work is not None:
                await work
        return session

    async def reader(self, number: int, extended: bool) -> None:
        """Somebody who looks on."""
        await self._open(f"r{number}:viewer", extended)

    async def say(self, messages: Sequence[Message], room: Room) -> None:
        """Send messages, one after the other, as fast as they are taken."""
        clients = [await self.client(message.who) for message in messages]
        head = room.version
        encoded = [message.encoded(head, self._number + n) for n, message in enumerate(messages)]
        self._number += len(encoded)
        for session, data in zip(clients, encoded, strict=True):
            if self.steps.recording:
                self.attack_bytes += len(data)
            self.steps.begin()
            work = session.receive(data)
            if self.steps.recording:
                self.steps.ended(MESSAGE)
            if work is not None:
                await work
        await self.quiet()

    async def quiet(self) -> None:
        """Until everything is committed, and told."""
        while self.hub.busy:  # noqa: ASYNC110  (the committer has no event for it)
            await trio.sleep(0.001)


async def _attack(recipe: Recipe, steps: Steps, time_max_s: float) -> Bench:
    bench = Bench(steps)
    with trio.move_on_after(time_max_s):
        async with trio.open_nursery() as nursery:
            await bench.start(nursery)
            room = await bench.create(value_of(recipe["document"]))
            for extended, kind in ((True, "extended"), (False, "plain")):
                for number in range(min(4, int(recipe.get("readers", {}).get(kind, 0)))):
                    await bench.reader(number, extended)
            for step in recipe["history"]:
                for message in messages_of(step):
                    await bench.say([message], room)
            attack = [list(messages_of(step)) for step in recipe["attack"]]
            for messages in attack:
                for message in messages:
                    await bench.client(message.who)
            before = bench.tally.bytes
            bench.tally.largest = 0
            steps.record()
            for messages in attack:
                await bench.say(messages, room)
            steps.stop()
            bench.tally.bytes -= before
            nursery.cancel_scope.cancel()
    return bench


def _cost(steps: Sequence[Step], bench: Bench, name: str) -> Cost:
    mine = [step for step in steps if step.task in (MESSAGE, name)]
    others = [step for step in steps if step.task not in (MESSAGE, name)]

    def most(found: Sequence[Step], kind: str) -> int:
        return max((getattr(step, kind) for step in found), default=0)

    return Cost(
        most(mine, "cpu"),
        most(others, "cpu"),
        sum(step.cpu for step in steps),
        most(mine, "units"),
        most(others, "units"),
        most(mine, "lines"),
        most(others, "lines"),
        max(1, bench.attack_bytes),
        bench.tally.bytes,
        bench.tally.largest,
        bench.counters.internal_errors,
    )


async def _named(recipe: Recipe, steps: Steps, time_max_s: float) -> tuple[Bench, str]:
    return await _attack(recipe, steps, time_max_s), trio.lowlevel.current_task().name


def tried(recipe: Recipe, cpu: Any = thread_ns, time_max_s: float = TRIAL_MAX_S) -> Cost:
    """Try a recipe on what is built; the cost is in what `cpu` counts. Raises what a bug raises.

    After `time_max_s` it is cut short, whatever it cost by then.
    """
    units = Units()
    steps = Steps(cpu, units)
    gc.collect()
    gc.disable()
    try:
        with units.counting():
            bench, name = trio.run(_named, recipe, steps, time_max_s, instruments=[steps])
    finally:
        gc.enable()
    return _cost(steps.steps, bench, name)


def counted(recipe: Recipe) -> Cost:
    """Try it on plain Python (`GATEWAY_SPEEDUPS=off`), and count lines: the same on every machine."""
    lines, units = Lines(), Units()
    steps = Steps(thread_ns, units, lines)
    clock = WorkClock(lines, units)
    try:
        with units.counting():
            instruments = [steps, Idle(clock)]
            bench, name = trio.run(_named, recipe, steps, TRIAL_MAX_S, clock=clock, instruments=instruments)
    finally:
        lines.stop()
    return _cost(steps.steps, bench, name)
