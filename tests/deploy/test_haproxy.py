"""Two nodes behind the real HAProxy with the shipped configuration: health, drain, rolling restart."""

from __future__ import annotations

import subprocess

import httpx
import trio
from websockets.exceptions import InvalidStatus

from tests.cli.commands import served
from tests.clients.wire import wire
from tests.debian import program
from tests.deploy.haproxy import CONFIGURATION
from tests.deploy.nodes import cluster
from tests.supervisor.crowd import crowd
from tests.waiting import PATIENCE_S, unawaited, until, until_equal


def test_haproxy_accepts_the_configuration_as_it_is_shipped():
    command = [program("haproxy", "haproxy"), "-c", "-f", str(CONFIGURATION)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


async def test_a_rolling_restart_of_two_nodes_loses_nothing_and_refuses_nobody(tmp_path):
    async with cluster(tmp_path) as nodes:
        arrivals: list[str] = []

        async def arrive() -> None:
            while True:
                arrivals.append(await nodes.landed())
                await trio.sleep(0.02)

        async with crowd(nodes.url, nodes.token, documents=4) as people, unawaited() as nursery:
            nursery.start_soon(arrive)
            for number in range(2):
                seen = len(arrivals)
                assert await nodes.stop(number) == 0
                since = len(arrivals) + 1  # one may have been on its way
                await people.everyone_moves_on()
                await until(lambda since=since: len(arrivals) >= since + 5, "more arrivals")
                assert set(arrivals[since:]) == {f"node{2 - number}"}
                await nodes.start(number)
                await nodes.until_used(f"node{number + 1}")
                await people.everyone_moves_on()
                assert len(arrivals) > seen + 10, "nobody could connect"
        assert all(author.outages >= 1 for author in people.authors)
        assert {name for author in people.authors for name in author.nodes} == {"node1", "node2"}


async def test_a_node_that_drains_gets_no_new_clients_and_sends_its_own_away(tmp_path):
    async with (
        cluster(tmp_path) as nodes,
        trio.open_nursery() as nursery,
        wire(nodes.url, nodes.token) as first,
    ):
        name = (await first.take("AUTH_ACK"))["node"]
        number = int(name[-1]) - 1
        nursery.start_soon(nodes.stop, number)
        assert (await first.take("GOAWAY"))["reconnect_after_ms"] > 0
        assert await nodes.landed() == f"node{2 - number}"
        assert await first.closed() == 1001


async def test_a_full_node_s_clients_are_sent_to_the_other_until_both_are_full(tmp_path):
    async with cluster(tmp_path, "--set", "server.connections_max=3") as nodes:
        held: list[str] = []

        async def hold(*, task_status: trio.TaskStatus[None]) -> None:
            async with wire(nodes.url, nodes.token) as connected:
                held.append((await connected.take("AUTH_ACK"))["node"])
                task_status.started()
                await trio.sleep_forever()

        async with unawaited() as nursery:
            with trio.fail_after(PATIENCE_S):
                while len(held) < 6:
                    await nursery.start(hold)
            assert sorted(held) == ["node1"] * 3 + ["node2"] * 3
            status = 0
            try:
                await nodes.landed()
            except InvalidStatus as error:
                status = error.response.status_code
            assert status == 503


async def test_a_node_that_vanishes_is_left_out_and_comes_back(tmp_path):
    async with cluster(tmp_path) as nodes:
        running = nodes._running[0]
        assert running is not None
        running[1].command.process.kill()
        assert {await nodes.landed() for _ in range(6)} == {"node2"}
        await nodes._running[0][0].aclose()
        await nodes.start(0)
        await nodes.until_used("node1")


async def silent_client(url: str) -> trio.SocketStream:
    """A connected WebSocket client that never reads a message, and so never answers a close frame."""
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(
        b"GET /realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
    return stream


async def test_readyz_is_what_the_configuration_asks_for(tmp_path):
    assert "GET /readyz" in CONFIGURATION.read_text()
    async with served(tmp_path) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        assert (await client.get(f"{server.admin}/readyz")).status_code == 200
        silent = await silent_client(server.url)  # the drain waits for it
        server.command.process.terminate()

        async def status() -> int:
            return (await client.get(f"{server.admin}/readyz")).status_code

        await until_equal(status, 503)
        await silent.aclose()
        await until(lambda: server.command.process.poll() is not None, "the end")
