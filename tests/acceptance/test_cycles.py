"""A connection that closed is gone at once: it leaves nothing to the collector, which doesn't look for it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio

from tests.acceptance.troubled import InProcess, served
from tests.clients.desk import created, op, signed_in, submit, subscribe
from tests.operations import replace
from tests.waiting import PATIENCE_S

CONNECTIONS = 10


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the collector finds from now on, once it is asked to collect."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def come_and_go(node: InProcess) -> None:
    """Connections, one after the other, each with an edit, an UNDO and a refused message."""
    for number in range(CONNECTIONS):
        async with signed_in(node, f"user-{number}") as client:
            resource = await created(client)
            await submit(client, resource, 1, replace("/title", "mine"))
            await client.ask("UNDO", {**op(client, resource, 0), "operations": None})
            await subscribe(client, resource)
            await client.send("OP", {"resource_id": "nothing"})
            await client.send("SYNC_REQUEST", {"resource_type": "event", "resource_id": "test-none"})
            await client.ask("PING")


async def test_closed_connections_leave_no_cycles(tmp_path: Path, garbage: list[object]) -> None:
    async with served(tmp_path) as (node, _):
        await come_and_go(node)
        await trio.sleep(0.2)
        gc.collect()
        found = Counter(type(thing).__module__ + "." + type(thing).__qualname__ for thing in garbage)
        ours = {name: count for name, count in found.items() if name.startswith("gateway.")}
        assert not {name: count for name, count in ours.items() if count >= CONNECTIONS}, ours


async def test_closed_connections_of_http_leave_no_cycles(tmp_path: Path, garbage: list[object]) -> None:
    async with served(tmp_path) as (node, _):
        address = node.url.removesuffix("/realtime").replace("ws:", "http:")
        bearer = {"Authorization": f"Bearer {node.token()}"}
        for _ in range(CONNECTIONS):
            async with httpx.AsyncClient(base_url=address, headers=bearer, timeout=PATIENCE_S) as client:
                assert (await client.put("/v1/resources/event/seen", json={})).status_code in (200, 201)
                assert (await client.get("/v1/resources/event/none")).status_code == 404
        await trio.sleep(0.2)
        gc.collect()
        found = Counter(type(thing).__qualname__ for thing in garbage)
        served_by = {name: found[name] for name in ("Http1", "_Connection", "RequestStream", "_Requests")}
        assert not any(served_by.values()), served_by
