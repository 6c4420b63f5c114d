"""The index of a cluster, from a real PostgreSQL into a real search server: what breaks, and what goes on."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from gateway.config import SearchSettings
from gateway.errors import LogUnavailable
from gateway.log.archive import Transfer
from gateway.log.cluster.backup import clear, stores
from gateway.log.postgres.archive import PostgresArchive, migrate
from gateway.log.search import cluster as search_cluster
from gateway.log.search.cluster import ClusterIndexing, index_of, reindexed
from gateway.log.search.indexer import Taken
from gateway.log.search.opensearch import FORMAT_VERSION, Answer, OpenSearchIndex
from gateway.log.search.queue import Generation, SearchQueue, generations
from gateway.log.search.rest import HttpRest
from gateway.ports import Record
from gateway.ports.search import EVERYTHING, Erasure, IndexEntry, Wanted
from gateway.wire.announcement import Announcement
from tests import waiting
from tests.redis.parts import fresh
from tests.search.contract import ids
from tests.search.faults import MODES, Faults
from tests.search.server import SearchServer, shared_search_server
from tests.servers import shared_postgres
from tests.waiting import PATIENCE_S, unawaited, until_equal

NUMBERS = count(1)
until = partial(waiting.until, every_s=0.05)


class Cluster:
    """An archive, its index, and what feeds it."""

    def __init__(self, dsn: str, archive: PostgresArchive, rest: HttpRest, alias: str) -> None:
        self.dsn = dsn
        self.archive = archive
        self.rest = rest
        self.alias = alias
        self.index = OpenSearchIndex(rest, alias)
        self.indexing = ClusterIndexing(archive, rest, alias)

    async def archived(self, name: str, *titles: str, after: int = 0, epoch: int = 1) -> None:
        """Changes come to the archive."""
        records = [record(version, title) for version, title in enumerate(titles, after + 1)]
        news = Announcement(name, epoch, after, f"{name}{epoch}{after}", records)
        await self.archive.store(Transfer(changes=[news]))

    async def found(self, query: str, expected: int) -> list[str]:
        """The resources found, once they are so many; the same a moment later."""

        async def counted() -> int:
            await self.index.refresh()
            return await self.index.count(Wanted(EVERYTHING, [query]), 1000)

        await until_equal(counted, expected, every_s=0.05)
        return sorted(await ids(self.index, query))


async def answers(made: Cluster, expected: int) -> bool:
    """Whether so many are found; a server that is away finds none."""
    try:
        await made.index.refresh()
        return await made.index.count(Wanted(EVERYTHING, ["lunch"]), 1000) == expected
    except LogUnavailable:
        return False


async def failures(made: Cluster, more: int) -> bool:
    """Whether indexing failed so often."""
    return made.indexing.failures >= more


def record(version: int, title: str) -> Record:
    value: object = {"title": title} if version == 1 else title
    operation = {"op": "add", "path": "" if version == 1 else "/title", "value": value}
    body = {
        "version": version,
        "op_id": "o",
        "user_id": "ann",
        "timestamp": version,
        "operations": [operation],
    }
    return Record(version, orjson.dumps(body), "ann", "c", None, "", version, None)


@asynccontextmanager
async def cluster(url: str | None = None, workers: int = 1) -> AsyncIterator[Cluster]:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        rest = HttpRest(SearchSettings(url=url or shared_search_server().url, timeout_s=2))
        made = Cluster(dsn, archive, rest, f"cluster-{next(NUMBERS)}")
        async with unawaited() as nursery:
            nursery.start_soon(made.indexing.run)
            for _ in range(workers - 1):
                nursery.start_soon(ClusterIndexing(archive, rest, made.alias).run)
            await until(partial(generations, archive))
            yield made
        await rest.aclose()
        await archive.aclose()


@pytest.fixture
def looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An indexer looks at its beginning which indexes there are, and feeds none again that was stopped."""
    monkeypatch.setattr(search_cluster, "LOOK_INTERVAL_S", 3600)


async def unfed(made: Cluster) -> None:
    """Its indexer, which may still be beginning, feeds the first index no longer; see `looks_once`."""
    await until(lambda: 1 in made.indexing._feeding)
    made.indexing._feeding[1].cancel()


async def test_what_is_archived_is_found_once_whoever_indexes_it():
    async with cluster(workers=3) as made:
        for number in range(30):
            await made.archived(f"event:{number}", "first lunch", "second lunch")
        assert len(await made.found("lunch", 90)) == 90  # two changes and a document each
        assert await made.found("first", 30)
        assert made.indexing.lag_s < 60


