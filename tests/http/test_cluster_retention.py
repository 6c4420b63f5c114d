"""Old history goes from a cluster: from Redis, PostgreSQL and the index of searches, by one of its nodes."""

from __future__ import annotations

import time
from collections import Counter
from secrets import token_hex
from typing import Any

import pytest
import trio

from gateway.config import Config
from gateway.errors import ConfigError, LogUnavailable
from gateway.hub import retention
from gateway.hub.names import NamedVersion, NamedVersions
from gateway.hub.retention import Policy
from gateway.log.archive import Archiver, SavedSnapshot, Transfer
from gateway.log.backup_file import BackupReader
from gateway.log.cluster.backup import backup, fill, stores
from gateway.log.postgres import retention as postgres_retention
from gateway.log.postgres.archive import PostgresArchive, connect, migrate
from gateway.log.sqlite import backup as sqlite_backup
from gateway.ports import Record, Snapshot
from gateway.ports.retention import Excess, RetentionRule
from gateway.wire.announcement import Announcement
from tests.http.cluster import Where, servers
from tests.http.node import Served, served
from tests.http.retained import (
    EVENT,
    gone,
    gone_with_its_last_name,
    known_again,
    looking,
    named_are_stored_once,
    named_while_history_goes,
    submitted,
    taken_unseen,
    written,
)
from tests.http.searching import until_found
from tests.search.server import shared_search_server
from tests.servers import redis_server, shared_postgres
from tests.waiting import PATIENCE_S, unawaited, until

KEPT = {"changes": {"event": "4"}}
LIMITS = {"reads_per_minute": 0, "user_cpu_share": 1}


async def test_one_node_takes_old_changes_away_for_all_and_named_versions_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0.1)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.2)
    with servers(limits=LIMITS) as where:
        where["search"] = {"url": shared_search_server().url, "index": "retained"}
        async with served(tmp_path / "one", "portable", **where) as one:
            await written(one, EVENT, 10)
            await one.client.put(f"{EVENT}/versions/Draft", json={"version": 3})
            assert len(await until_found(one, 10, q="title", kind="change")) == 10
        where["retention"] = KEPT
        async with (
            served(tmp_path / "two", "portable", **where) as two,
            served(tmp_path / "three", "portable", **where) as three,
        ):
            await gone(two, EVENT, 6)
            for node in (two, three):
                for version in range(6, 11):
                    old = (await node.client.get(EVENT, params={"version": version})).json()
                    assert old["document"] == {"title": f"title {version}"}, old
                named = (await node.client.get(EVENT, params={"named": "Draft"})).json()
                assert named["document"] == {"title": "title 3"}
                for params in ({"version": 5}, {"at": 1000}):
                    told = await node.client.get(EVENT, params=params)
                    assert told.json()["code"] == "VERSION_TOO_OLD", told.text
                too_old = await node.client.get(f"{EVENT}/history", params={"from": 2})
                assert (too_old.status_code, too_old.json()["code"]) == (410, "VERSION_TOO_OLD")
                edit = {"client_id": "c", "version": 2, "operations": [{"op": "remove", "path": "/title"}]}
                refused = await node.client.post(f"{EVENT}/operations", json=edit)
                assert refused.json()["code"] == "VERSION_TOO_OLD"
            found = await until_found(two, 4, q="title", kind="change", type="event")
            assert [item["version"] for item in found] == [10, 9, 8, 7]
            # It goes on, and what follows is found.
            await written(three, EVENT, 1, after=10)
            await gone(two, EVENT, 7)
            found = await until_found(two, 4, q="title", kind="change", type="event")
            assert [item["version"] for item in found] == [11, 10, 9, 8]


@pytest.mark.parametrize("stored", [False, True])
async def test_what_broke_off_before_or_after_the_archive_is_done_by_the_next_look(
    tmp_path, monkeypatch, stored
):
    """Redis has let go when the archive's answer is lost, before it did anything or after."""
    monkeypatch.setattr(retention, "FIRST_S", 0.1)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.2)
    broke, retain = trio.Event(), postgres_retention.retain

    async def breaking(*given: Any) -> int:
        if not broke.is_set():
            if stored:
                await retain(*given)
            broke.set()
            raise LogUnavailable("it went away", "unknown")
        return await retain(*given)

    with servers(limits=LIMITS) as where:
        async with served(tmp_path / "one", "portable", **where) as one:
            await written(one, EVENT, 10)
        monkeypatch.setattr(postgres_retention, "retain", breaking)
        async with served(tmp_path / "two", "portable", **where, retention=KEPT) as two:
            with trio.fail_after(PATIENCE_S):
                await broke.wait()
            for version in range(1, 11):
                answer = (await two.client.get(EVENT, params={"version": version})).json()
                if "document" in answer or version >= 6:
                    assert answer["document"] == {"title": f"title {version}"}, answer
                else:
                    assert answer["code"] == "VERSION_TOO_OLD", answer
            await gone(two, EVENT, 6)
            assert (await two.client.put(EVENT, json={"title": "on"})).json()["version"] == 11


