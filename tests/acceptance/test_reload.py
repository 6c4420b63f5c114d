"""SIGHUP at a node of one worker: it takes what it can, says what it can't, and nobody is disconnected."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import pytest
import trio

from tests.cli.commands import Server, gateway, served
from tests.clients.wire import Refused, wire
from tests.servers import redis_server

LIVE = '[features]\nkill_switch = {killed}\n[server]\norigins = [{origins}]\nnode = "{node}"\n'


def written(file: Path, killed: bool = False, origins: str = "", node: str = "n") -> None:
    file.write_text(LIVE.format(killed=str(killed).lower(), origins=origins, node=node))


async def admitted(server: Server, bearer: str) -> bool:
    """Whether a page of that origin gets through the handshake."""
    try:
        async with wire(server.url, bearer, origin="http://page.example") as opened:
            await opened.take("AUTH_ACK")
            return True
    except Exception:
        return False


async def test_sighup_takes_flags_and_origins_and_keeps_clients(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    written(file)
    async with served(tmp_path, "--config", str(file)) as server:
        bearer = server.token()
        async with wire(server.url, bearer) as opened:
            await opened.take("AUTH_ACK")
            assert not await admitted(server, bearer)
            written(file, origins='"http://page.example"', node="other")
            server.command.process.send_signal(signal.SIGHUP)
            while not await admitted(server, bearer):
                await opened.ask("PING")
            assert await opened.ask("PING") == {}
            file.write_text("[server]\nnonsense = 1\n")
            server.command.process.send_signal(signal.SIGHUP)
            await server.command.log.told("the settings stay as they are", "nonsense")
            written(file, killed=True, origins='"http://page.example"')
            server.command.process.send_signal(signal.SIGHUP)
            assert await opened.closed() == 4403
        assert await server.stop() == 0
        log = await server.command.errors()
        assert "server.origins has changed, and is in force" in log
        assert "server.node has changed: it takes effect after a restart" in log
        assert "Traceback" not in log


async def test_sighup_takes_limits_and_timeouts_in_a_single_process(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[limits]\nsubscriptions_max = 1\nchanges_max = 7\nchanges_default = 7\n")
    async with served(tmp_path, "--config", str(file)) as server:
        bearer = server.token()
        async with wire(server.url, bearer) as opened:
            assert (await opened.take("AUTH_ACK"))["limits"]["subscriptions_max"] == 1
            await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "1"})
            with pytest.raises(Refused):
                await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "2"})
            file.write_text(
                "[limits]\nsubscriptions_max = 2\ndepth_max = 9\n[timeouts]\nidle_timeout_s = 15.0\n"
            )
            server.command.process.send_signal(signal.SIGHUP)
            while (await told_limits(server, bearer))["subscriptions_max"] != 2:
                await opened.ask("PING")
            await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "2"})
            async with wire(server.url, bearer) as idle:
                assert await idle.closed() == 4408
        assert await server.stop() == 0
        log = await server.command.errors()
        assert "limits.subscriptions_max has changed, and is in force" in log
        assert "limits.depth_max has changed: it takes effect after a restart" in log


async def told_limits(server: Server, bearer: str) -> dict[str, int]:
    async with wire(server.url, bearer) as opened:
        limits: dict[str, int] = (await opened.take("AUTH_ACK"))["limits"]
        return limits


async def test_what_a_roll_cannot_take_is_said_and_no_worker_counts_as_lost(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("")
    with redis_server() as redis:
        words = ("--workers", "2", "--redis", redis.url, "--config", str(file))
        async with served(tmp_path, *words, "--set", "redis.node_check_s=0.1") as server:
            workers = psutil.Process(server.command.process.pid).children()
            file.write_text('[server]\nhost = "127.0.0.2"\n')
            server.command.process.send_signal(signal.SIGHUP)
            await server.command.log.told("all workers are new")
            assert not any(worker.is_running() for worker in workers)
            await trio.sleep(1)
            assert await server.stop() == 0
            log = await server.command.errors()
    assert "server.host has changed: it takes effect after a restart" in log
    assert not re.search(r"node \S+ is lost", log)


async def test_a_node_of_a_cluster_invents_no_secret(tmp_path: Path) -> None:
    setting = "redis.urls=redis://127.0.0.1:1"
    words = ("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path), "--set", setting)
    done = await gateway(*words)
    assert done.status == 2
    [line] = done.err.splitlines()
    assert "invents no secret" in line and "openssl rand -base64 48" in line and "auth.secret_file" in line
    assert not (tmp_path / "jwt-secret").exists()
