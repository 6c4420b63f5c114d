"""A node of several workers with its archive: migrations, history, what is lost and comes back, shards."""

from __future__ import annotations

import operator
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg
import redis
import trio

from gateway.admission import create_secret
from tests.cli.commands import Server, gateway, served
from tests.clients.wire import wire
from tests.scraped import until_scraped
from tests.servers import postgres_server, redis_server, shared_postgres
from tests.supervisor.crowd import crowd
from tests.supervisor.node import WORKERS, metrics
from tests.waiting import PATIENCE_S, until


@asynccontextmanager
async def node(data: Path, redis_url: str, dsn: str, *words: str) -> AsyncIterator[Server]:
    assert (await gateway("migrate", "--postgres", dsn)).status == 0
    async with served(data, *WORKERS, "--redis", redis_url, "--postgres", dsn, *words) as server:
        yield server


def archived(dsn: str) -> int:
    """How many changes the archive has."""
    with psycopg.connect(dsn) as connection:
        [count] = connection.execute("SELECT count(*) FROM gateway.change").fetchone()
        return count


async def until_archived(dsn: str, changes: int) -> None:
    async def enough() -> bool:
        return await trio.to_thread.run_sync(archived, dsn) >= changes

    await until(enough, f"{changes} changes are archived", every_s=0.1)


async def test_migrate_makes_the_tables_once_and_says_so():
    with shared_postgres().database() as dsn:
        first, second = [await gateway("migrate", "--postgres", dsn) for _ in range(2)]
        assert first.status == second.status == 0
        assert "applied 0001" in first.out
        assert second.out == "the archive is up to date\n"
    missing = await gateway("migrate")
    assert missing.status == 2
    assert "--postgres" in missing.err
    gone = await gateway("migrate", "--postgres", dsn)
    assert gone.status == 2
    assert "Traceback" not in gone.err


async def test_an_archive_without_its_tables_is_one_line_with_the_way_out(tmp_path):
    with redis_server() as server, shared_postgres().database() as dsn:
        for workers in ("1", "2"):
            ports = ("--port", "0", "--admin-port", "0", "--workers", workers)
            words = ("serve", *ports, "--data", str(tmp_path), "--redis", server.url, "--postgres", dsn)
            done = await gateway(*words)
            assert done.status == 2
            assert "gateway migrate" in done.err.splitlines()[-1]
            assert "Traceback" not in done.err


async def test_what_a_crowd_writes_is_archived_and_outlives_a_flushed_redis(tmp_path):
    with redis_server() as server, shared_postgres().database() as dsn:
        async with node(tmp_path, server.url, dsn) as gate:
            bearer = gate.token()
            async with crowd(gate.url, bearer, documents=3) as people:
                await people.progress(50)
            written = (await metrics(gate))["gateway_operations_committed_total"]
            await until_archived(dsn, int(written))
            await until_scraped(gate.admin, "gateway_archive_changes_total", partial(operator.eq, written))
            await until_scraped(gate.admin, "gateway_archive_lag_seconds", operator.not_)
            tags = {author.editor.id: author.editor.view["tags"] for author in people.authors}
            assert await gate.stop() == 0
        with redis.Redis("127.0.0.1", server.port) as client:
            client.flushall()
        async with node(tmp_path, server.url, dsn) as gate, httpx.AsyncClient(timeout=PATIENCE_S) as client:
            for name, expected in tags.items():
                place = f"{gate.admin}/v1/resources/event/{name}"
                headers = {"Authorization": f"Bearer {bearer}"}
                read = (await client.get(place, headers=headers)).json()
                assert read["document"]["tags"] == expected
                assert read["epoch"] > 0


async def test_edits_go_on_while_the_archive_is_away_and_it_catches_up(tmp_path):
    with redis_server() as server, postgres_server() as postgres, postgres.database() as dsn:
        async with node(tmp_path, server.url, dsn) as gate:
            async with crowd(gate.url, gate.token(), documents=2) as people:
                postgres.kill()
                await people.progress(100)
                await people.everyone_moves_on()
                await until_scraped(gate.admin, "gateway_archive_failures_total")
                async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                    assert (await client.get(f"{gate.admin}/readyz")).status_code == 200
            counted = await metrics(gate)
            postgres.start()
            await until_archived(dsn, int(counted["gateway_operations_committed_total"]))


async def test_while_the_archive_is_away_what_redis_holds_is_served_and_the_rest_says_so(tmp_path):
    with redis_server() as server, postgres_server() as postgres, postgres.database() as dsn:
        async with node(tmp_path, server.url, dsn, "--set", "timeouts.room_idle_s=0.2") as gate:
            headers = gate.bearer()
            base = f"{gate.url.replace('ws://', 'http://').removesuffix('/realtime')}/v1/resources/event"
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE_S) as client:
                for title in ("one", "two"):
                    assert (await client.put("/1", json={"title": title})).is_success
                await until_scraped(gate.admin, "gateway_rooms", operator.not_)
                postgres.kill()
                found = await client.get("/1")
                assert found.is_success, found.text
                assert found.json()["document"] == {"title": "two"}
                assert (await client.get("/1", params={"version": 1})).json()["document"] == {"title": "one"}
                assert (await client.put("/1", json={"title": "three"})).json()["version"] == 3
                refused = await client.put("/another", json={"title": "nobody knows"})
                assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
                assert refused.json()["detail"].startswith(
                    "The archive cannot be reached; the server's own log"
                )
                await gate.command.log.told("a call of the log failed: the archive can't be reached")
                postgres.start()

                async def taken() -> bool:
                    return (await client.put("/another", json={"title": "new"})).is_success

                await until(taken, "the archive is back", every_s=0.2)


async def test_the_older_of_two_connections_gives_way_on_another_node(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    create_secret(one / "jwt-secret")
    other.mkdir()
    shutil.copy(one / "jwt-secret", other)
    with redis_server() as server:
        async with (
            served(one, "--node", "n1", "--redis", server.url) as first,
            served(other, "--node", "n2", "--redis", server.url) as second,
        ):
            bearer = first.token()
            async with wire(first.url, bearer) as old, wire(second.url, bearer) as new:
                nodes = [(await each.ask("AUTH", {"client_id": "tab"}))["node"] for each in (old, new)]
                assert nodes == ["n1", "n2"]
                assert await old.closed() == 4409
                assert await new.ask("PING") == {}


async def test_a_shard_is_added_under_a_working_crowd(tmp_path):
    with redis_server() as one, redis_server() as two:
        async with (
            served(tmp_path, *WORKERS, "--redis", one.url) as gate,
            crowd(gate.url, gate.token(), documents=6) as people,
        ):
            done = await gateway("rebalance", "--redis", one.url, "--redis", two.url)
            assert done.status == 0, done.err
            assert "128 partitions moved" in done.out
            await people.everyone_moves_on()
        with redis.Redis("127.0.0.1", two.port) as client:
            assert client.dbsize() > 3