STORIES = [named_while_history_goes, gone_with_its_last_name, named_are_stored_once]


@pytest.mark.parametrize("story", STORIES)
async def test_a_version_of_a_cluster_stays_for_its_names(tmp_path, story):
    with servers(limits=LIMITS) as where:
        async with served(tmp_path, "portable", **where) as node:
            await written(node, EVENT, 10)
            await archived(where, 10)
            await story(node, Policy({}, {"event": "4"}, ["event"]))


async def test_a_name_of_a_version_that_the_archive_has_not_got_yet(tmp_path, monkeypatch):
    """It isn't taken for the archive's head. If it comes there and goes while it gets its name, it stays."""
    step, give = Archiver.step, NamedVersions.give

    async def held_up(archiver: Archiver) -> int:
        return 0

    with servers(limits=LIMITS) as where:
        async with served(tmp_path, "portable", **where) as node:
            await written(node, EVENT, 5)
            await archived(where, 5)
            monkeypatch.setattr(Archiver, "step", held_up)
            await written(node, EVENT, 5, after=5)
            assert (await node.client.put(f"{EVENT}/versions/Soon", json={"version": 8})).is_success
            archive = PostgresArchive(where["postgres"]["dsn"])
            opening = await archive.open("event:42")
            await archive.aclose()
            assert opening is not None
            assert [opening.snapshot.version, *(one.version for one in opening.records)][-1] == 5
            look = looking(node, Policy({}, {"event": "1"}, ["event"]), node.node.hub.wall_ms)

            async def archived_and_gone(names: NamedVersions, *arguments: Any) -> NamedVersion:
                monkeypatch.setattr(Archiver, "step", step)
                await archived(where, 10)
                await look.look()
                return await give(names, *arguments)

            monkeypatch.setattr(NamedVersions, "give", archived_and_gone)
            assert (await node.client.put(f"{EVENT}/versions/Late", json={"version": 7})).is_success
            assert look.changes == 9
            for name, version in (("Soon", 8), ("Late", 7)):
                found = (await node.client.get(EVENT, params={"named": name})).json()
                assert found["document"] == {"title": f"title {version}"}, found


async def archived(where: Where, version: int) -> None:
    """Until the archive has it."""
    archive = PostgresArchive(where["postgres"]["dsn"])

    async def is_there() -> bool:
        return (await archive.heads(["event:42"])).get("event:42", (0, 0))[1] >= version

    await until(is_there, f"version {version} is archived")
    await archive.aclose()


async def test_who_reads_while_history_goes_gets_the_document_or_is_told(tmp_path, monkeypatch):
    """Old versions and times, on the node that takes history away and on another one."""
    monkeypatch.setattr(retention, "FIRST_S", 0.0)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.02)
    with servers(limits=LIMITS, log={"snapshot_versions": 4}, retention=KEPT) as where:
        answers: Counter[str] = Counter()

        async def read(node: Served, step: int) -> None:
            version, begun_ms = 1, node.node.hub.wall_ms()
            while True:
                at_ms = max(begun_ms, node.node.hub.wall_ms() - 20 * version)
                for params in ({"version": version}, {"at": at_ms}):
                    answer = (await node.client.get(EVENT, params=params)).json()
                    if "document" in answer:
                        assert answer["document"] == {"title": f"title {answer['version']}"}, answer
                        assert answer["version"] == params.get("version", answer["version"])
                    else:
                        # "It wasn't written yet" would be wrong: it was.
                        assert answer.get("code") in ("VERSION_TOO_OLD", "VERSION_AHEAD"), answer
                    answers[answer.get("code", "document")] += 1
                version = version % 60 + step

        async with (
            served(tmp_path / "one", "portable", **where) as one,
            served(tmp_path / "two", "portable", **where) as two,
        ):
            await written(one, EVENT, 1)
            async with unawaited() as nursery:
                nursery.start_soon(read, one, 1)
                nursery.start_soon(read, two, 3)
                await written(two, EVENT, 59, after=1)
                await gone(two, EVENT, 56)
                await until(lambda: answers["VERSION_TOO_OLD"], "a version that went is asked for")
        assert answers["document"] > 0


