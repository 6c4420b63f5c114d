"""A resource with 10,000 changes: full sync and time travel. (`make bench` measures how long they take.)"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.clients.desk import EVENT, created, named, op, signed_in, state, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.patching import apply
from tests.clients.wire import Wire
from tests.waiting import PATIENCE_S

CHANGES = 10_000
WINDOW = 50  # submissions under way
RESOURCE = "event:long"
SETTINGS = {"limits__user_cpu_share": 1}  # one user writes for all, as fast as it can


async def write(author: Wire) -> None:
    """10,000 changes, some under way at a time; version n sets the title to n."""
    resource = await created(author, RESOURCE)
    for first in range(2, CHANGES + 1, WINDOW):
        numbers = range(first, min(first + WINDOW, CHANGES + 1))
        for n in numbers:
            operation = {"op": "replace", "path": "/title", "value": str(n)}
            await author.send("OP", op(author, resource, first - 1, operation, force=True), id=f"n{n}")
        for n in numbers:
            assert (await author.take("OP_ACK", id=f"n{n}"))["version"] == n
        author.seen.clear()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A node that was started again on a long history, so that nothing of it is in memory."""
    data: Path = tmp_path_factory.mktemp("long")

    async def prepare(node: Gateway) -> None:
        async with signed_in(node) as author:
            await write(author)

    with gateway(data, **SETTINGS) as node:
        trio.run(prepare, node)
    with gateway(data, **SETTINGS) as node:
        yield node


async def test_a_full_sync_gives_the_head(long: Gateway) -> None:
    async with signed_in(long, "reader") as reader:
        with trio.fail_after(PATIENCE_S):
            ack = await subscribe(reader, RESOURCE)
        assert (ack["version"], ack["state"]) == (CHANGES, {**EVENT, "title": str(CHANGES)})


async def test_an_old_client_gets_the_state_and_a_recent_one_its_changes(long: Gateway) -> None:
    async with signed_in(long, "reader") as reader:
        with trio.fail_after(PATIENCE_S):
            old = await subscribe(reader, RESOURCE, version=1, max_changes=1000)
            recent = await subscribe(reader, RESOURCE, version=CHANGES - 1000, max_changes=1000)
            beyond = await subscribe(reader, RESOURCE, version=CHANGES - 1001, max_changes=5000)
        assert old["state"]["title"] == str(CHANGES)
        assert beyond["state"]["title"] == str(CHANGES), "nobody gets more than 1,000 changes"
        assert len(recent["changes"]) == 1000
        document: Any = {**EVENT, "title": str(CHANGES - 1000)}
        for change in recent["changes"]:
            document = apply(document, change["operations"])
        assert document == (await state(reader, RESOURCE))[1]


async def test_an_edit_on_a_base_of_long_ago_is_rebased(long: Gateway) -> None:
    async with signed_in(long, "late") as late:
        await subscribe(late, RESOURCE)
        head = (await state(late, RESOURCE))[0]
        operation = {"op": "add", "path": "/tags/-", "value": "late"}
        ack = await late.ask("OP", op(late, RESOURCE, head - 5000, operation))
        assert ack["version"] == head + 1
        assert (await state(late, RESOURCE))[1]["tags"] == ["late"]
        undone = await late.ask("UNDO", named(RESOURCE))
        assert undone["version"] == head + 2


async def test_time_travel_shows_any_version(long: Gateway) -> None:
    versions = [1, 2, CHANGES - 1, CHANGES, *random.Random(1).sample(range(2, CHANGES), 20)]
    headers = {"Authorization": f"Bearer {long.token('reader')}"}
    async with httpx.AsyncClient(headers=headers, base_url=long.admin_url, timeout=PATIENCE_S) as http:
        for version in versions:
            answer = await http.get("/v1/resources/event/long", params={"version": version})
            assert answer.status_code == 200
            title = "Planning" if version == 1 else str(version)
            assert f'"title":"{title}"' in answer.text.replace('": ', '":')