async def test_of_many_large_changes_each_step_takes_a_few_and_all_are_found(monkeypatch):
    monkeypatch.setattr("gateway.log.search.queue.BYTES_A_STEP", 10_000)
    steps: list[Taken] = []

    class Noted(SearchQueue):
        async def take(self, count: int) -> Taken:
            steps.append(await super().take(count))
            return steps[-1]

    monkeypatch.setattr(search_cluster, "SearchQueue", Noted)
    async with cluster(workers=2) as made:
        for number in range(12):
            await made.archived(f"event:{number}", *(f"lunch {'x' * 3000} {n}" for n in range(9)))
        assert len(await made.found("lunch", 120)) == 120  # nine changes and a document each
    assert all(sum(len(change.body) for change in step.changes[:-1]) < 10_000 for step in steps)
    assert sum(len(step.changes) > 1 for step in steps) > 1


async def test_a_purge_takes_all_of_it_and_what_comes_late_stays_out():
    async with cluster() as made:
        await made.archived("event:1", "secret one", "secret two")
        await made.archived("event:2", "secret")
        await made.found("secret", 5)
        await made.archive.store(Transfer(purges=[Announcement("event:1", 2, 0, "", [])]))
        assert set(await made.found("secret", 2)) == {"2"}
        await made.archived("event:1", "anew", epoch=2)
        assert len(await made.found("anew", 2)) == 2


async def test_an_archive_that_is_replaced_leaves_nothing_of_the_old_one_in_searches(monkeypatch):
    monkeypatch.setattr(search_cluster, "LOOK_INTERVAL_S", 0.2)
    async with cluster() as made:
        await made.archived("event:1", "secret one", epoch=5)
        await made.archived("event:2", "secret two", epoch=5)
        await made.found("secret", 4)
        async with stores(fresh("any").with_(postgres={"dsn": made.dsn})) as found:
            await clear(found, replace=True)
        await made.archived("event:1", "brought", epoch=1)  # as it is imported, in an older epoch
        await until(index_of(made.rest, made.alias, 2).is_there)
        assert await made.found("brought", 2)
        assert await made.found("secret", 0) == []
        [one] = await generations(made.archive)
        assert (one, await index_of(made.rest, made.alias, 1).is_there()) == (
            Generation(2, FORMAT_VERSION, True),
            False,
        )


@pytest.mark.parametrize("failing", [0, 1])
async def test_an_archive_that_is_replaced_leaves_nothing_though_the_server_fails_meanwhile(
    failing: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_cluster, "LOOK_INTERVAL_S", 0.2)
    monkeypatch.setattr(search_cluster, "RETRY_S", 0.2)
    ask, asked = HttpRest.ask, count()

    async def failing_once(rest: HttpRest, method: str, path: str, *rest_of_it: Any) -> Answer:
        if (method in ("PUT", "DELETE") or path == "/_aliases") and next(asked) == failing:
            raise LogUnavailable("the server is busy", "none")
        return await ask(rest, method, path, *rest_of_it)

    async with cluster() as made:
        await made.archived("event:1", "secret", epoch=5)
        await made.found("secret", 2)
        monkeypatch.setattr(HttpRest, "ask", failing_once)
        async with stores(fresh("any").with_(postgres={"dsn": made.dsn})) as found:
            await clear(found, replace=True)
        await made.archived("event:1", "brought", epoch=1)
        await until(index_of(made.rest, made.alias, 2).is_there)
        assert await made.found("brought", 2)
        assert await made.found("secret", 0) == []
        assert next(asked) > failing
        assert not await index_of(made.rest, made.alias, 1).is_there()


async def test_another_index_leaves_nothing_of_an_archive_that_was_replaced_before(monkeypatch):
    monkeypatch.setattr(search_cluster, "LOOK_INTERVAL_S", 3600)  # as no node serves
    async with cluster() as made:
        await made.archived("event:1", "secret", epoch=5)
        await made.found("secret", 2)
        async with stores(fresh("any").with_(postgres={"dsn": made.dsn})) as found:
            await clear(found, replace=True)
        await reindexed(made.archive, made.rest, made.alias)
        for number in (1, 2):
            assert not await index_of(made.rest, made.alias, number).is_there()


async def test_a_server_that_was_away_misses_nothing_and_has_nothing_twice(tmp_path: Path):
    server = SearchServer(tmp_path)
    server.start()
    try:
        async with cluster(server.url) as made:
            await made.archived("event:1", "before")
            await made.found("before", 2)
            server.pause()  # it takes connections and says nothing
            await made.archived("event:2", "meanwhile", "meanwhile")
            await until(partial(failures, made, 1))
            server.resume()
            assert len(await made.found("meanwhile", 3)) == 3
            assert len(await made.found("before", 2)) == 2
    finally:
        server.stop(signal.SIGKILL)


async def test_an_index_that_the_server_lost_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_cluster, "LOOK_INTERVAL_S", 0.2)
    server = SearchServer(tmp_path)
    server.start()
    try:
        async with cluster(server.url, workers=2) as made:
            for number in range(20):
                await made.archived(f"event:{number}", "first lunch", "second lunch")
            await made.archive.store(Transfer(purges=[Announcement("event:0", 2, 0, "", [])]))
            await made.found("lunch", 57)
            server.stop(signal.SIGKILL)  # it has nothing on a disk
            await made.archived("event:1", "third lunch", after=2)
            server.start()
            await until(partial(answers, made, 58))
            assert sorted({*await made.found("third", 2)}) == ["1"]
            mapping = await made.rest.ask("GET", f"/{made.alias}-1/_mapping")
            assert "strict" in str(mapping.body)
    finally:
        server.stop(signal.SIGKILL)