async def test_a_submission_is_known_though_its_change_went_and_redis_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0.1)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.2)
    with servers(limits=LIMITS) as where, redis_server() as another:
        async with served(tmp_path / "one", "portable", **where) as one:
            await taken_unseen(one)
            await written(one, EVENT, 10)
        where["retention"] = {"changes": {"event": "1"}}
        async with served(tmp_path / "two", "portable", **where) as two:
            await gone(two, EVENT, 11)
        where["redis"] = {"urls": [another.url]}
        async with served(tmp_path / "three", "portable", **where) as three:
            await known_again(three)


async def test_a_backup_has_named_versions_and_submissions_whose_changes_went(tmp_path, monkeypatch):
    """Of a cluster, restored in a lone gateway, in a cluster, and in one of Redis alone."""
    monkeypatch.setattr(retention, "FIRST_S", 0.1)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.2)
    file = tmp_path / "backup.sqlite3"
    with servers(limits=LIMITS) as where, servers() as other, redis_server() as alone:
        async with served(tmp_path / "one", "portable", **where) as one:
            await taken_unseen(one)
            await written(one, EVENT, 1)
            await one.client.put(f"{EVENT}/versions/Draft", json={"version": 1})
        where["retention"] = {"changes": {"event": "1"}}
        async with served(tmp_path / "two", "portable", **where) as two:
            await gone(two, EVENT, 2)
        async with stores(Config().with_(**where)) as found:
            await backup(found, file)
        sqlite_backup.restore(file, tmp_path / "lone", False)
        async with served(tmp_path / "lone", "portable") as lone:
            await known_again(lone)
            await named_again(lone)
        for into in (other, {"redis": {"urls": [alone.url]}}):
            async with stores(Config().with_(**into)) as found:
                with BackupReader(file) as reader:
                    await fill(found, reader)
            async with served(tmp_path / "again", "portable", **into) as again:
                await known_again(again)
                if "postgres" in into:
                    await named_again(again)


async def named_again(node: Served) -> None:
    """The version that has a name can be read, though its change had gone."""
    named = (await node.client.get(EVENT, params={"named": "Draft"})).json()
    assert named.get("document") == {"title": "title 1"}, named


async def test_the_archive_knows_submissions_whose_changes_went():
    """As many of a client as are known otherwise, for as long; of none after a purge or in a lost epoch."""
    name = "event:1"
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        made = [submitted(1, "other"), *map(submitted, range(2, 41))]
        await archive.store(Transfer(changes=[Announcement(name, 1, 0, "n", made)]))

        async def known(since_ms: int = 0, after: int = 0) -> list[int]:
            found = await archive.submissions(name, after, since_ms, 1000)
            assert all(one.digest == f"digest {one.seq}" for one in found)
            assert all(one.timestamp == 100 * one.version == 100 * one.seq for one in found)
            return [one.version for one in found]

        assert await known() == [*range(1, 41)]
        assert await known(after=38) == [39, 40]
        assert await postgres_retention.retain(archive, Excess(name, 1, 30), b"{}", [], 0) == 30
        assert await known() == [1, *range(15, 41)]
        assert await postgres_retention.retain(archive, Excess(name, 1, 39), b"{}", [], 3600) == 9
        assert await known() == [1, *range(19, 31), *range(36, 41)]
        assert [one.version for one in await archive.submissions(name, 0, 0, 3)] == [38, 39, 40]
        assert await known(3800) == [38, 39, 40]
        await postgres_retention.forget(archive, 2900)
        assert await known() == [29, 30, *range(36, 41)]
        await archive.store(Transfer(epochs=[Announcement(name, 2, 37, "", ())]))
        assert await known() == [29, 30, 36, 37]
        await archive.store(Transfer(purges=[Announcement(name, 3, 0, "", ())]))
        assert await known() == []
        await archive.aclose()


