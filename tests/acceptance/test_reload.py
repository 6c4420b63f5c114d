"""SIGHUP at a node of one worker: it takes what it can, says what it can't, and nobody is disconnected."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.cli.commands import Server, gateway, served
from tests.clients.wire import wire

LIVE = '[features]\nkill_switch = {killed}\n[server]\norigins = [{origins}]\nnode = "{node}"\n'


def written(file: Path, killed: bool = False, origins: str = "", node: str = "n") -> None:
    file.write_text(LIVE.format(killed=str(killed).lower(), origins=origins, node=node))


async def token(server: Server) -> str:
    words = ("token", "--user", "ann", "--grant", "event:*=editor", "--data", str(server.data))
    return (await gateway(*words)).out.strip()


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
        bearer = await token(server)
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
            await opened.ask("PING")
            written(file, killed=True, origins='"http://page.example"')
            server.command.process.send_signal(signal.SIGHUP)
            assert await opened.closed() == 4403
        assert await server.stop() == 0
        log = await server.command.errors()
        assert "server.origins has changed, and is in force" in log
        assert "server.node has changed: it takes effect after a restart" in log
        assert "the settings stay as they are" in log and "nonsense" in log
        assert "Traceback" not in log


async def test_a_node_of_a_cluster_invents_no_secret(tmp_path: Path) -> None:
    setting = "redis.urls=redis://127.0.0.1:1"
    words = ("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path), "--set", setting)
    done = await gateway(*words)
    assert done.status == 2
    [line] = done.err.splitlines()
    assert "invents no secret" in line and "openssl rand -base64 48" in line and "auth.secret_file" in line
    assert not (tmp_path / "jwt-secret").exists()
