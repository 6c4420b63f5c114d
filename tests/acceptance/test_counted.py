"""What a node counts, read from its /metrics after the thing happened over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import Refused, Wire, wire
from tests.scraped import Samples, scraped, until_scraped
from tests.waiting import PATIENCE_S

EDIT = {"op": "add", "path": "/title", "value": "Lunch"}
BAD_PATCH = {"op": "remove", "path": "/nowhere"}
REFUSED = "gateway_operations_refused_total"


@asynccontextmanager
async def subscribed(
    node: Gateway, resource_id: str, role: str = "editor", **options: object
) -> AsyncIterator[Wire]:
    """A connection that looks at one event, in this role."""
    bearer = node.token(grants={"event:*": role})
    async with wire(node.url, bearer, **options) as connected:
        await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": resource_id})
        yield connected


def op(
    resource_id: str, operation: dict[str, object], version: int = 0, client_id: str = "a"
) -> dict[str, object]:
    named = {"resource": "event", "resource_id": resource_id}
    return {**named, "version": version, "client_id": client_id, "operation": operation}


async def change(before: Samples, node: Gateway, name: str, **labels: str) -> float:
    """By how much a sample grew since."""
    return (await scraped(node.admin_url)).value(name, **labels) - before.value(name, **labels)


async def test_each_refused_edit_is_counted_by_its_code_wherever_it_was_refused(node):
    before = await scraped(node.admin_url)
    async with subscribed(node, "r1", "viewer") as viewer, subscribed(node, "r1") as editor:
        for _ in range(5):
            with pytest.raises(Refused, match="FORBIDDEN"):
                await viewer.ask("OP", op("r1", EDIT, client_id="v"))
            with pytest.raises(Refused, match="INVALID_OPERATION"):
                await editor.ask("OP", op("r1", BAD_PATCH))
        with pytest.raises(Refused, match="VERSION_AHEAD"):
            await editor.ask("OP", op("r1", EDIT, version=9))
        with pytest.raises(Refused, match="NOT_SUBSCRIBED"):
            await editor.ask("OP", op("other", EDIT))
        with pytest.raises(Refused, match="NOTHING_TO_UNDO"):
            await editor.ask("UNDO", {"resource": "event", "resource_id": "r1", "client_id": "a"})
        await editor.ask("OP", op("r1", {"op": "add", "path": "", "value": {"title": "a"}}))
        with pytest.raises(Refused, match="INVALID_OPERATION"):  # refused when it is staged
            await editor.ask("OP", op("r1", {"op": "replace", "path": "/title", "value": 7}, version=1))
    grown = {"FORBIDDEN": 5, "VERSION_AHEAD": 1, "NOT_SUBSCRIBED": 1, "NOTHING_TO_UNDO": 1}
    for code, count in {**grown, "INVALID_OPERATION": 6}.items():
        assert await change(before, node, REFUSED, code=code) == count, code
    assert await change(before, node, "gateway_operations_committed_total") == 1


async def test_writes_that_are_refused_over_http_are_counted_once(node):
    before = await scraped(node.admin_url)
    place = f"{node.url.replace('ws', 'http', 1).removesuffix('/realtime')}/v1/resources/event/h1"
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        editor = {"Authorization": f"Bearer {node.token()}"}
        viewer = {"Authorization": f"Bearer {node.token(grants={'event:*': 'viewer'})}"}
        assert (await client.put(place, headers=viewer, json={})).status_code == 403
        assert (await client.put(place, headers=editor, json={"title": 7})).status_code == 422
        assert (await client.put(place, headers=editor, content=b"{")).status_code == 400
        assert (await client.put(place, headers=editor, json={"title": "a"})).status_code == 201
        late = {**editor, "If-Match": '"0"'}
        assert (await client.put(place, headers=late, json={})).status_code == 412
        edits = f"{place}/operations"
        bad = {"version": 1, "client_id": "h", "operation": BAD_PATCH}
        assert (await client.post(edits, headers=editor, json=bad)).status_code == 422
        assert (await client.get(place, headers={"Authorization": "Bearer x"})).status_code == 401  # no edit
    grown = {"FORBIDDEN": 1, "INVALID_OPERATION": 2, "INVALID_MESSAGE": 1, "CONFLICT": 1}
    for code, count in {**grown, "UNAUTHENTICATED": 0}.items():
        assert await change(before, node, REFUSED, code=code) == count, code


async def test_each_step_of_an_edit_is_timed(node):
    before = await scraped(node.admin_url)
    async with subscribed(node, "s1") as author, subscribed(node, "s1") as reader:
        await author.ask("OP", op("s1", {"op": "add", "path": "", "value": {"title": "a"}}))
        await reader.take("OP_BROADCAST")
    for step in ("receive", "admit", "transform", "commit", "fan_out", "flush"):
        assert await change(before, node, "gateway_step_seconds_count", step=step) >= 1, step
    assert await change(before, node, "websocket_message_latency_seconds_count") == 1


@pytest.mark.parametrize("transport", ["fast", "portable"])
async def test_what_a_browser_does_when_it_closes_is_no_lost_connection(tmp_path, transport):
    """`socket.close()` of a browser sends a close frame without a status: 1005."""
    with gateway(tmp_path, server__transport=transport) as node:
        async with wire(node.url, node.token()) as tab:
            await tab.take("AUTH_ACK")
            await tab.ws.stream.send_all(b"\x88\x80\0\0\0\0")
            await tab.closed()
        async with wire(node.url, node.token()) as lost:
            await lost.take("AUTH_ACK")
            await lost.ws.stream.aclose()
        closed = "websocket_connections_closed_total"
        found = await until_scraped(node.admin_url, closed, code="1006")
        assert found.value(closed, code="1005") == 1
        assert found.value(closed, code="1006") == 1
