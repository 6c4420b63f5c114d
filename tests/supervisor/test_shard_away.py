"""One of several Redis servers is away: the others' resources go on, and an operator is told which it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from gateway.config import RedisSettings
from gateway.redislink.keys import partition_of
from tests.cli.commands import Server, http_of, served
from tests.scraped import until_scraped
from tests.servers import redis_server
from tests.supervisor.node import WORKERS
from tests.waiting import PATIENCE_S, until, until_equal

QUICK = ("--set", "redis.command_timeout_s=3", "--set", "redis.connect_timeout_s=3")


def at(server: int) -> str:
    """An id of a resource of one of two servers, to which partitions are dealt out in turn."""
    partitions = RedisSettings().partitions
    return next(str(n) for n in range(99) if partition_of(f"event:{n}", partitions) % 2 == server)


async def taken(client: httpx.AsyncClient, node: Server, headers: Mapping[str, str], name: str) -> bool:
    """Whether an edit is taken; else it's refused as UNAVAILABLE."""
    place = f"{http_of(node.url)}/v1/resources/event/{name}"
    answer = await client.put(place, json={"title": "edited"}, headers=headers)
    assert answer.is_success or answer.json()["code"] == "UNAVAILABLE", answer.text
    return answer.is_success


@pytest.mark.parametrize("away", ["stop", "pause"])
async def test_which_redis_server_is_away_is_told_and_the_others_serve(tmp_path: Path, away: str) -> None:
    with redis_server("--appendonly", "yes") as one, redis_server("--appendonly", "yes") as two:
        words = (*WORKERS, *QUICK, "--redis", f"{one.url},{two.url}", "--log-level", "warning")
        async with (
            served(tmp_path, *words) as node,
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
        ):
            headers = node.bearer()

            async def readiness() -> tuple[int, str, list[str]]:
                answer = await client.get(f"{node.admin}/readyz")
                said = answer.json()
                return answer.status_code, said["status"], said.get("problems", [])

            await until_equal(readiness, (200, "ready", []))
            name = f"127.0.0.1:{two.port}/0"
            getattr(two, away)()
            told = f"redis {name} is out of reach: edits of its resources are refused"
            await until_equal(readiness, (200, "degraded", [told]))
            await until_scraped(node.admin, "gateway_redis_unreachable", lambda count: count == 1)
            await node.command.log.told("WARNING", f"Redis {name} is out of reach: ")
            assert await taken(client, node, headers, at(0))
            assert not await taken(client, node, headers, at(1))
            (two.start if away == "stop" else two.resume)()
            await until_equal(readiness, (200, "ready", []))
            await node.command.log.told(f"Redis {name} is out of reach no longer")
            await until(lambda: taken(client, node, headers, at(1)), "its resources are edited again")
