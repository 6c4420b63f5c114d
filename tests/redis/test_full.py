"""Redis at its `maxmemory` under load: refused, told with the reason, and mended without a hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import redis
import trio

from tests.cli.commands import Server, gateway, served
from tests.scraped import until_scraped
from tests.servers import PostgresServer, RedisServer, postgres_server, redis_server
from tests.supervisor.node import metrics
from tests.waiting import PATIENCE_S, until

LIMIT_BYTES = 10 << 20
TEXT = "x" * 40_000
SETTINGS = (
    "limits.operations_per_minute=0",
    "limits.user_cpu_share=1",
    "redis.history_versions=8",
    "log.snapshot_versions=4",
    "redis.archive_lease_s=1",
    "timeouts.room_idle_s=1",  # what nobody has open may leave Redis
)


@asynccontextmanager
async def node(data: Path, server: RedisServer, postgres: str) -> AsyncIterator[Server]:
    assert (await gateway("migrate", "--postgres", postgres)).status == 0
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    async with served(data, "--redis", server.url, "--postgres", postgres, *words) as serving:
        yield serving


class Author:
    """Writes over HTTP, and remembers what was acknowledged and what refused."""

    def __init__(self, gate: Server, client: httpx.AsyncClient, bearer: str) -> None:
        self.acknowledged: dict[str, int] = {}
        self.refusal: dict[str, Any] = {}
        self._client = client
        self._headers = {"Authorization": f"Bearer {bearer}"}
        self._base = f"{gate.http}/v1/resources/event"

    async def write(self, name: str) -> bool:
        """Whether it was acknowledged."""
        number = self.acknowledged.get(name, 0) + 1
        document = {"title": f"edit {number}", "description": TEXT}
        answer = await self._client.put(
            f"{self._base}/{name}", json=document, headers=self._headers, timeout=30
        )
        if answer.is_success:
            self.acknowledged[name] = answer.json()["version"]
        else:
            self.refusal = answer.json()
        return answer.is_success

    async def until_refused(self, name: str) -> None:
        with trio.fail_after(PATIENCE_S):
            while await self.write(name):
                pass

    async def until_acknowledged(self, name: str) -> None:
        await until(partial(self.write, name), "it is written", every_s=0.2)

    async def keep_trying(self, name: str, enough: trio.Event) -> None:
        while not enough.is_set():
            await self.write(name)
            await trio.sleep(0.2)

    async def read(self, name: str) -> httpx.Response:
        return await self._client.get(f"{self._base}/{name}", headers=self._headers, timeout=30)

    async def until_read(self, name: str) -> int:
        """The version that is there; a full server takes nothing back before it has let something go."""

        async def taken_back() -> int:
            answer = await self.read(name)
            told = answer.json()
            assert answer.is_success or told["code"] == "UNAVAILABLE", answer.text
            return int(told["version"]) if answer.is_success else 0

        return await until(taken_back, f"{name} is read", every_s=0.2)


def limits(server: RedisServer) -> redis.Redis:
    return redis.Redis("127.0.0.1", server.port)


@asynccontextmanager
async def full(
    data: Path, postgres: PostgresServer, dsn: str
) -> AsyncIterator[tuple[Server, Author, RedisServer]]:
    settings = ("--maxmemory", str(LIMIT_BYTES), "--maxmemory-policy", "noeviction")
    with redis_server(*settings) as server:
        async with node(data, server, dsn) as gate, httpx.AsyncClient(timeout=PATIENCE_S) as client:
            author = Author(gate, client, gate.token())
            yield gate, author, server


async def test_a_redis_that_ran_full_without_its_archive_is_well_again_with_it(
    tmp_path: Path,
) -> None:
    with postgres_server("fsync=off") as postgres, postgres.database() as dsn:
        async with (
            full(tmp_path, postgres, dsn) as (gate, author, _),
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
        ):
            for name in ("1", "2", "3"):
                assert await author.write(name)
            postgres.kill()
            await author.until_refused("1")
            assert author.refusal["code"] == "UNAVAILABLE"
            assert "the server's own log says why" in author.refusal["detail"]
            await gate.command.log.told("a call of the log failed: Redis is full")
            assert (await author.read("1")).json()["version"] == author.acknowledged["1"], "reading goes on"
            enough = trio.Event()
            async with trio.open_nursery() as trying:
                trying.start_soon(author.keep_trying, "2", enough)
                await said_full(client, gate)
                await until_scraped(gate.admin, "gateway_archive_lag_seconds", lambda now_s: now_s > 0)
                before = await metrics(gate)
                assert before["gateway_log_unwritable"] == 1
                lag_s = before["gateway_archive_lag_seconds"]
                await until_scraped(gate.admin, "gateway_archive_lag_seconds", lambda now_s: now_s > lag_s)
                enough.set()
            postgres.start()
            for name in ("1", "2", "3"):
                await author.until_acknowledged(name)

            async def ready() -> bool:
                return (await readiness(client, gate))["status"] == "ready"

            await until(ready, "the node is ready", every_s=0.2)
            for name, version in author.acknowledged.items():
                found = (await author.read(name)).json()
                assert found["version"] == version
                assert found["document"]["title"]


async def test_a_redis_full_of_what_is_archived_lets_the_oldest_go(tmp_path: Path) -> None:
    with postgres_server("fsync=off") as postgres, postgres.database() as dsn:
        async with full(tmp_path, postgres, dsn) as (_, author, server):
            with limits(server) as direct:
                for number in range(3 * LIMIT_BYTES // (3 * len(TEXT))):
                    await author.until_acknowledged(f"r{number}")
                assert direct.info("memory")["used_memory"] <= LIMIT_BYTES * 1.05
            for name, version in list(author.acknowledged.items())[::20]:
                assert await author.until_read(name) == version, name


async def readiness(client: httpx.AsyncClient, gate: Server) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{gate.admin}/readyz")).json()
    return found


async def said_full(client: httpx.AsyncClient, gate: Server) -> None:
    """Wait until the node's health names the full server."""

    async def said() -> bool:
        found = await readiness(client, gate)
        return found["status"] == "degraded" and any("is full" in text for text in found["problems"])

    await until(said, "the node says that a server is full", every_s=0.1)
