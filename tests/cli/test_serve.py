"""`gateway serve`, as a process."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import stat
import subprocess
from contextlib import suppress
from functools import partial

import httpx
import pytest
import trio

from gateway.cli.client import GatewayAccess, GatewayLink, View, connected
from gateway.errors import Unreachable
from gateway.ports.resources import Resource
from tests.cli.commands import START_TIMEOUT_S, arguments, environment, gateway, running, served
from tests.servers import free_port
from tests.waiting import PATIENCE_S, until

# No key, but no secret is made either.
KEYS = ("--set", "auth.jwks_file=keys.json")


async def heard(link: GatewayLink, kind: str) -> None:
    """Read until a message of this kind."""
    while (await link.receive())["type"] != kind:
        pass


async def is_ready(admin: str) -> bool:
    """Whether a node takes clients; it may be about to start."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        with suppress(httpx.TransportError):
            return (await client.get(f"{admin}/readyz")).status_code == 200
    return False


async def test_it_says_on_one_line_where_it_listens_and_is_ready_then(tmp_path):
    async with served(tmp_path) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        assert (await client.get(f"{server.admin}/readyz")).json()["status"] == "ready"
        assert server.url.startswith("ws://127.0.0.1:")


async def test_the_first_start_makes_a_secret_for_its_owner_only_and_says_so(tmp_path):
    data = tmp_path / "new" / "data"
    for start in ("first", "second"):
        async with served(data) as server:
            assert await server.stop() == 0
            errors = await server.command.errors()
            assert ("made the signing secret" in errors) == (start == "first")
    assert stat.S_IMODE((data / "jwt-secret").stat().st_mode) == 0o600


async def test_sigterm_tells_clients_to_go_elsewhere_and_ends_with_status_0(tmp_path):
    async with served(tmp_path) as server:
        endpoint = GatewayAccess(server.url, server.token())
        async with connected(endpoint, "client") as link:
            await link.subscribe(View(Resource("event", "42")), visible=True)
            await heard(link, "PRESENCE_STATE")
            server.command.process.send_signal(signal.SIGTERM)
            with pytest.raises(Unreachable, match="draining") as raised:
                await heard(link, "nothing")
            assert raised.value.wait_s is not None
        assert await server.command.ended() == 0
        assert "drained" in await server.command.errors()


async def test_a_node_serves_and_drains_though_nobody_hears_that(tmp_path):
    async with served(tmp_path, NOTIFY_SOCKET=str(tmp_path / "stale")) as server:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(f"{server.admin}/readyz")).json()["status"] == "ready"
        assert await server.stop() == 0
        errors = await server.command.errors()
        assert "wasn't told READY=1" in errors and "drained" in errors and "Traceback" not in errors


