"""A hub on a log and a bus in memory, without sessions; the log can be held up, or be away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from gateway import ot
from gateway.admission import Schemas
from gateway.config import Config
from gateway.errors import LogUnavailable
from gateway.hub.hub import Hub
from gateway.ports import Batch, Opening, Outcome, Pacing, Record
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.runtime.metrics import Counters
from tests.doubles.bus import MeetingPlace, MemoryBus
from tests.doubles.log import MemoryHistory, MemoryLog
from tests.rooms.parts import CONFIG, CREATE, RESOURCE, START_MS, Author, Readers

UNPACED = Pacing()


@contextmanager
def deaf(bus: MemoryBus) -> Iterator[None]:
    """Meanwhile it hears nothing of what the others publish."""
    post, bus.post = bus.post, lambda resource, payload: None  # type: ignore[method-assign]
    yield
    bus.post = post  # type: ignore[method-assign]


class HeldLog(MemoryLog):
    """Appends wait for `go`, reads for `reads`, the answers of openings for `opens`; `away`: nothing is
    answered. `appends` are the batches of each call, `opened` the resources that were asked for; opening one
    of `failing` raises that."""

    def __init__(self, history: MemoryHistory, bus: MemoryBus, pacing: Pacing) -> None:
        super().__init__(history, bus)
        self.pacing = pacing
        self.go = trio.Event()
        self.go.set()
        self.reads = trio.Event()
        self.reads.set()
        self.opens = trio.Event()
        self.opens.set()
        self.away = False
        self.failing: dict[str, LogUnavailable] = {}
        self.opened: list[str] = []
        self.answers: list[Sequence[Outcome] | Exception] = []  # in the place of the log's own
        self.appends: list[Sequence[Batch]] = []

    def hold(self) -> None:
        self.go = trio.Event()

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        self.appends.append(batches)
        await self.go.wait()
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return await super().append(batches)

    def hold_reads(self) -> None:
        self.reads = trio.Event()

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        await self.reads.wait()
        return await super().read(resource, after, limit)

    def hold_opens(self) -> None:
        self.opens = trio.Event()

    async def open(self, resource: str) -> Opening:
        self.opened.append(resource)
        if resource in self.failing:
            raise self.failing[resource]
        if self.away:
            raise LogUnavailable("away", "none")
        opening = await super().open(resource)
        await self.opens.wait()
        return opening


class Worker:
    """One worker's hub. `history` and `place` are shared by workers of one cluster."""

    def __init__(self, history: MemoryHistory, place: MeetingPlace, config: Config, pacing: Pacing) -> None:
        self.counters = Counters()
        self.bus = MemoryBus(place)
        self.log = HeldLog(history, self.bus, pacing)
        self.ahead_ms = 0  # by so much its wall clock is wrong
        self.look_s = 0.0  # each look at its monotonic clock takes so long
        self._looked_s = 0.0
        self.hub = Hub(
            config,
            self.log,
            self.bus,
            Schemas(config),
            self.counters,
            Readers,
            wall_ms=lambda: START_MS + self.ahead_ms + int(trio.current_time() * 1000),
            now_s=self._now_s,
        )

    def _now_s(self) -> float:
        self._looked_s += self.look_s
        return trio.current_time() + self._looked_s

    async def open(self, resource: str = RESOURCE) -> Room:
        """The room of a resource whose event exists."""
        room = await self.hub.open(resource)
        if room.document is None:
            await self.commit(room, Author("creator"), CREATE)
        return room

    def submit(
        self,
        room: Room,
        author: Author,
        patch: list[dict[str, Any]],
        base: int | None = None,
        may_delete: bool = False,
        seq: int | None = None,
    ) -> None:
        """An edit, on the head for None."""
        base = room.version if base is None else base
        document = room.history.document_at(base)
        operations = ot.lower(document, patch, self.hub.rules.strategies(room.type), self.hub.patch_limits)
        names = (author, author.name, f"{author.name}-client", f"{author.name}-{len(author.versions)}")
        submission = Submission(*names, base, patch, operations, trio.current_time(), 10)
        submission.may_delete, submission.seq = may_delete, seq
        room.submit(submission)

    async def commit(self, room: Room, author: Author, patch: list[dict[str, Any]]) -> None:
        """An edit, until it is answered."""
        self.submit(room, author, patch)
        await self.hub.idle()


class Cluster:
    """Workers on one history and one bus."""

    def __init__(self, nursery: trio.Nursery, config: Config) -> None:
        self.history = MemoryHistory(START_MS, lambda: START_MS)
        self._nursery = nursery
        self._place = MeetingPlace()
        self._config = config

    async def worker(self, pacing: Pacing = UNPACED) -> Worker:
        worker = Worker(self.history, self._place, self._config, pacing)
        await self._nursery.start(worker.bus.run)
        await self._nursery.start(worker.hub.run)
        return worker


@asynccontextmanager
async def cluster(config: Config = CONFIG) -> AsyncIterator[Cluster]:
    """Ends everything at the end."""
    async with trio.open_nursery() as nursery:
        yield Cluster(nursery, config)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def workers(number: int, config: Config = CONFIG) -> AsyncIterator[list[Worker]]:
    """So many of one cluster."""
    async with cluster(config) as found:
        yield [await found.worker() for _ in range(number)]


@asynccontextmanager
async def one_room(config: Config = CONFIG) -> AsyncIterator[tuple[Worker, Room]]:
    """A worker, and its room of an event that exists."""
    async with workers(1, config) as [worker]:
        yield worker, await worker.open()


async def quiet() -> None:
    """Until every task waits, on a clock that jumps."""
    await trio.testing.wait_all_tasks_blocked()
