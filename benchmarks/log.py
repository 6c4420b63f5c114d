"""What group commits of the embedded log cost.

    python -m benchmarks.log sqlite     # CPU and time a record, for 1 to 1000 records over 1 to 200 rooms
    python -m benchmarks.log busy       # beside a busy event loop, by thread switch interval
    python -m benchmarks.log read       # opening and time travel, with 10,000 changes

The log writes to a temporary directory; set TMPDIR to choose the disk.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from benchmarks import measure
from benchmarks.measure import percentile
from gateway.log.sqlite.log import SqliteLog
from gateway.log.sqlite.store import prepare
from gateway.log.sqlite.watermark import Watermark
from gateway.log.sqlite.writer import Writer
from gateway.ports import Batch, ClientKey, Committed, Record, Snapshot

ROOMS = 200
EDITORS = 5
SHAPES = ((1, 1), (10, 1), (10, 10), (50, 1), (100, 1), (100, 2), (200, 1), (200, 5))


class Workload:
    """Title edits of 200 documents with 5 editors each, in the order of their versions."""

    def __init__(self) -> None:
        self._heads = [0] * ROOMS
        self._rng = random.Random(1)

    def records(self, room: int, number: int) -> list[Record]:
        """The next changes of a room."""
        first = self._heads[room] + 1
        self._heads[room] += number
        return [self._record(room, version) for version in range(first, first + number)]

    def rooms(self, number: int) -> Sequence[int]:
        return self._rng.sample(range(ROOMS), number)

    def _record(self, room: int, version: int) -> Record:
        editor = version % EDITORS
        user, client = f"user-{room:04}-{editor}", f"client-{room:08}-{editor:08}"
        body = (
            f'{{"version":{version},"operations":[{{"op":"replace","path":"/title","value":"Weekly review, '
            f'as it stands"}}],"client_id":"{client}","user_id":"{user}","op_id":"0123456789abcdef",'
            f'"timestamp":1790000000000,"seq":{version}}}'
        ).encode()
        return Record(version, body, user, client, version, "d" * 22, 1_790_000_000_000 + version, None)


class Cost(NamedTuple):
    """Of one shape: CPU of the process a record; times of one commit."""

    cpu_us: float
    median_ms: float
    p99_ms: float
    records_a_second: float


async def measured(log: SqliteLog, workload: Workload, rooms: int, each: int, commits: int) -> Cost:
    """The cost of group commits of `each` records in each of `rooms` rooms, without making the batches."""
    standing = (await log.open("event:none")).epoch
    times, cpu_s = [], 0.0
    for _ in range(commits):
        batches = []
        for room in workload.rooms(rooms):
            records = workload.records(room, each)
            nonce = f"{room}-{records[0].version}"
            batches.append(Batch(f"event:{room}", standing, records[0].version - 1, nonce, records))
        started, cpu_started_s = time.perf_counter(), time.process_time()
        outcomes = await log.append(batches)
        times.append(time.perf_counter() - started)
        cpu_s += time.process_time() - cpu_started_s
        assert outcomes == [Committed()] * rooms
    times.sort()
    records_total = rooms * each * commits
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    return Cost(cpu_s / records_total * 1e6, p50 * 1e3, p99 * 1e3, records_total / sum(times))


@contextmanager
def fresh_log() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="gateway-log-") as directory:
        yield directory


async def sqlite() -> None:
    """One line a shape; the log grows from shape to shape, as it does in use."""
    print(f"{'rooms':>5} {'each':>5} {'CPU us/record':>14} {'median ms':>10} {'p99 ms':>8} {'records/s':>10}")
    with fresh_log() as directory:
        log, workload = SqliteLog(directory), Workload()
        await measured(log, workload, ROOMS, 5, 50)
        for rooms, each in SHAPES:
            cost = await measured(log, workload, rooms, each, 300)
            print(
                f"{rooms:>5} {each:>5} {cost.cpu_us:>14.1f} {cost.median_ms:>10.2f} {cost.p99_ms:>8.2f} "
                f"{cost.records_a_second:>10,.0f}"
            )
        await log.aclose()


class Commits(threading.Thread):
    """Commits of 100 records in a thread, each timed there, as the log's worker thread makes them."""

    def __init__(self, directory: str, commits: int) -> None:
        super().__init__()
        self._writer = Writer(
            prepare(Path(directory) / "log.sqlite3", 1),
            Watermark(Path(directory) / "log.newest", Path(directory) / "log.sqlite3"),
        )
        self._commits = commits
        self.times_s: list[float] = []

    def run(self) -> None:
        workload = Workload()
        for _ in range(self._commits):
            records = {room: workload.records(room, 1) for room in workload.rooms(100)}
            batches = [
                Batch(f"event:{room}", 1, found[0].version - 1, f"{found[0].version}", found)
                for room, found in records.items()
            ]
            started = time.perf_counter()
            self._writer.append(batches)
            self.times_s.append(time.perf_counter() - started)
        self._writer.close()


async def busy() -> None:
    """Commits of 100 records while the main thread never rests, by switch interval."""
    await trio.lowlevel.checkpoint()
    print(f"{'switch interval ms':>18} {'median ms':>10} {'p99 ms':>8}")
    for interval_s in (0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001):
        sys.setswitchinterval(interval_s)
        with fresh_log() as directory:
            commits = Commits(directory, 100)
            commits.start()
            while commits.is_alive():
                sum(range(1000))
            times = sorted(commits.times_s)
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        print(f"{interval_s * 1e3:>18.1f} {p50 * 1e3:>10.2f} {p99 * 1e3:>8.2f}")


async def read() -> None:
    """One resource with 10,000 changes and a snapshot each 256: open, time travel, what a client resends."""
    with fresh_log() as directory:
        log, workload = SqliteLog(directory), Workload()
        standing = (await log.open("event:0")).epoch
        for base in range(0, 10_240, 256):
            await log.append([Batch("event:0", standing, base, f"{base}", workload.records(0, 256))])
            await log.save_snapshot("event:0", standing, Snapshot(base + 256, b"x" * 2000))
        key = ClientKey("event:0", "user-0000-1", "client-00000000-00000001")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "open": lambda: log.open("event:0"),
            "all 10,000 changes": lambda: log.read("event:0", 0, 10_000),
            "snapshot at 5,000": lambda: log.snapshot("event:0", 5000),
            "100 changes after it": lambda: log.read("event:0", 5000, 100),
            "recent of 1 client": lambda: log.recent([key], 0),
            "own_changes, 1,000": lambda: log.own_changes(key, 1000),
        }
        for name, call in calls.items():
            await call()
            started = time.perf_counter()
            for _ in range(20):
                await call()
            print(f"{name:<22} {(time.perf_counter() - started) / 20 * 1e3:>8.2f} ms")
        await log.aclose()


RUNS: dict[str, Callable[[], object]] = {"sqlite": sqlite, "busy": busy, "read": read}


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("run", choices=RUNS)
    trio.run(RUNS[parser.parse_args().run])  # type: ignore[arg-type]  # each is an async function


if __name__ == "__main__":
    main()
