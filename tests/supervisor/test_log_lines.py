"""What a running node logs: objects where asked to, the id of the request, no tokens and no content."""

from __future__ import annotations

import json
import os
import signal

import httpx
import psutil

from gateway.log.search.embedded import INDEX
from tests.cli.commands import START_TIMEOUT_S, served
from tests.clients.wire import wire
from tests.servers import redis_server
from tests.supervisor.node import WORKERS
from tests.waiting import PATIENCE_S, until

CONTENT = "the-words-of-a-person"


async def test_every_line_of_a_node_and_its_workers_is_an_object_and_holds_no_secret(tmp_path):
    with redis_server() as redis:
        options = ("--workers", "2", "--node", "n1", "--redis", redis.url, "--log-level", "debug")
        async with served(tmp_path, *options, "--set", "server.log_format=json") as server:
            bearer = server.token()
            async with wire(server.url, bearer) as ann:
                await ann.ask("SUBSCRIBE", {"resource": "event", "resource_id": "1"})
                edit = {"op": "add", "path": "", "value": {"title": CONTENT}}
                named = {"resource": "event", "resource_id": "1", "version": 0, "client_id": "a"}
                await ann.ask("OP", {**named, "operation": edit})
            async with wire(f"{server.url}?token={bearer}", f"{bearer}x") as unknown:
                assert await unknown.closed() == 4401
            assert await server.stop() == 0
            lines = [json.loads(line) for line in (await server.command.errors()).splitlines()]
    assert {"n1.0", "n1.1"} <= {line.get("node") for line in lines}
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in lines)
    said = json.dumps(lines)
    for secret in (bearer, bearer.split(".")[1], CONTENT):
        assert secret not in said


async def test_what_is_to_be_mended_at_a_redis_server_is_told_once_a_node_whatever_its_workers(tmp_path):
    with redis_server() as redis:
        async with served(tmp_path, *WORKERS, "--redis", redis.url) as server:
            await server.command.log.told("has no maxmemory")
            server.command.process.send_signal(signal.SIGHUP)
            await server.command.log.told("all workers are new")
            assert await server.stop() == 0
            said = await server.command.errors()
    for told in ("keeps nothing on its disk", "has no maxmemory", "no archive (--postgres)"):
        assert said.count(told) == 1


async def test_the_process_that_indexes_for_a_lone_node_logs_as_the_node_does(tmp_path):
    async with served(tmp_path, "--set", "server.log_format=json") as server:
        await until((tmp_path / INDEX).exists, within_s=START_TIMEOUT_S)
        assert await server.stop() == 0
        lines = [json.loads(line) for line in (await server.command.errors()).splitlines()]
    assert "gateway.log.search.follower" in {line["logger"] for line in lines}


async def test_an_end_that_every_process_of_a_node_is_told_is_no_error(tmp_path):
    # Who is connected makes the drain take a moment.
    async with served(tmp_path) as server, wire(server.url, server.token()):
        await until((tmp_path / INDEX).exists, within_s=START_TIMEOUT_S)
        for child in psutil.Process(server.command.process.pid).children(recursive=True):
            child.terminate()
        assert await server.stop() == 0
        said = await server.command.errors()
    assert "ERROR" not in said and "started again" not in said, said


async def test_ctrl_c_is_the_business_of_a_nodes_first_process_alone(tmp_path):
    """The others may be so new that they would end of it, with a traceback."""
    with redis_server() as redis:
        for words, kind in (((), "follower"), ((*WORKERS, "--redis", redis.url), "worker")):
            async with served(tmp_path / kind, *words) as server:
                node = server.command.process.pid

                def others(node: int = node, kind: str = kind) -> list[psutil.Process]:
                    children = psutil.Process(node).children(recursive=True)
                    return [child for child in children if any(kind in word for word in child.cmdline())]

                await until(others, f"a {kind} of the node", START_TIMEOUT_S)
                groups = {os.getpgid(child.pid) for child in others()}
                assert os.getpgid(node) not in groups
                assert await server.stop() == 0


async def test_a_request_keeps_its_id_through_the_node_and_gets_one_where_it_has_none(tmp_path):
    with redis_server() as redis:
        async with (
            served(tmp_path, "--workers", "2", "--redis", redis.url) as server,
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
        ):
            place = f"{server.admin}/v1/resources/event/1"
            kept = await client.get(place, headers={"X-Request-ID": "from-the-proxy.7"})
            assert kept.headers.get_list("x-request-id") == ["from-the-proxy.7"]
            ids = [(await client.get(place)).headers["x-request-id"] for _ in range(2)]
            assert len(set(ids)) == 2 and all(len(each) == 16 for each in ids)
            odd = await client.get(place, headers={"X-Request-ID": "a b\tc" * 50})
            assert len(odd.headers["x-request-id"]) == 16
            answer = await client.get(f"{server.http}/v1/resources/event/1")
            assert len(answer.headers["x-request-id"]) == 16