@pytest.mark.parametrize("streams", [">/dev/full", ">&-", "<&- >&- 2>&-"])
async def test_a_node_whose_standard_streams_are_closed_or_full_serves_and_drains(tmp_path, streams):
    port = free_port()
    words = "serve", "--data", str(tmp_path), "--port", "0", "--admin-port", str(port)
    command = shlex.join(arguments(*words))
    process = await trio.lowlevel.open_process(
        ["sh", "-c", f"exec {command} {streams}"], stderr=subprocess.DEVNULL, env=environment()
    )
    try:
        await until(partial(is_ready, f"http://127.0.0.1:{port}"), "a node", START_TIMEOUT_S, every_s=0.05)
        process.terminate()
        with trio.fail_after(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        process.kill()


async def test_a_second_signal_ends_it_at_once(tmp_path):
    async with served(tmp_path, "--set", "timeouts.drain_grace_s=60") as server:
        endpoint = GatewayAccess(server.url, server.token())
        async with connected(endpoint, "client") as link:
            await link.receive()
            # A client that doesn't answer the closing handshake holds the drain up.
            os.kill(server.command.process.pid, signal.SIGSTOP)
            os.kill(server.command.process.pid, signal.SIGTERM)
            os.kill(server.command.process.pid, signal.SIGINT)
            os.kill(server.command.process.pid, signal.SIGCONT)
            assert await server.command.ended() in (128 + signal.SIGINT, 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--set", "limits.depth_mx=3"], 'did you mean "depth_max"'),
        (["--set", "limits.depth_max=many"], "must be a whole number"),
        (["--set", "depth"], "SECTION.NAME=VALUE"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--tls-cert", "cert.pem"], "tls_key"),
        (["--tls-cert", "no.pem", "--tls-key", "no.key"], "no.pem"),
        (["--host", "256.1.1.1"], "another --host"),
        (["--admin-host", "256.1.1.1"], "another --admin-host"),
        (["--host", "10.0.0..5"], "server.host"),
        (["--host", "[::1]"], "write 127.0.0.1, ::1"),
        (["--admin-host", "10.0.0..5"], "server.admin_host"),
        (["--redis", "redis://10.0.0..5", *KEYS], "use redis://host:port"),
        (
            ["--redis", "redis://h", "--postgres", "postgresql://u@10.0.0..6/x", *KEYS],
            "postgresql://USER@HOST",
        ),
        (["--redis", "redis://h", "--postgres", "mysql://u:secret@h/x", *KEYS], "postgresql://USER@HOST"),
        (["--redis", "redis://h", "--set", "server.data_dir=file", *KEYS], "gateway: file is no directory"),
        (["--data", "file"], "file is no directory; choose another"),
        (["--data", "file/data"], "file/data is no directory; choose another"),
        (["--data", "file", *KEYS], "gateway: file is no directory; choose another"),
        (["--data", "file/data", *KEYS], "gateway: file is no directory; choose another"),
    ],
)
async def test_a_wrong_setting_is_one_line_with_the_way_out(tmp_path, words, hint):
    (tmp_path / "file").touch()
    (tmp_path / "keys.json").write_text('{"keys": []}')
    done = await gateway("serve", "--port", "0", "--admin-port", "0", *words, cwd=tmp_path)
    assert done.status == 2
    assert hint in done.err
    assert "Traceback" not in done.err
    [complaint] = [line for line in done.err.splitlines() if line.startswith("gateway: ")]
    assert done.err.splitlines()[-1] == complaint


@pytest.mark.parametrize("which", ["--port", "--admin-port"])
async def test_a_port_in_use_is_one_line_with_the_way_out(tmp_path, which):
    async with served(tmp_path / "one") as server:
        url = server.url.removesuffix("/realtime") if which == "--port" else server.admin
        ports = {"--port": "0", "--admin-port": "0", which: url.rpartition(":")[2]}
        words = [word for pair in ports.items() for word in pair]
        done = await gateway("serve", "--data", str(tmp_path / "two"), *words)
        assert done.status == 2
        assert "Traceback" not in done.err
        assert ports[which] in done.err.splitlines()[-1]
        assert "in use" in done.err.splitlines()[-1]


async def test_a_data_directory_serves_one_gateway_at_a_time(tmp_path):
    async with served(tmp_path) as server:
        done = await gateway("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path))
        assert done.status == 2
        assert str(server.command.process.pid) in done.err.splitlines()[-1]
        assert "Traceback" not in done.err


async def test_settings_come_from_file_environment_and_options(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text('[server]\nnode = "from-file"\nadmin_port = 1\n')
    words = ("--config", str(file))
    async with served(tmp_path, *words) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        assert (await client.get(f"{server.admin}/healthz")).json()["node"] == "from-file"
    async with (
        served(tmp_path, *words, GATEWAY_SERVER_NODE="from-env") as server,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        assert (await client.get(f"{server.admin}/healthz")).json()["node"] == "from-env"


async def test_in_a_terminal_it_shows_how_to_connect(tmp_path):
    primary, secondary = pty.openpty()
    words = arguments("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path))
    process = await trio.lowlevel.open_process(
        words, stdout=secondary, stderr=secondary, env=environment(TERM="xterm")
    )
    os.close(secondary)
    shown = b""
    try:
        with trio.fail_after(PATIENCE_S):
            while b"Health, metrics" not in shown:
                shown += await trio.to_thread.run_sync(os.read, primary, 4096)
    finally:
        process.terminate()
        assert await process.wait() == 0
        os.close(primary)
    text = shown.decode()
    assert "gateway token" in text
    assert "gateway watch" in text
    assert "new WebSocket(" in text


@pytest.mark.parametrize(
    ("words", "status"),
    [((), 200), (("--no-demo",), 404), (("--host", "0.0.0.0"), 404), (("--host", "0.0.0.0", "--demo"), 200)],
)
async def test_the_demo_is_there_on_loopback_or_where_it_is_asked_for(tmp_path, words, status):
    async with served(tmp_path, *words) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        assert (await client.get(f"{server.http}/")).status_code == status
        assert await server.stop() == 0
        told = await server.command.errors()
        assert ("Demo: anyone who reaches this port" in told) == (status == 200)
        assert (f"the demo calendar: open {server.http}/ in two tabs" in told) == (status == 200)


async def test_python_m_gateway_shows_its_help_and_version():
    shown = await gateway("--help")
    assert shown.status == 0
    for command in ("serve", "token", "watch", "edit", "config", "doctor"):
        assert command in shown.out
        help_text = (await gateway(command, "--help")).out
        assert f"gateway {command}" in help_text.partition("Options:")[0].partition("\n")[2]


async def test_doctor_and_config_speak_json(tmp_path):
    words = ("--data", str(tmp_path), "--set", "server.connections_max=1000000")
    done = await gateway("doctor", "--json", *words)
    found = {finding["name"]: finding for finding in json.loads(done.out)}
    descriptors = found["descriptors"]
    assert (done.status == 1) == any(finding["status"] == "bad" for finding in found.values())
    assert (descriptors["status"] == "bad") == ("1,000,256" in descriptors["remedy"])
    assert {"python", "listen backlog", "port range", "collector", "free space", "disk"} <= set(found)

    piped = await gateway("doctor", *words, COLUMNS="80")
    lines = piped.out.splitlines()
    assert f"bad   descriptors: {descriptors['found']}" in lines
    assert f"      {descriptors['remedy']}" in lines and len(descriptors["remedy"]) > 80

    away = await gateway("doctor", "--json", "--redis", "redis://127.0.0.1:1")
    assert away.status == 1 and "127.0.0.1:1/0 can't be reached" in away.out, away
    refused = await gateway("doctor", "--json", "--redis", "redis://127.0.0.1:1?wrong=1")
    assert "'wrong'" in json.loads(refused.out)[-1]["remedy"], "in place of: see that the servers answer"

    listed = json.loads((await gateway("config", "--json", GATEWAY_LIMITS_DEPTH_MAX="32")).out)
    depth = next(row for row in listed if row["name"] == "limits.depth_max")
    assert (depth["value"], depth["default"]) == (32, 64)
    assert depth["source"] == "environment GATEWAY_LIMITS_DEPTH_MAX"


async def test_config_shows_only_what_is_asked_for(tmp_path):
    shown = (await gateway("config", "idle_timeout", "--set", "timeouts.idle_timeout_s=60")).out
    assert shown.splitlines()[0].split() == [
        "timeouts.idle_timeout_s",
        "=",
        "60.0",
        "s",
        "command",
        "line;",
        "default",
        "300.0",
    ]
    assert (await gateway("config", "nonsense-word")).status == 2


async def test_a_server_that_is_killed_leaves_a_directory_that_serves_again(tmp_path):
    async with running("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path)) as command:
        assert (await command.line()).startswith("ready ")
        command.process.kill()
        assert await command.ended() == -signal.SIGKILL
    async with served(tmp_path):
        pass
