"""Traces: an edit from socket to socket, over two nodes, as a collector gets it; nothing where it is off."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admission import create_secret
from gateway.http.server import bind, serve
from tests.cli.commands import done, environment, served
from tests.clients.wire import wire
from tests.operations import replace
from tests.servers import redis_server
from tests.waiting import PATIENCE_S

SECRET_TEXT = "what was written stays here"
TOKEN_MARK = "eyJ"


class Collector:
    """An OTLP/HTTP receiver: the spans that came, and the bytes that they came as."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}/v1/traces"
        self.spans: list[tuple[str, Any]] = []  # with the node that sent it
        self.bodies: list[bytes] = []
        self.came = trio.Event()

    async def receive(self, request: Request) -> Response:
        assert request.headers["content-type"] == "application/x-protobuf"
        body = await request.body()
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {one.key: one.value.string_value for one in group.resource.attributes}
            assert attributes["service.name"] == "collab-gateway"
            node = attributes["service.instance.id"]
            self.spans += [(node, span) for scope in group.scope_spans for span in scope.spans]
        self.came.set()
        answer = ExportTraceServiceResponse().SerializeToString()
        return Response(answer, media_type="application/x-protobuf")

    async def until(self, names: Sequence[str]) -> dict[str, tuple[str, Any]]:
        """The first whole trace with spans of these names."""
        with trio.fail_after(PATIENCE_S):
            while True:
                for _, root in self.spans:
                    found = {span.name: (node, span) for node, span in self.spans if _same(span, root)}
                    if set(names) <= set(found):
                        return found
                self.came = trio.Event()
                await self.came.wait()


def _same(span: Any, other: Any) -> bool:
    return bool(span.trace_id == other.trace_id)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    bound = bind("127.0.0.1", 0)
    collector = Collector(bound.getsockname()[1])
    app = Starlette(routes=[Route("/v1/traces", collector.receive, methods=["POST"])])
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, app, bound, stop.wait))
        yield collector
        stop.set()


def traced(collector: Collector, ratio: float = 1.0) -> tuple[str, ...]:
    wanted = {"endpoint": collector.endpoint, "sample_ratio": ratio}
    return tuple(word for name, value in wanted.items() for word in ("--set", f"tracing.{name}={value}"))


async def test_an_edit_is_one_trace_from_the_author_on_one_node_to_the_reader_on_another(tmp_path: Path):
    with redis_server() as redis:
        async with collecting() as collector:
            secret = tmp_path / "one" / "jwt-secret"
            words = ("--redis", redis.url, "--set", f"auth.secret_file={secret}", *traced(collector))
            soon = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
            async with (
                served(tmp_path / "one", *words, "--node", "n1", **soon) as one,
                served(tmp_path / "two", *words, "--node", "n2", **soon) as two,
            ):
                bearer = one.token(grant="event:*=admin")
                async with wire(one.url, bearer) as author, wire(two.url, bearer) as reader:
                    for connected in (author, reader):
                        await connected.take("AUTH_ACK")
                        await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
                    first = {"op": "add", "path": "", "value": {"title": "a"}}
                    for version, operation in enumerate((first, replace("/title", SECRET_TEXT))):
                        edit = {"resource_id": "42", "version": version, "client_id": "a"}
                        await author.ask("OP", {**edit, "operation": operation})
                        await reader.take("OP_BROADCAST")
                found = await collector.until(("edit", "stage", "append", "fan_out", "deliver"))
            root_node, root = found["edit"]
            assert root.parent_span_id == b"" and root_node == "n1"
            assert {node for name, (node, _) in found.items() if name != "deliver"} == {"n1"}
            assert found["deliver"][0] == "n2"
            for name in ("stage", "append", "fan_out", "deliver"):
                assert found[name][1].parent_span_id == root.span_id
            steps = [found[name][1] for name in ("stage", "append", "fan_out")]
            times = [root.start_time_unix_nano]
            for span in steps:
                times += [span.start_time_unix_nano, span.end_time_unix_nano]
            assert times == sorted(times)
            assert root.end_time_unix_nano >= times[-1]
            assert found["deliver"][1].start_time_unix_nano >= found["append"][1].start_time_unix_nano
            told = {one.key: one.value for one in root.attributes}
            assert told["collab.resource"].string_value == "event:42"
            assert told["collab.outcome"].string_value == "committed"
            everything = b"".join(collector.bodies)
            assert SECRET_TEXT.encode() not in everything and TOKEN_MARK.encode() not in everything


async def test_what_is_not_sampled_is_not_sent_and_a_collector_that_is_away_hinders_nobody(tmp_path: Path):
    async with collecting() as collector:
        async with served(tmp_path, *traced(collector, 0.0)) as node:
            await written(node)
        assert not collector.spans
    async with served(tmp_path, *traced(collector)) as node:
        await written(node)


async def written(node: Any) -> None:
    patch = '{"op": "add", "path": "/title", "value": "a"}'
    await done("edit", "event:1", patch, "--create", *node.reach())


@pytest.mark.parametrize("missing", [False, True])
async def test_without_an_endpoint_nothing_of_it_is_imported(tmp_path: Path, missing: bool):
    create_secret(tmp_path / "jwt-secret")
    code = f"""
import sys
class Away:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError("no " + name, name=name)
if {missing}:
    sys.meta_path.insert(0, Away())
import trio
from gateway.config import Config
from gateway.node import Node
data = {{"data_dir": {str(tmp_path)!r}, "port": 0, "admin_port": 0}}
Node(Config().with_(server=data))
ours = ("gateway.node.tracing", "opentelemetry.sdk.trace.export", "opentelemetry.exporter")
assert not [name for name in sys.modules if name.startswith(ours)]  # (redis asks for its metrics by itself)
if {missing}:
    Node(Config().with_(server=data, tracing={{"endpoint": "http://127.0.0.1:9/v1/traces"}}))
"""
    done = await trio.run_process(
        [sys.executable, "-c", code], env=environment(), check=False, capture_stderr=True
    )
    if missing:
        assert b"pip install 'collab-gateway[otel]'" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
