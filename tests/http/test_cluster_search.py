"""Search, named versions and the audit over HTTP in a cluster: Redis, PostgreSQL and a search server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count

import trio

from tests.http.cluster import nodes, servers
from tests.http.node import Served
from tests.http.searching import until_found
from tests.search.faults import MODES, Faults
from tests.search.server import shared_search_server
from tests.waiting import PATIENCE_S, until

EVENT = "/v1/resources/event/42"
NUMBERS = count(1)


@asynccontextmanager
async def two_nodes(tmp_path, url):
    """Two nodes of a cluster with everything; the search server is at `url`."""
    with servers(search={"url": url, "index": f"nodes-{next(NUMBERS)}", "timeout_s": 1}) as where:
        async with nodes(tmp_path, where, ("portable", "portable")) as (one, two):
            yield one, two


async def test_what_one_node_takes_the_other_finds_names_and_records(tmp_path):
    async with two_nodes(tmp_path, shared_search_server().url) as (one, two):
        await one.client.put(EVENT, json={"title": "Lunch 会議"})
        await one.client.put(EVENT, json={"title": "Dinner"})
        found = await until_found(two, 1, q="会議")
        assert (found[0]["kind"], found[0]["version"]) == ("change", 1)
        assert len(await until_found(two, 2, q="dinner")) == 2

        named = await one.client.put(f"{EVENT}/versions/Draft", json={"version": 1})
        assert named.status_code == 200, named.text
        then = await two.client.get(EVENT, params={"named": "Draft"})
        assert then.json()["document"] == {"title": "Lunch 会議"}
        restored = await two.client.post(f"{EVENT}/restore", json={"named": "Draft"})
        assert restored.json()["version"] == 3

        admin = f"http://127.0.0.1:{one.admin_port}"
        assert (await one.client.delete(f"{admin}{EVENT}", params={"purge": "true"})).status_code == 200
        assert await until_found(two, 0, q="会議") == []
        assert (await two.client.get(f"{EVENT}/versions")).json()["versions"] == []
        other = f"http://127.0.0.1:{two.admin_port}/v1/audit"
        with trio.fail_after(PATIENCE_S):
            records = (await two.client.get(other)).json()["records"]
        assert [record["act"] for record in records] == ["purge", "restore"]


async def test_edits_are_acknowledged_whatever_the_search_server_does_and_found_once_later(tmp_path):
    with Faults(shared_search_server().url) as faults:
        async with two_nodes(tmp_path, faults.url) as (one, two):
            for number, mode in enumerate(MODES):
                faults.mode, failed = mode, failures(one, two)
                for node, title in ((one, "first"), (two, "second")):
                    edited = await node.client.put(f"/v1/resources/event/{number}", json={"title": title})
                    assert edited.is_success, edited.text
                await more_failures(failed, one, two)
                await told(one, two)
            faults.mode = ""
            changes = await until_found(one, 2 * len(MODES), kind="change")
            assert {(item["resource_id"], item["version"]) for item in changes} == {
                (str(number), version) for number in range(len(MODES)) for version in (1, 2)
            }
            assert len(await until_found(two, len(MODES), q="second", kind="document")) == len(MODES)


async def told(*nodes: Served) -> None:
    """Until one says that searches don't find all."""
    await until(lambda: any("what is new" in text for node in nodes for text in node.node.problems))


def failures(*nodes: Served) -> int:
    """How often indexing failed."""
    return sum(node.node.counters().search_failures for node in nodes)


async def more_failures(failed: int, *nodes: Served) -> None:
    """Until it failed more often."""
    await until(lambda: failures(*nodes) > failed)
