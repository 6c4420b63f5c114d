"""A connection that closed is gone at once: it leaves nothing to the collector, which doesn't look for it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.acceptance.troubled import InProcess, served
from tests.clients.desk import created, op, signed_in, submit, subscribe
from tests.operations import replace

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
