"""The plain client that makes the documents of a run, against a real server."""

from __future__ import annotations

import time

import pytest

from loadtest import client as module
from loadtest import content, protocols
from loadtest.client import ClientError, connect
from loadtest.server import embedded
from loadtest.users import Target
from tests.servers import free_port

TIGHT = {"limits.operations_per_minute": 600, "limits.operations_burst": 1}


async def make(documents: int, settings: dict[str, int]) -> None:
    async with embedded(settings) as server:
        target = Target(server.url, server.secret, int(time.time()) + 600, "run", "event")
        async with connect(target.url, target.token("ann"), "ann", "event") as client:
            for number in range(documents):
                await client.create(target.resource_id(number), content.document(number), "ann-client")
                assert (await client.subscribe(target.resource_id(number)))["version"] == 1


@pytest.mark.parametrize("name", ["collab", "sharedb", "yjs"])
async def test_why_a_server_can_not_be_reached_is_told_whatever_it_speaks(name: str) -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    target = Target(url, b"s" * 32, int(time.time()) + 600, "run", "event")
    _, problems = await protocols.find(name).auditor(target, None, 0).final_states([0])
    assert f"audit: {url}: all attempts to connect to 127.0.0.1" in problems[0]


async def test_documents_are_made_later_where_the_server_says_so() -> None:
    await make(4, TIGHT)


async def test_who_is_told_to_wait_for_too_long_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 5.0)
    with pytest.raises(ClientError, match="RATE_LIMITED"):
        await make(2, {"limits.operations_per_minute": 1, "limits.operations_burst": 1})
