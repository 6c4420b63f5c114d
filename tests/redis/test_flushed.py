"""Redis emptied by mistake (FLUSHALL) under the hands of editors, with and without an archive behind it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest
import trio

from gateway import ot
from gateway.config import Config
from gateway.log.postgres.archive import migrate
from gateway.ports import Record
from gateway.rooms.window import entries_of
from tests.redis.node import RESOURCE, Node, archive_all, node
from tests.redis.parts import flush, fresh
from tests.servers import shared_postgres, shared_redis
from tests.simulation.cluster import CONFIG
from tests.simulation.user import User
from tests.waiting import PATIENCE_S, unawaited, until

EDITS_PER_S = 10.0


class Editing:
    """Two nodes, and users who edit one document on them, until `peace`.

    How many edits an acknowledgement takes depends on the machine: what is made while one is in flight goes
    together. A given number of edits might be used up before a test has seen as many acknowledgements as it
    waits for.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        names = [f"u{number}" for number in range(4)]
        self.users = [User(name, random.Random(name), lambda: random.choice(self.nodes)) for name in names]

    async def progress(self, edits: int) -> None:
        """Until so many more edits are acknowledged."""
        goal = self.acknowledged + edits
        await until(lambda: self.acknowledged >= goal, f"{edits} more edits")

    @property
    def acknowledged(self) -> int:
        return sum(len(user.acknowledged) for user in self.users)

    @property
    def epochs(self) -> set[int]:
        """Of the rooms that are open: a node without users has none."""
        rooms = (node.hub.get(RESOURCE) for node in self.nodes)
        return {room.epoch for room in rooms if room is not None}

    async def records(self) -> list[Record]:
        records: list[Record] = []
        while step := await self.nodes[0].log.read(RESOURCE, len(records), 500):
            records += step
        return records

    async def peace(self) -> list[Record]:
        """End the editing, and wait until all is said and everyone has it; the whole history."""
        for user in self.users:
            user.done = True
        with trio.fail_after(PATIENCE_S):
            while True:
                await trio.sleep(0.1)
                for user in self.users:
                    user.settle_down()
                if all(user.replica.is_settled for user in self.users):
                    records = await self.records()
                    if all(user.replica.version == len(records) for user in self.users):
                        return records

    def judge(self, records: Sequence[Record]) -> None:
        """Everyone sees the same; what was acknowledged is there once, for rooms knew all of it."""
        assert [record.version for record in records] == list(range(1, len(records) + 1))
        document = entries_of(None, records)[-1].after
        for user in self.users:
            assert ot.canonical(user.replica.view) == ot.canonical(document), f"{user.name} diverged"
        stored = [(record.user_id, record.seq) for record in records if record.seq is not None]
        assert len(set(stored)) == len(stored), "a change is there twice"
        acknowledged = {(user.name, seq) for user in self.users for seq in user.acknowledged}
        folded = sum(node.counters.changes_folded for node in self.nodes)
        assert len(acknowledged - set(stored)) <= folded, "acknowledged changes were lost, and not counted"
        assert sum(node.counters.changes_lost for node in self.nodes) == 0


@asynccontextmanager
async def editing(config: Config, dsn: str | None) -> AsyncIterator[Editing]:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node(name, config, dsn)) for name in ("one", "two")]
        found = Editing(nodes)
        async with unawaited() as nursery:
            for user in found.users:
                user.doubtful = True
                nursery.start_soon(user.live, None, EDITS_PER_S)
            yield found


def settings() -> Config:
    redis = fresh("any", head_compare_s=1.0).redis
    return CONFIG.with_(redis={"urls": redis.urls, "head_compare_s": redis.head_compare_s})


async def test_what_was_archived_is_there_and_rooms_bring_back_the_rest() -> None:
    config = settings()
    with shared_postgres().database() as dsn:
        migrate(dsn)
        async with editing(config, dsn) as found:
            await found.progress(20)
            await archive_all(config, dsn)
            kept = await found.records()
            await found.progress(10)
            epochs = found.epochs
            flush(shared_redis("any", 0).port)
            await found.progress(10)
            records = await found.peace()
            found.judge(records)
            assert records[:10] == kept[:10], "the archive's history is the beginning"
            assert min(found.epochs) > max(epochs)
            assert sum(node.counters.changes_rescued for node in found.nodes) > 0


@pytest.mark.parametrize("times", [1, 3])
async def test_without_an_archive_the_rooms_state_is_the_new_beginning(times: int) -> None:
    async with editing(settings(), None) as found:
        for _ in range(times):
            await found.progress(20)
            flush(shared_redis("any", 0).port)
        records = await found.peace()
        found.judge(records)
        first = orjson.loads(records[0].body)
        assert (first["user_id"], first["operations"][0]["path"]) == ("gateway", "")
        assert first["former"][1] > 1, "the first change stands for all that had left the windows"
