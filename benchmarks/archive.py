"""How fast changes reach the archive, and what one costs.

    python -m benchmarks.archive store     # into PostgreSQL, in transfers of 5,000
    python -m benchmarks.archive drain     # a backlog in Redis, through the outboxes

Redis and PostgreSQL run on the same machine, PostgreSQL with its default durability.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import trio

from benchmarks import measure
from benchmarks.log import ROOMS, Workload
from gateway.config import Config
from gateway.log.archive import Archiver, Transfer
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.log.redis.log import RedisLog
from gateway.log.redis.outboxes import RedisOutbox
from gateway.ports import Batch, Committed, Record
from gateway.redislink.shards import Shards
from gateway.wire.announcement import Announcement
from loadtest.processes import family
from tests.servers import postgres_server, redis_server

BACKLOG = 1_000_000
STEP = 5000


class Meter:
    """Wall time, CPU of this process and of a server and its children, while it is entered."""

    def __init__(self, server_pid: int) -> None:
        self._pid = server_pid
        self.wall_s = self.cpu_s = self.server_s = 0.0

    def __enter__(self) -> None:
        self.wall_s -= time.perf_counter()
        self.cpu_s -= time.process_time()
        self.server_s -= cpu_of_s(self._pid)

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter()
        self.cpu_s += time.process_time()
        self.server_s += cpu_of_s(self._pid)

    def line(self, changes: int) -> str:
        return (
            f"{changes:,} changes in {self.wall_s:.1f} s ({changes / self.wall_s:,.0f}/s); CPU a change: "
            f"{self.cpu_s / changes * 1e6:.1f} us here, {self.server_s / changes * 1e6:.1f} us in PostgreSQL"
        )


def cpu_of_s(pid: int) -> float:
    """CPU time of a process and its children."""
    return sum(sum(process.cpu_times()[:2]) for process in family(pid))


async def store() -> None:
    """Store a backlog of a million changes, one a batch."""
    with postgres_server() as server, server.database() as dsn:
        migrate(dsn)
        archive, workload, meter = PostgresArchive(dsn), Workload(), Meter(server.pid)
        for step in range(BACKLOG // STEP):
            rooms = [(step * STEP + n) % ROOMS for n in range(STEP)]
            changes = [_change(f"event:{room}", workload.records(room, 1)) for room in rooms]
            with meter:
                await archive.store(Transfer(changes=changes))
        print(meter.line(BACKLOG))
        await archive.aclose()


def _change(resource: str, records: Sequence[Record]) -> Announcement:
    base = records[0].version - 1
    return Announcement(resource, 1, base, f"nonce-{base}", records)


async def drain() -> None:
    """Let a million changes wait in the outboxes, then start one archiver."""
    with postgres_server() as server, server.database() as dsn, redis_server() as redis:
        migrate(dsn)
        settings = {"urls": (redis.url,), "archive_backlog_bytes_max": 1 << 32}
        config = Config().with_(redis=settings)
        async with trio.open_nursery() as nursery:
            shards, archive = Shards(config.redis), PostgresArchive(dsn)
            await nursery.start(shards.run)
            await fill(RedisLog(shards, config, archive))
            archiver, meter = Archiver(RedisOutbox(shards, config), archive), Meter(server.pid)
            with meter:
                while archiver.numbers.changes < BACKLOG:
                    await archiver.step()
            print(meter.line(BACKLOG))
            nursery.cancel_scope.cancel()
        await archive.aclose()


async def fill(log: RedisLog) -> None:
    workload = Workload()
    epochs = [(await log.open(f"event:{room}")).epoch for room in range(ROOMS)]
    for _ in range(BACKLOG // ROOMS):
        batches = []
        for room, epoch in enumerate(epochs):
            records = workload.records(room, 1)
            base = records[0].version - 1
            batches.append(Batch(f"event:{room}", epoch, base, f"{room}-{base}", records))
        outcomes = await log.append(batches)
        assert set(outcomes) == {Committed()}, outcomes


RUNS: dict[str, Callable[[], object]] = {"store": store, "drain": drain}


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("run", choices=RUNS)
    trio.run(RUNS[parser.parse_args().run])  # type: ignore[arg-type]  # each is an async function


if __name__ == "__main__":
    main()
