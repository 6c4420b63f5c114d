"""Lists over HTTP in a cluster: what any worker wrote is on all of them, whatever became of that worker."""

from __future__ import annotations

import signal
from functools import partial

import httpx
import psycopg

from tests.cli.commands import gateway, served
from tests.http.cluster import nodes, servers
from tests.http.listing import july, listed
from tests.http.node import served as node_served
from tests.servers import redis_server, shared_postgres
from tests.waiting import PATIENCE_S, until, until_equal

LIST = "/v1/resources/event"
MONTH = {"calendar_id": "7", "from": "2030-07-01T00:00:00Z", "to": "2030-08-01T00:00:00Z"}
# What a killed worker asked PostgreSQL for isn't done after it either.
END_OTHERS = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_what_one_node_writes_the_other_lists(tmp_path):
    with servers() as where:
        async with nodes(tmp_path, where) as (one, two):
            for day in (3, 1, 2):
                await one.client.put(f"{LIST}/{day}", json=july(day))
            assert await listed(one, **MONTH) == ["1", "2", "3"]  # what it wrote itself, at once
            assert await listed(one, **MONTH, limit=2) == ["1", "2", "3"]
            assert await listed(two, **MONTH) == ["1", "2", "3"]  # the other's list had it stored
            await one.client.delete(f"{LIST}/2")
            await until_equal(partial(listed, two, **MONTH), ["1", "3"], every_s=0.05)
            assert await listed(two, headers=two.bearer(calendar="admin")) == []


async def test_what_a_killed_worker_left_out_is_listed_by_the_next(tmp_path):
    with redis_server() as server, shared_postgres().database() as dsn:
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        words = ("--redis", server.url, "--postgres", dsn, "--set", "limits.operations_per_minute=0")
        async with served(tmp_path, *words) as gate:
            headers = gate.bearer(grant="*=admin")
            async with httpx.AsyncClient(base_url=gate.http, headers=headers, timeout=PATIENCE_S) as client:
                with psycopg.connect(dsn) as direct:
                    direct.execute("LOCK TABLE gateway.summary IN SHARE MODE")  # nobody can write to it
                    for day in range(1, 21):
                        assert (await client.put(f"{LIST}/{day}", json=july(day))).status_code == 201
                    await gate.stop(signal.SIGKILL)
                    direct.execute(END_OTHERS)
                    assert direct.execute("SELECT count(*) FROM gateway.summary").fetchone() == (0,)
        async with (
            served(tmp_path, *words) as gate,
            httpx.AsyncClient(base_url=gate.http, headers=headers, timeout=PATIENCE_S) as client,
        ):

            async def all_of_them() -> bool:
                found = await client.get(LIST, params=MONTH)
                return len(found.json().get("items", ())) >= 20

            await until(all_of_them, "all twenty are listed", every_s=0.2)


async def test_a_cluster_without_an_archive_says_what_lists_need(tmp_path):
    with redis_server() as server:
        async with node_served(tmp_path, "fast", redis={"urls": [server.url]}) as node:
            answer = await node.client.get(LIST)
            assert answer.status_code == 503
            assert "--postgres" in answer.json()["detail"]
