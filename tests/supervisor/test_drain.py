"""`gateway drain`: a node of one worker or several ends in order, for whoever may say so."""

from __future__ import annotations

import itertools
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from gateway.log.sqlite.log import DirectoryLock
from tests.cli.commands import Server, gateway, served
from tests.clients.wire import Closed, Message, Wire, wire
from tests.proxy import tcp_proxy
from tests.servers import redis_server
from tests.supervisor.lingering import LINGERS, lingering
from tests.supervisor.node import WORKERS
from tests.waiting import PATIENCE_S, until


@asynccontextmanager
async def node(data: Path, several: bool, *words: str) -> AsyncIterator[Server]:
    with redis_server() as redis:
        shared = (*WORKERS, "--redis", redis.url) if several else ()
        async with served(data, *shared, *words) as server:
            yield server


one_or_several = pytest.mark.parametrize("several", [False, True], ids=["one worker", "two workers"])


@one_or_several
async def test_drain_sends_clients_elsewhere_and_ends_the_node(tmp_path: Path, several: bool) -> None:
    async with node(tmp_path, several) as server:
        async with wire(server.url, server.token()) as opened:
            await opened.take("AUTH_ACK")
            async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                headers = server.bearer()
                assert (await client.post(f"{server.admin}/v1/drain", headers=headers)).status_code == 403
                assert (await client.post(f"{server.admin}/v1/drain")).status_code == 401
            done = await gateway("drain", "--wait", "--admin", server.admin, "--data", str(tmp_path))
            assert done.status == 0, done.err
            assert "drains" in done.out and "it has ended" in done.out
            assert await opened.closed() == 1001
            assert opened.of_type("GOAWAY")[0]["reconnect_after_ms"] >= 100
        assert await server.command.ended() == 0


@one_or_several
async def test_the_first_signal_after_a_drain_was_asked_for_ends_in_order(
    tmp_path: Path, several: bool
) -> None:
    async with node(tmp_path, several, *LINGERS) as server, lingering(server) as client:
        await server.said("drain")
        await client.sent_away()
        server.command.process.send_signal(signal.SIGTERM)
        await server.command.log.told("SIGTERM: draining")
        assert await client.leave() == 1001
        assert await server.command.ended() == 0


@one_or_several
async def test_the_second_signal_after_a_drain_was_asked_for_ends_at_once(
    tmp_path: Path, several: bool
) -> None:
    async with node(tmp_path, several, *LINGERS) as server, lingering(server) as client:
        await server.said("drain")
        await client.sent_away()
        server.command.process.send_signal(signal.SIGTERM)
        await server.command.log.told("SIGTERM: draining")
        server.command.process.send_signal(signal.SIGTERM)
        assert await server.command.ended() == 128 + signal.SIGTERM


async def test_who_waited_for_the_end_finds_the_data_free(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        children = psutil.Process(server.command.process.pid).children
        [index] = await until(children, "the process that indexes for searches")
        index.suspend()  # the node waits for its end, and then kills it
        await server.said("drain", "--wait")
        DirectoryLock(tmp_path).release()
        assert await server.command.ended() == 0


async def _write(opened: Wire, name: str, documents: Sequence[str]) -> None:
    """Edit these, one after the other, and wait for no answer; until the connection is closed."""
    heads: dict[str, int] = {}

    def note(message: Message) -> None:
        payload = message["payload"]
        if "version" in payload:
            heads[payload["resource_id"]] = payload["version"]

    opened.on_message = note
    for number in itertools.count():
        ident = documents[number % len(documents)]
        edit = {"op": "add", "path": f"/{name}", "value": number}
        named = {"resource_id": ident, "version": heads.get(ident, 1), "client_id": name}
        try:
            await opened.send("OP", {**named, "operation": edit})
        except Closed:
            return
        await trio.sleep(0.005)


async def _writes(
    server: Server, bearer: str, name: str, codes: list[int], *, task_status: trio.TaskStatus[None]
) -> None:
    """Edit five documents without an end; how the connection was closed goes into `codes`."""
    documents = [f"{name}-{number}" for number in range(5)]
    async with wire(server.url, bearer) as opened, trio.open_nursery() as nursery:
        await opened.take("AUTH_ACK")
        for ident in documents:
            await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": ident})
            create = {"op": "add", "path": "", "value": {}}
            named = {"resource_id": ident, "version": 0, "client_id": name}
            await opened.ask("OP", {**named, "operation": create})
        nursery.start_soon(_write, opened, name, documents)
        task_status.started()
        codes.append(await opened.closed())


async def test_who_never_stops_editing_is_told_to_go(tmp_path: Path) -> None:
    settings = ("limits.operations_per_minute=0", "limits.user_cpu_share=1", "timeouts.drain_grace_s=16")
    words = [word for setting in settings for word in ("--set", setting)]
    codes: list[int] = []
    with redis_server() as redis:
        async with tcp_proxy(redis.port) as proxy:
            words += ["--redis", f"redis://127.0.0.1:{proxy.port}"]
            async with served(tmp_path, *words) as server, trio.open_nursery() as nursery:
                bearer = server.token()
                async with trio.open_nursery() as starting:
                    for number in range(8):
                        starting.start_soon(nursery.start, _writes, server, bearer, f"c{number}", codes)
                proxy.delay_s = 0.05  # so that something is always on its way
                server.command.process.send_signal(signal.SIGTERM)
                assert await server.command.ended() == 0
    assert codes == [1001] * 8


async def test_the_admin_port_is_on_loopback_wherever_clients_connect(tmp_path: Path) -> None:
    async with served(tmp_path, "--host", "0.0.0.0") as server:
        assert server.admin.startswith("http://127.0.0.1:")
        port = int(server.admin.rpartition(":")[2])
        listening = await trio.Path("/proc/net/tcp").read_text()
        assert f"0100007F:{port:04X} 00000000:0000 0A" in listening
        assert f"00000000:{port:04X} " not in listening
