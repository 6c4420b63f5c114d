"""`gateway drain`: a node of one worker or several ends in order, for whoever may say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.cli.commands import Server, gateway, served
from tests.clients.wire import wire
from tests.servers import redis_server
from tests.supervisor.test_supervisor import WORKERS, token


@asynccontextmanager
async def node(data: Path, several: bool) -> AsyncIterator[Server]:
    with redis_server() as redis:
        words = (*WORKERS, "--redis", redis.url) if several else ()
        async with served(data, *words) as server:
            yield server


@pytest.mark.parametrize("several", [False, True], ids=["one worker", "two workers"])
async def test_drain_sends_clients_elsewhere_and_ends_the_node(tmp_path: Path, several: bool) -> None:
    async with node(tmp_path, several) as server:
        async with wire(server.url, await token(server)) as opened:
            await opened.take("AUTH_ACK")
            async with httpx.AsyncClient() as client:
                headers = {"Authorization": f"Bearer {await token(server)}"}
                assert (await client.post(f"{server.admin}/v1/drain", headers=headers)).status_code == 403
                assert (await client.post(f"{server.admin}/v1/drain")).status_code == 401
            done = await gateway("drain", "--wait", "--admin", server.admin, "--data", str(tmp_path))
            assert done.status == 0, done.err
            assert "drains" in done.out and "it has ended" in done.out
            assert await opened.closed() == 1001
            assert opened.of_type("GOAWAY")[0]["reconnect_after_ms"] >= 100
        assert await server.command.ended() == 0


async def test_the_admin_port_is_on_loopback_wherever_clients_connect(tmp_path: Path) -> None:
    async with served(tmp_path, "--host", "0.0.0.0") as server:
        assert server.admin.startswith("http://127.0.0.1:")
        port = int(server.admin.rpartition(":")[2])
        listening = await trio.Path("/proc/net/tcp").read_text()
        assert f"0100007F:{port:04X} 00000000:0000 0A" in listening
        assert f"00000000:{port:04X} " not in listening
