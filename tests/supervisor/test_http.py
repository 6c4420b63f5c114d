"""HTTP on the service port of a node of several workers: whichever answers, it is one service."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import trio

from tests.cli.commands import Server, served
from tests.servers import redis_server
from tests.supervisor.node import node, workers
from tests.waiting import PATIENCE_S, until

CALLERS = 16
EVENT = "/v1/resources/event/shared"


def held(server: Server) -> list[int]:
    """How many connections to the service port each worker has."""
    port = urlsplit(server.url).port
    found = []
    for worker in workers(server):
        connections = worker.net_connections("tcp")
        found.append(sum(each.status == "ESTABLISHED" and each.laddr.port == port for each in connections))
    return found


@asynccontextmanager
async def callers(server: Server) -> AsyncIterator[Sequence[httpx.AsyncClient]]:
    """Clients with a connection each, spread over the workers."""
    headers = server.bearer()
    async with AsyncExitStack() as stack:
        found: list[httpx.AsyncClient] = []
        while len(found) < CALLERS or not all(held(server)):
            client = httpx.AsyncClient(base_url=server.http, headers=headers, timeout=PATIENCE_S)
            found.append(await stack.enter_async_context(client))
            await client.get(EVENT)
        yield found


def tag(name: str, version: int) -> dict[str, object]:
    operation = {"op": "add", "path": "/tags/-", "value": name}
    return {"operation": operation, "version": version, "client_id": name}


async def read(client: httpx.AsyncClient, version: int) -> dict[str, Any] | None:
    """The event, where it is at this version already."""
    answer = await client.get(EVENT)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found if found["version"] >= version else None


async def test_edits_at_all_workers_make_one_history(tmp_path):
    async with node(tmp_path) as server, callers(server) as clients:
        made = await clients[0].put(EVENT, json={"title": "Shared", "tags": []})
        assert (made.status_code, made.json()["version"]) == (201, 1)
        versions: list[int] = []

        async def edit(number: int, client: httpx.AsyncClient) -> None:
            answer = await client.post(f"{EVENT}/operations", json=tag(f"t{number}", 1))
            assert answer.status_code == 200, answer.text
            versions.append(answer.json()["version"])

        async with trio.open_nursery() as nursery:
            for number, client in enumerate(clients):
                nursery.start_soon(edit, number, client)
        assert sorted(versions) == list(range(2, len(clients) + 2))
        expected = {f"t{number}" for number in range(len(clients))}
        for client in clients:
            found = await until(partial(read, client, len(clients) + 1), every_s=0.05)
            assert set(found["document"]["tags"]) == expected
            history = (await client.get(f"{EVENT}/history")).json()
            assert len(history["changes"]) == len(clients) + 1


async def test_who_waits_at_one_worker_is_told_what_is_edited_at_another(tmp_path):
    async with node(tmp_path) as server, callers(server) as clients:
        epoch = (await clients[0].put(EVENT, json={"title": "Shared", "tags": []})).json()["epoch"]
        params = {"since": 1, "epoch": epoch, "wait": 30}
        answers: list[httpx.Response] = []

        async def wait(client: httpx.AsyncClient) -> None:
            answers.append(await client.get(EVENT, params=params))

        async with trio.open_nursery() as nursery:
            for client in clients[1:]:
                nursery.start_soon(wait, client)
            await trio.sleep(0.5)
            assert not answers
            assert (await clients[0].post(f"{EVENT}/operations", json=tag("t", 1))).status_code == 200
        assert {answer.status_code for answer in answers} == {200}
        for answer in answers:
            assert [change["version"] for change in answer.json()["changes"]] == [2]


async def test_a_user_has_one_rate_at_all_workers_over_http(tmp_path):
    with redis_server() as redis:
        async with (
            served(tmp_path, "--workers", "2", "--redis", redis.url) as server,
            callers(server) as clients,
        ):
            await clients[0].put(EVENT, json={"title": "Shared", "tags": []})
            await trio.sleep(2)  # the burst is whole again
            began_s, allowed = trio.current_time(), 0
            for number in range(3 * CALLERS):
                client = clients[number % len(clients)]
                answer = await client.post(f"{EVENT}/operations", json=tag(f"t{number}", 1))
                assert answer.status_code in (200, 429)
                allowed += answer.status_code == 200
                if answer.status_code == 429:
                    assert answer.json()["code"] == "RATE_LIMITED"
            elapsed_s = trio.current_time() - began_s
            assert 5 <= allowed <= 1.1 * (10 + elapsed_s * 100 / 60) + 1


async def test_bodies_of_all_requests_to_the_admin_port_together_are_bounded(tmp_path):
    bounds = ("--set", "limits.unfinished_bytes_max=50000", "--set", "limits.document_bytes_max=50000")
    async with node(tmp_path, *bounds) as server:
        bearer, half = f"Bearer {server.token()}", "x" * 30_000
        head = f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: 45002\r\n\r\n"
        address = urlsplit(server.admin)
        begun = await trio.open_tcp_stream(str(address.hostname), address.port or 80)
        await begun.send_all(f"{head}{half}".encode())
        async with httpx.AsyncClient(
            base_url=server.admin, headers={"Authorization": bearer}, timeout=PATIENCE_S
        ) as client:
            document = {"title": "Launch", "description": half}
            with trio.fail_after(PATIENCE_S):
                while (refused := await client.put(EVENT, json=document)).is_success:
                    pass  # until the half is there
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["retry-after"]) > 0
            assert (await client.put(EVENT, json={"title": "Launch"})).is_success, "a small one fits in"
            await begun.aclose()
            with trio.fail_after(PATIENCE_S):
                while not (await client.put(EVENT, json=document)).is_success:
                    pass  # until it is gone


async def test_an_edit_that_is_longer_than_a_document_may_be_reaches_the_worker_whole(tmp_path):
    async with node(tmp_path, "--set", "limits.document_bytes_max=4096") as server:
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with httpx.AsyncClient(base_url=server.admin, headers=headers, timeout=PATIENCE_S) as client:
            created = await client.put(EVENT, json={"title": "Launch"})
            assert created.is_success
            operations = [{"op": "test", "path": "/title", "value": "Launch"}] * 200
            edit = {"operations": operations, "version": 1, "client_id": "long"}
            assert len(json.dumps(edit)) > 2 * 4096
            answer = await client.post(f"{EVENT}/operations", json=edit)
            assert answer.status_code == 200, answer.text


async def test_bodies_that_began_before_a_roll_count_after_it(tmp_path):
    bounds = ("--set", "limits.unfinished_bytes_max=50000", "--set", "limits.document_bytes_max=50000")
    async with node(tmp_path, *bounds, "--set", "timeouts.drain_grace_s=300") as server:
        bearer, half = f"Bearer {server.token()}", "x" * 30_000
        head = f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: 45002\r\n\r\n"
        address = urlsplit(server.admin)
        log = server.command.log
        await log.told("worker 1 is ready")
        [ready] = [line for line in log.lines if "worker 1 is ready" in line]
        last = psutil.Process(int(ready.split()[-1]))
        server.command.process.send_signal(signal.SIGHUP)
        await log.told("worker 0 is ready", times=2)
        last.suspend()  # the roll isn't over before it ends
        await log.told("worker 1 is ready", times=2)
        document = {"title": "Launch", "description": half}
        async with (
            await trio.open_tcp_stream(str(address.hostname), address.port or 80) as begun,
            httpx.AsyncClient(
                base_url=server.admin, headers={"Authorization": bearer}, timeout=PATIENCE_S
            ) as client,
        ):
            await begun.send_all(f"{head}{half}".encode())
            with trio.fail_after(PATIENCE_S):
                while (refused := await client.put(EVENT, json=document)).is_success:
                    pass  # until the half is there
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
            assert not any("all workers are new" in line for line in log.lines)
            last.resume()
            await log.told("all workers are new")
            refused = await client.put(EVENT, json=document)
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
