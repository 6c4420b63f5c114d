"""The admin HTTP of a real node: the log on disk, real tokens, and WebSocket clients beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import trio

from gateway.admission import create_secret, issue
from gateway.cli.client import GatewayAccess, GatewayLink, View, connected
from gateway.config import Config
from gateway.log import values_file
from gateway.node import Node
from gateway.ports.resources import Resource
from tests.http import node as service
from tests.transport.wire import RawClient
from tests.waiting import PATIENCE_S, until

EVENT = "/v1/resources/event/42"


class Served:
    """A running node, and what its callers need."""

    def __init__(self, node: Node, websocket_url: str, client: httpx.AsyncClient, secret: bytes) -> None:
        self.node = node
        self.url = websocket_url
        self.client = client
        self._secret = secret

    def token(self, grants: dict[str, str]) -> str:
        return issue(self._secret, "ann", grants, 60, time.time())

    def linked(self, role: str) -> AbstractAsyncContextManager[GatewayLink]:
        """A WebSocket client with a role for event:42."""
        return connected(GatewayAccess(self.url, self.token({"event:42": role})), "client")


@asynccontextmanager
async def served(data: Path) -> AsyncIterator[Served]:
    config = Config().with_(
        server={"data_dir": str(data), "port": 0, "admin_port": 0, "node": "node-1"},
        limits={"operations_per_minute": 0},
    )
    create_secret(data / "jwt-secret")
    secret = (data / "jwt-secret").read_bytes()
    node = Node(config)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(node.run)
        (host, port), (_, admin_port) = addresses.websocket[0], addresses.admin[0]
        headers = {"Authorization": f"Bearer {issue(secret, 'ann', {'*': 'admin'}, 60, time.time())}"}
        async with httpx.AsyncClient(
            base_url=f"http://{host}:{admin_port}", headers=headers, timeout=PATIENCE_S
        ) as client:
            yield Served(node, f"ws://{host}:{port}/realtime", client, secret)
        node.drain()


async def seen_at(view: View, link: GatewayLink, version: int) -> None:
    """Read until the view has reached a version."""
    with trio.fail_after(PATIENCE_S):
        while view.version != version:
            view.receive(await link.receive())


async def test_writes_reach_subscribers_and_history_says_who(tmp_path):
    async with served(tmp_path) as node:
        assert (await node.client.put(EVENT, json={"title": "Launch"})).status_code == 201
        view = View(Resource("event", "42"))
        async with node.linked("viewer") as link:
            await link.subscribe(view, visible=True)
            await seen_at(view, link, 1)
            await node.client.put(EVENT, json={"title": "Lunch", "tags": ["food"]})
            await seen_at(view, link, 2)
            assert view.document == {"title": "Lunch", "tags": ["food"]}
            await node.client.delete(EVENT)
            await seen_at(view, link, 3)
            assert view.document is None
        changes = (await node.client.get(f"{EVENT}/history")).json()["changes"]
        assert [(change["version"], change["user_id"]) for change in changes] == [
            (1, "ann"),
            (2, "ann"),
            (3, "ann"),
        ]
        assert all(abs(change["timestamp"] / 1000 - time.time()) < 60 for change in changes)


async def test_a_document_that_breaks_its_schema_is_refused(tmp_path):
    async with served(tmp_path) as node:
        response = await node.client.put(EVENT, json={"start_time": "noon"})
        assert response.status_code == 422
        assert "start_time" in response.json()["detail"]
        assert (await node.client.get(EVENT)).status_code == 404


async def test_two_writers_that_saw_the_same_version_do_not_overwrite_each_other(tmp_path):
    async with served(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "0"})
        statuses = []

        async def write(number: int) -> None:
            response = await node.client.put(EVENT, json={"title": str(number)}, headers={"If-Match": '"1"'})
            statuses.append(response.status_code)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(write, number)
        assert sorted(statuses) == [200] + [412] * 7
        assert (await node.client.get(EVENT)).json()["version"] == 2


async def test_what_operators_decided_is_in_force_and_recorded_where_nobody_could_say_that_it_lasts(
    tmp_path, monkeypatch
):
    def no_disk(_):
        raise OSError(5, "Input/output error")

    async with served(tmp_path) as node:
        monkeypatch.setattr(values_file, "flush", no_disk)
        lost = [
            await node.client.patch("/v1/flags", json={"rollout_percentage": 50}),
            await node.client.post("/v1/revocations", json={"user_id": "bob"}),
            await node.client.post("/v1/disconnect", json={"user_id": "carl"}),
        ]

        async def revoked() -> list[dict[str, str]]:
            return (await node.client.get("/v1/revocations")).json()["revocations"]

        found = await until(revoked, "the revocation is in force")
        lost.append(await node.client.delete("/v1/revocations", params={"id": found[0]["id"]}))
        assert [(answer.status_code, answer.json()["outcome"]) for answer in lost] == [(503, "unknown")] * 4
        records = (await node.client.get("/v1/audit")).json()["records"]
        assert [(record["act"], record["subject"], record["result"]) for record in records] == [
            ("revoke.take_back", "user bob", "unknown"),
            ("disconnect", "carl", "unknown"),
            ("revoke", "bob", "unknown"),
            ("flags.change", "flags", "unknown"),
        ]
        assert records[3]["details"] == {"values": {"rollout_percentage": 50}}


async def test_a_purged_resource_begins_again_in_a_new_epoch_for_its_subscribers_too(tmp_path):
    async with served(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        view = View(Resource("event", "42"))
        async with node.linked("viewer") as link:
            await link.subscribe(view, visible=True)
            await seen_at(view, link, 1)
            epoch = view.epoch
            purged = (await node.client.delete(EVENT, params={"purge": "true"})).json()
            assert purged["epoch"] > epoch
            await seen_at(view, link, 0)
            assert (view.epoch, view.document) == (purged["epoch"], None)
        assert (await node.client.get(f"{EVENT}/history")).json()["changes"] == []


async def test_time_travel_and_history_reach_back_over_a_restart(tmp_path):
    versions = 600
    async with served(tmp_path) as node:
        for number in range(versions):
            await node.client.put(EVENT, json={"title": str(number)})
    async with served(tmp_path) as node:
        for version in (1, 255, 256, 257, 512, versions):
            found = (await node.client.get(EVENT, params={"version": version})).json()
            assert found["document"] == {"title": str(version - 1)}
        page = (await node.client.get(f"{EVENT}/history", params={"from": versions - 1})).json()
        assert [change["version"] for change in page["changes"]] == [versions - 1, versions]
        assert page["next"] is None


@pytest.mark.parametrize(
    ("method", "grants", "status"),
    [
        ("GET", {"calendar:*": "admin"}, 403),
        ("GET", {"event:4*": "viewer"}, 200),
        ("PUT", {"event:*": "viewer"}, 403),
        ("PUT", {"event:*": "viewer", "event:42": "editor"}, 200),
        ("DELETE", {"event:*": "editor"}, 403),
        ("DELETE", {"*": "admin"}, 200),
        ("DELETE", {"*": "admin", "event:42": "editor"}, 403),
    ],
)
async def test_grants_hold_here_as_on_the_wire(tmp_path, method, grants, status):
    async with served(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        headers = {"Authorization": f"Bearer {node.token(grants)}"}
        content = b"{}" if method == "PUT" else None
        response = await node.client.request(method, EVENT, headers=headers, content=content)
        assert response.status_code == status


async def test_edits_and_connections_show_in_the_metrics(tmp_path):
    async with served(tmp_path) as node:
        async with node.linked("editor") as link:
            view = View(Resource("event", "42"))
            await link.subscribe(view, visible=True)
            await seen_at(view, link, 0)
            patch = [{"op": "add", "path": "", "value": {"title": "Lunch"}}]
            edit = {"resource_id": "42", "resource_type": "event", "operations": patch, "version": 0}
            await link.send("OP", edit, "1")
            while (await link.receive())["type"] != "OP_ACK":
                pass
            text = (await node.client.get("/metrics")).text
        assert "websocket_connections_total 1.0" in text
        assert "gateway_subscriptions 1.0" in text
        assert "gateway_operations_committed_total 1.0" in text
        assert "gateway_batches_total 1.0" in text


async def test_a_draining_node_is_not_ready(tmp_path):
    async with served(tmp_path) as node, node.linked("viewer") as link:
        await link.receive()
        assert (await node.client.get("/readyz")).status_code == 200
        node.node.drain()
        response = await node.client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (503, "draining")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/flags", {"kill_switch": True}),
        ("POST", "/v1/revocations", {"user_id": "ann"}),
        ("POST", "/v1/disconnect", {"user_id": "ann"}),
        ("POST", "/v1/trace", {"user_id": "ann"}),
    ],
)
async def test_an_operator_who_is_revoked_while_the_body_comes_changes_nothing(tmp_path, method, path, body):
    async with service.served(tmp_path, "portable") as node:
        bob, content = node.bearer("bob", node="admin")["Authorization"], orjson.dumps(body)
        bare = await RawClient.connect(node.admin_port)
        node.dialled.append(bare)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bob}\r\n"
        await bare.send(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:-1])
        admin = f"http://127.0.0.1:{node.admin_port}"
        assert (await node.client.post(f"{admin}/v1/revocations", json={"user_id": "bob"})).status_code == 201
        await bare.send(content[-1:])
        with trio.fail_after(PATIENCE_S):
            assert (await bare.head()).split()[1] == b"401"
        found = (await node.client.get(f"{admin}/v1/revocations")).json()["revocations"]
        assert {one["subject"] for one in found} == {"bob"}
        assert not (await node.client.get(f"{admin}/v1/flags")).json()["in_force"]["kill_switch"]