async def test_the_archive_tells_what_is_in_excess_and_takes_it_away(monkeypatch):
    monkeypatch.setattr(postgres_retention, "RESOURCES_A_LOOK", 2)
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        body = b'{"version":%d,"operations":[]}'
        names = ("event:1", "event:2", "event:3", "events:1")
        for name in names:
            records = [Record(v, body % v, "ann", "c", None, "", v * 100, None) for v in range(1, 11)]
            await archive.store(Transfer(changes=[Announcement(name, 1, 0, name, records)]))

        async def excess(since_ms: int | None, changes: int | None, after: str = "") -> list[Excess]:
            rule = RetentionRule("event", since_ms, changes)
            return list(await postgres_retention.excess_of(archive, rule, after, 10))

        three = [name for name in names if name != "events:1"]
        assert await excess(500, None) == [Excess(name, 1, 4) for name in three]
        assert await excess(None, 3) == [Excess(name, 1, 7) for name in three]
        assert await excess(500, 3) == [Excess(name, 1, 7) for name in three]
        assert await excess(10_000, None) == [Excess(name, 1, 9) for name in three]  # the newest stays
        assert await excess(100, 10) == []
        assert await excess(500, None, "event:1") == [Excess(name, 1, 4) for name in three[1:]]
        # Of another epoch nothing goes, and the newest change never does.
        at = [Snapshot(2, b"2"), Snapshot(3, b"3")]
        await archive.store(Transfer(snapshots=[SavedSnapshot("event:1", 1, one) for one in at]))
        assert await postgres_retention.stored(archive, "event:1", [2, 4]) == {2: False}
        assert await postgres_retention.retain(archive, Excess("event:1", 2, 4), b"4", [2], 0) == 0
        assert await postgres_retention.retain(archive, Excess("event:1", 1, 10), b"10", [2], 0) == 0
        assert [await archive.snapshot("event:1", version) for version in (2, 4)] == at
        assert await postgres_retention.retain(archive, Excess("event:1", 1, 4), b"4", [2], 0) == 4
        assert await excess(500, None) == [Excess(name, 1, 4) for name in three[1:]]
        kept = [at[0], Snapshot(4, b"4")]
        assert [await archive.snapshot("event:1", version) for version in (3, 4)] == kept
        assert await postgres_retention.stored(archive, "event:1", [2, 3, 4]) == {2: True, 4: True}
        assert [record.version for record in await archive.read("event:1", 4, 2)] == [5, 6]
        opening = await archive.open("event:1")
        assert opening is not None
        assert (opening.snapshot.version, len(opening.records)) == (4, 6)
        await archive.aclose()


async def test_of_all_workers_one_looks_and_the_next_one_later():
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        turns = []

        async def take() -> None:
            turns.append(await postgres_retention.turn(archive, 3600))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(take)
        assert sorted(turns) == [False, False, False, True]
        for until in ("now()", "now() + interval '2 hours'"):  # and where the server's clock went back
            taken = f"UPDATE gateway.retention SET taken_until = {until}".encode()
            await archive.run(lambda one, taken=taken: one.execute(taken).rowcount, "none")
            assert await postgres_retention.turn(archive, 3600)
            assert not await postgres_retention.turn(archive, 3600)
        await archive.aclose()


async def test_who_waited_for_anothers_turn_to_be_written_has_none():
    """Its own was computed before: the other's seems to last for longer than any turn does."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with shared_postgres().database() as dsn:
        migrate(dsn)
        archive = PostgresArchive(dsn)
        assert await postgres_retention.turn(archive, 0)
        turns: list[bool] = []

        async def take() -> None:
            turns.append(await postgres_retention.turn(archive, 3600))

        with connect(dsn) as watcher, connect(dsn) as other:
            async with trio.open_nursery() as nursery:
                with other.transaction():
                    other.execute("SELECT 1 FROM gateway.retention FOR UPDATE")
                    nursery.start_soon(take)
                    await until(lambda: watcher.execute(waiting).fetchone(), "it waits")
                    taken = "UPDATE gateway.retention SET taken_until = clock_timestamp() + interval '1 hour'"
                    other.execute(taken)
        assert turns == [False]
        await archive.aclose()


async def test_without_an_archive_retention_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="add --postgres"):
        async with served(tmp_path, "portable", redis={"urls": ["redis://127.0.0.1:1"]}, retention=KEPT):
            pass


@pytest.mark.parametrize("failures", [retention.FAILURES_MAX, 1])
async def test_resources_that_fail_keep_nobody_elses_history(tmp_path, monkeypatch, caplog, failures):
    """Those come first by name. Each is told once; where they are many, a later look comes behind them."""
    monkeypatch.setattr(retention, "FIRST_S", 0.1)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.2)
    monkeypatch.setattr(retention, "FAILURES_MAX", failures)
    odd = [f"event:0-odd-{number}" for number in range(2)]
    body = b'{"version":%d,"op_id":"o%d","operations":[{"op":"add","path":"","value":%d}]}'
    now_ms = int(time.time() * 1000)
    with servers(limits=LIMITS) as where:
        archive = PostgresArchive(where["postgres"]["dsn"])
        for name in odd:  # of a client whose id no index takes
            records = [
                Record(v, body % (v, v, v), "ann", token_hex(4096), v, "d", now_ms, None)
                for v in range(1, 11)
            ]
            await archive.store(Transfer(changes=[Announcement(name, 1, 0, name, records)]))
        await archive.aclose()
        async with served(tmp_path, "portable", **where, retention=KEPT) as node:
            await written(node, EVENT, 10)
            await gone(node, EVENT, 6)
            await written(node, EVENT, 1, after=10)
            await gone(node, EVENT, 7)  # having looked again
    told = [record.getMessage() for record in caplog.records if "stays a while" in record.getMessage()]
    assert sorted(text.split()[3] for text in told) == odd
