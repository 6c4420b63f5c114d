"""Nodes of one cluster whose token secrets differ, and those whose secret is being exchanged."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from gateway.admission import create_secret
from tests.cli.commands import Server, served
from tests.servers import redis_server
from tests.waiting import PATIENCE_S

NOT_OURS = "none of those that nodes of this cluster had"


def secret(path: Path) -> bytes:
    create_secret(path)
    return path.read_bytes()


async def ready(server: Server) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{server.admin}/readyz")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_a_node_with_another_secret_than_its_cluster_says_so_and_serves(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        one, other = [
            await stack.enter_async_context(
                served(tmp_path / name, "--node", name, "--workers", "2", "--redis", redis.url)
            )
            for name in ("n1", "n2")
        ]
        await other.command.log.told("WARNING", NOT_OURS)
        found = await ready(other)
        assert found["status"] == "degraded" and NOT_OURS in found["problems"][0]
        assert (await ready(one))["status"] == "ready"
        assert [await each.stop() for each in (one, other)] == [0, 0]
        said, others = [await each.command.errors() for each in (one, other)]
    assert others.count(NOT_OURS) == 1
    assert NOT_OURS not in said
    assert secret(tmp_path / "n1" / "jwt-secret").decode() not in said


async def test_a_node_that_starts_while_secrets_are_exchanged_is_one_of_the_cluster(tmp_path: Path) -> None:
    old, new = [secret(tmp_path / name) for name in ("old", "new")]
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        for name, present, previous in (("n1", old, new), ("n2", new, old), ("n3", new, None)):
            data = tmp_path / name
            data.mkdir()
            (data / "jwt-secret").write_bytes(present)
            if previous is not None:
                (data / "jwt-secret.previous").write_bytes(previous)
            words = ("--node", name, "--redis", redis.url)
            server = await stack.enter_async_context(served(data, *words))
            assert (await ready(server))["status"] == "ready"
            assert NOT_OURS not in "\n".join(server.command.log.lines)