async def test_how_far_an_index_is_behind_grows_while_its_server_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_cluster, "LOOK_INTERVAL_S", 0.2)
    monkeypatch.setattr(search_cluster, "RETRY_S", 0.2)
    server = SearchServer(tmp_path)
    server.start()
    try:
        async with cluster(server.url) as made:
            await made.archived("event:1", "before")
            await made.found("before", 2)
            server.stop(signal.SIGKILL)
            await made.archived("event:2", "meanwhile")
            await until(partial(lags, made, 2.0))
            assert made.indexing.trouble
            server.start()
            await until(partial(keeps_up, made))
            await made.found("meanwhile", 2)
    finally:
        server.stop(signal.SIGKILL)


async def lags(made: Cluster, seconds: float) -> bool:
    return made.indexing.lag_s > seconds


async def keeps_up(made: Cluster) -> bool:
    return not made.indexing.lag_s and not made.indexing.trouble


async def test_another_index_takes_its_place_though_there_is_always_something_that_it_lacks():
    async with cluster() as made:
        for number in range(4):
            await made.archived(f"event:{number}", "lunch")
        async with unawaited() as nursery:

            async def write(name: str) -> None:
                for version in count(1):
                    await made.archived(name, "dinner", after=version)

            for number in range(4):
                nursery.start_soon(write, f"event:{number}")
            with trio.fail_after(PATIENCE_S):
                await reindexed(made.archive, made.rest, made.alias)
        assert await generations(made.archive) == [Generation(2, FORMAT_VERSION, True)]
        assert len(await made.found("lunch", 4)) == 4


@pytest.mark.usefixtures("looks_once")
async def test_nothing_is_written_to_an_index_that_is_gone():
    """A server would make another one, whose texts nobody finds."""
    async with cluster() as made:
        await made.archived("event:1", "lunch")
        await made.found("lunch", 2)
        await unfed(made)
        gone = index_of(made.rest, made.alias, 99)
        with pytest.raises(LogUnavailable):
            await gone.store([IndexEntry("change", "event", "1", 1, 1, "ann", 1, "lunch")])
        with pytest.raises(LogUnavailable):
            await gone.erase([Erasure("event:1", 2)])
        assert not await gone.is_there()


async def test_another_index_is_made_beside_and_takes_its_place():
    async with cluster() as made:
        await made.archived("event:1", "lunch")
        await made.found("lunch", 2)
        assert await generations(made.archive) == [Generation(1, FORMAT_VERSION, True)]
        await reindexed(made.archive, made.rest, made.alias)
        assert await generations(made.archive) == [Generation(2, FORMAT_VERSION, True)]
        assert len(await made.found("lunch", 2)) == 2
        gone = await made.rest.ask("HEAD", f"/{made.alias}-1")
        assert gone.status == 404
        await made.archived("event:2", "dinner")
        await made.found("dinner", 2)


@pytest.mark.usefixtures("looks_once")
async def test_what_a_crashed_worker_took_on_is_taken_on_by_another_when_its_claim_ends():
    async with cluster() as made:
        crashed = SearchQueue(made.archive, 1)
        await unfed(made)  # nobody else is at it
        await made.archived("event:1", "lunch")
        assert len((await crashed.take(100)).changes) == 1
        assert (await SearchQueue(made.archive, 1).take(100)).changes == []
        await made.archive.run(
            lambda connection: (
                connection.execute(
                    b"UPDATE gateway.search_due SET claimed_until = clock_timestamp()"
                ).rowcount
            ),
            "none",
        )
        assert len((await SearchQueue(made.archive, 1).take(100)).changes) == 1


async def test_whatever_a_server_does_nothing_is_lost_and_nothing_is_there_twice():
    with Faults(shared_search_server().url) as faults:
        async with cluster(faults.url) as made:
            for number, mode in enumerate((*MODES, *MODES)):
                faults.mode = mode
                failed = made.indexing.failures
                await made.archived(f"event:{number}", f"lunch {mode}", f"lunch again {mode}")
                await until(partial(failures, made, failed + 1))
            faults.mode = ""
            total = 2 * len(MODES)
            assert len(await made.found("lunch", 3 * total)) == 3 * total
            assert sorted({*await made.found("again", 2 * total)}) == sorted(map(str, range(total)))


@pytest.mark.usefixtures("looks_once")
async def test_edits_are_none_the_slower_for_it():
    """The archive takes changes whatever the search server does: it isn't asked."""
    with Faults(shared_search_server().url) as faults:
        async with cluster(faults.url) as made:
            await unfed(made)
            asked = faults.asked
            await made.archived("event:1", "lunch")
            assert faults.asked == asked
