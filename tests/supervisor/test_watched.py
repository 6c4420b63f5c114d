"""A node of several workers as its monitoring sees it: each worker, and what goes from one to another."""

from __future__ import annotations

import operator

import httpx
import trio
from websockets.exceptions import InvalidStatus

from tests.clients.wire import Wire, wire
from tests.scraped import scraped, until_scraped
from tests.supervisor.node import SPREAD, node, on
from tests.waiting import PATIENCE_S, unawaited

EDIT = {"op": "add", "path": "", "value": {"title": "Lunch"}}


async def test_a_change_that_another_worker_committed_counts_with_its_latency(tmp_path):
    async with node(tmp_path, *SPREAD) as server, unawaited() as nursery:
        bearer = server.token()
        author = await on(nursery, server, bearer, "n1.0")
        reader = await on(nursery, server, bearer, "n1.1")
        for connected in (author, reader):
            await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
        named = {"resource": "event", "resource_id": "42", "version": 0, "client_id": "a"}
        await author.ask("OP", {**named, "operation": EDIT})
        await reader.take("OP_BROADCAST")
        found = await scraped(server.admin)
        for name in ("websocket_message_latency_seconds", "gateway_remote_latency_seconds"):
            assert found.value(f"{name}_count") == 1, name
            assert found.value(f"{name}_bucket", le="+Inf") == 1
            assert 0 <= found.value(f"{name}_sum") < 10


async def test_each_process_of_the_node_shows_what_it_uses(tmp_path):
    async with node(tmp_path, "--set", "server.connections_max=20") as server:
        bearer = server.token()
        found = await scraped(server.admin)
        assert found.labels("process_open_fds", "worker") == {"supervisor", "0", "1"}
        before = {
            worker: found.value("process_open_fds", worker=worker) for worker in ("supervisor", "0", "1")
        }
        async with unawaited() as nursery:
            held = [await nursery.start(_held, server.url, bearer) for _ in range(10)]
            found = await scraped(server.admin)
            gained = sum(found.value("process_open_fds", worker=worker) - before[worker] for worker in "01")
            assert gained >= len(held)
            assert found.value("process_open_fds", worker="supervisor") < before["supervisor"] + 5
            assert found.value("gateway_worker_connections") == len(held)
        for worker in ("supervisor", "0", "1"):
            assert found.value("process_max_fds", worker=worker) > 100
            assert found.value("process_cpu_seconds_total", worker=worker) > 0
            assert found.value("process_start_time_seconds", worker=worker) > 1e9


async def _held(url: str, bearer: str, *, task_status: trio.TaskStatus[Wire]) -> None:
    async with wire(url, bearer) as connected:
        await connected.take("AUTH_ACK")
        task_status.started(connected)
        await connected.closed(3600)


async def _held_somewhere(url: str, bearer: str, *, task_status: trio.TaskStatus[None]) -> None:
    """A connection to whichever worker has room."""
    while True:
        try:
            async with wire(url, bearer) as connected:
                await connected.take("AUTH_ACK")
                task_status.started()
                await connected.closed(3600)
        except InvalidStatus:  # that one is full
            await trio.sleep(0.01)


async def test_a_node_is_ready_while_any_worker_has_room_and_full_when_none_has(tmp_path):
    async with (
        node(tmp_path, *SPREAD, "--set", "server.connections_max=1") as server,
        trio.open_nursery() as nursery,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        bearer = server.token()
        ready = f"{server.admin}/readyz"
        assert (await client.get(ready)).status_code == 200
        await nursery.start(_held_somewhere, server.url, bearer)
        for _ in range(3):
            assert (await client.get(ready)).status_code == 200
        await nursery.start(_held_somewhere, server.url, bearer)
        for _ in range(3):
            answer = await client.get(ready)
            assert (answer.status_code, answer.json()["status"]) == (503, "full")
        await until_scraped(server.admin, "gateway_connections_left", operator.not_)
        nursery.cancel_scope.cancel()
