"""Appends to the log in Redis: how many a second, and what one costs this process.

Run `python -m benchmarks.redis_append`. Side by side, with the same function and the same bytes:

| case | what |
|---|---|
| log, grouped | `RedisLog.append` with a batch of each of 200 resources at a time, as the committer does |
| log, tasks | 200 tasks, each appending to its own resource |
| log, serial | one task, one resource: the round trip |
| link, tasks | 200 tasks on the bare link, calls packed beforehand |
| redis-py, thread | pipelines of 200 in a worker thread, calls as redis-py packs them |

A Redis server is started on loopback unless `--url` names one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import redis
import trio

from benchmarks import measure
from gateway.config import Config
from gateway.log.redis.codec import Codec
from gateway.log.redis.log import RedisLog
from gateway.ports import Batch, Committed, Record
from gateway.redislink.shards import Call, Shards
from tests.servers import redis_server

RESOURCES = 200
BODY = (
    b'{"version":1,"operations":[{"op":"replace","path":"/title","value":"Weekly planning of the team"}],'
    b'"client_id":"client-17","user_id":"user-17","seq":1,"op_id":"0123456789abcdef","timestamp":1790000000000}'
)


class Result(NamedTuple):
    """One row: appends, wall and CPU seconds of this process."""

    name: str
    appends: int
    wall_s: float
    cpu_s: float

    def line(self) -> str:
        rate, wall_us, cpu_us = (
            self.appends / self.wall_s,
            1e6 * self.wall_s / self.appends,
            1e6 * self.cpu_s / self.appends,
        )
        return f"| {self.name} | {rate:,.0f} | {cpu_us:.1f} | {wall_us:.1f} |"


class Rooms:
    """Resources with their heads: makes the next batch of each."""

    def __init__(self, epochs: Sequence[int], prefix: str, seqs: bool) -> None:
        self.names = [f"event:{prefix}{n}" for n in range(len(epochs))]
        self.epochs = list(epochs)
        self.versions = [0] * len(epochs)
        self._seqs = seqs

    def batch(self, room: int) -> Batch:
        version = self.versions[room] = self.versions[room] + 1
        seq = version if self._seqs else None
        record = Record(version, BODY, "user-17", "client-17", seq, "d" * 32, 1_790_000_000_000, None)
        nonce = f"{room:08x}{version:08x}"
        return Batch(self.names[room], self.epochs[room], version - 1, nonce, [record])


async def rooms_of(log: RedisLog, prefix: str, seqs: bool = True, number: int = RESOURCES) -> Rooms:
    names = [f"event:{prefix}{n}" for n in range(number)]
    rooms = Rooms([(await log.open(name)).epoch for name in names], prefix, seqs)
    outcomes = [(await log.append([rooms.batch(n)]))[0] for n in range(number)]
    assert set(outcomes) == {Committed()}, outcomes
    return rooms


@contextmanager
def measured(name: str, results: list[Result]) -> Iterator[list[int]]:
    appends: list[int] = []
    wall, cpu = time.perf_counter(), time.process_time()
    yield appends
    results.append(Result(name, sum(appends), time.perf_counter() - wall, time.process_time() - cpu))


async def grouped(log: RedisLog, rooms: Rooms, rounds: int) -> int:
    for _ in range(rounds):
        outcomes = await log.append([rooms.batch(n) for n in range(len(rooms.names))])
        assert set(outcomes) == {Committed()}, outcomes
    return rounds * len(rooms.names)


async def in_tasks(log: RedisLog, rooms: Rooms, rounds: int) -> int:
    async def one(room: int) -> None:
        for _ in range(rounds):
            outcomes = await log.append([rooms.batch(room)])
            assert outcomes == [Committed()], outcomes

    await side_by_side([partial(one, room) for room in range(len(rooms.names))])
    return rounds * len(rooms.names)


async def side_by_side(tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)


def packed_calls(shards: Shards, rooms: Rooms, rounds: int) -> list[list[Call]]:
    """For each room, its next appends."""
    codec = Codec(shards.library, shards.config.partitions, shards.origin)
    return [
        [codec.append(rooms.batch(room), "", "node", 0, False, 0) for _ in range(rounds)]
        for room in range(len(rooms.names))
    ]


async def on_link(shards: Shards, calls: list[list[Call]]) -> int:
    link = shards.server(0).appends

    async def one(mine: list[Call]) -> None:
        for call in mine:
            (reply,) = await link.pipeline([call.packed])
            assert reply == [b"OK"], reply

    await side_by_side([partial(one, mine) for mine in calls])
    return sum(map(len, calls))


def append_arguments(codec: Codec, batch: Batch) -> list[object]:
    """The append call's parts, which redis-py packs itself."""
    from hiredis import Reader

    reader = Reader()
    reader.feed(codec.append(batch, "", "node", 0, False, 0).packed)
    parts: list[object] = reader.gets()
    return parts


async def with_redis_py(shards: Shards, rooms: Rooms, rounds: int, name: str, results: list[Result]) -> None:
    codec = Codec(shards.library, shards.config.partitions, shards.origin)
    batches = [
        [append_arguments(codec, rooms.batch(room)) for room in range(len(rooms.names))]
        for _ in range(rounds)
    ]
    client = redis.Redis(**shards.table.owners[0].client_options())

    def pipeline(commands: list[list[object]]) -> None:
        pipe = client.pipeline(transaction=False)
        for parts in commands:
            pipe.execute_command(*parts)  # type: ignore[no-untyped-call]
        replies = pipe.execute()
        assert all(reply == [b"OK"] for reply in replies), replies

    with measured(name, results) as appends:
        for commands in batches:
            await trio.to_thread.run_sync(pipeline, commands)
            appends.append(len(commands))
    client.close()


async def run(url: str, rounds: int) -> list[Result]:
    config = Config().with_(redis={"urls": (url,)})
    results: list[Result] = []
    async with trio.open_nursery() as nursery:
        shards = Shards(config.redis)
        await nursery.start(shards.run)
        log = RedisLog(shards, config)
        for name, seqs in (("log, grouped", True), ("log, grouped, without seq", False)):
            rooms = await rooms_of(log, f"grouped-{seqs}-", seqs)
            with measured(name, results) as appends:
                appends.append(await grouped(log, rooms, rounds))
        rooms = await rooms_of(log, "tasks-")
        with measured("log, tasks", results) as appends:
            appends.append(await in_tasks(log, rooms, rounds))
        rooms = await rooms_of(log, "serial-", number=1)
        with measured("log, serial", results) as appends:
            appends.append(await in_tasks(log, rooms, 10 * rounds))
        calls = packed_calls(shards, await rooms_of(log, "link-"), rounds)
        with measured("link, tasks", results) as appends:
            appends.append(await on_link(shards, calls))
        await with_redis_py(shards, await rooms_of(log, "py-"), rounds, "redis-py, thread", results)
        nursery.cancel_scope.cancel()
    return results


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--url", help="a Redis server to use (its data stays)")
    parser.add_argument("--rounds", type=int, default=200, help="appends to each resource (default 200)")
    options = parser.parse_args()
    with redis_server(started=options.url is None) as server:
        results = trio.run(run, options.url or server.url, options.rounds)
    print("| case | appends/s | CPU us an append | us an append |\n|---|---|---|---|")
    for result in results:
        print(result.line())


if __name__ == "__main__":
    main()
