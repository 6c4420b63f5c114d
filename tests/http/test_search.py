"""Search over HTTP, on a real node with its indexer beside it: found, bounded by grants, purged, paged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
import trio

from gateway.errors import Refusal
from gateway.log.search.embedded import INDEX
from gateway.log.sqlite.log import DATABASE
from gateway.node import searching
from gateway.runtime.metrics import Counters
from tests.http.node import Served, served
from tests.http.searching import EVENT, searchable, until_found
from tests.waiting import PATIENCE_S, unawaited, until_equal


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(searching, "START_DELAY_S", 0.0)


async def search(node: Served, headers: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
    answer = await node.client.get("/v1/search", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_documents_and_changes_are_found_by_words_people_and_kind(tmp_path):
    async with searchable(tmp_path) as node:
        bob = node.bearer("bob", event="editor")
        await node.client.put(EVENT, json={"title": "会議 about Lunch", "tags": ["food"]})
        await node.client.put(EVENT, json={"title": "Dinner 会議"}, headers=bob)
        found = await until_found(node, 3, q="会議")
        assert [(item["kind"], item["version"], item["user_id"]) for item in found] in (
            [("document", 2, "bob"), ("change", 2, "bob"), ("change", 1, "ann")],
            [("change", 2, "bob"), ("document", 2, "bob"), ("change", 1, "ann")],
        )
        assert found[2]["fragments"] == [{"text": "会議 about Lunch\nfood", "marks": [[0, 2]]}]
        assert [item["version"] for item in await search(node, q="lunch")] == [1]
        assert len(await search(node, q="dinner", kind="document")) == 1
        assert len(await search(node, user_id="bob")) == 2
        assert await search(node, q="dinner", since="2100-01-01T00:00:00Z") == []
        assert await search(node, q="breakfast") == []


async def test_a_change_of_more_operations_than_a_patch_may_have_is_followed(tmp_path):
    async with searchable(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "Lunch", "tags": [f"t{n}" for n in range(1000)]})
        await until_found(node, 2, q="lunch")
        edit = [
            {"op": "replace", "path": "/tags", "value": []},
            {"op": "replace", "path": "/title", "value": "Dinner"},
        ]
        asked = {"operations": edit, "version": 1, "client_id": "ann"}
        assert (await node.client.post(f"{EVENT}/operations", json=asked)).status_code == 200
        await until_found(node, 1, q="dinner", kind="document")


async def test_nothing_is_found_nor_counted_that_the_token_does_not_grant(tmp_path):
    async with searchable(tmp_path) as node:
        for number in range(6):
            await node.client.put(f"/v1/resources/event/{number}", json={"title": "secret"})
        await until_found(node, 12, q="secret")
        few = {"Authorization": f"Bearer {node.token({'event:1': 'viewer', 'event:4*': 'editor'}, 'eve')}"}
        assert {item["resource_id"] for item in await search(node, few, q="secret")} == {"1", "4"}
        counted = await node.client.get("/v1/search", params={"q": "secret", "count": "true"}, headers=few)
        assert counted.json()["count"] == 4
        none = {"Authorization": f"Bearer {node.token({'task:*': 'admin'}, 'eve')}"}
        empty = await node.client.get("/v1/search", params={"q": "secret", "count": "true"}, headers=none)
        assert empty.json() == {"items": [], "next": None, "count": 0}
        assert (await node.client.get("/v1/search", headers={"Authorization": ""})).status_code == 401


async def test_pages_go_on_where_the_one_before_ended(tmp_path):
    async with searchable(tmp_path) as node:
        for number in range(5):
            await node.client.put(f"/v1/resources/event/{number}", json={"title": "page"})
        await until_found(node, 5, q="page", kind="change")
        seen, following = [], "/v1/search?q=page&kind=change&limit=2"
        while following:
            answer = (await node.client.get(following)).json()
            seen += [item["resource_id"] for item in answer["items"]]
            following = answer["next"]
        assert seen == ["4", "3", "2", "1", "0"]


async def test_a_purge_takes_what_was_found_away_and_a_deleted_document_is_no_document(tmp_path):
    async with searchable(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "secret"})
        await node.client.put("/v1/resources/event/43", json={"title": "secret"})
        await until_found(node, 4, q="secret")
        await node.client.delete("/v1/resources/event/43")
        found = await until_found(node, 3, q="secret")
        assert {item["kind"] for item in found if item["resource_id"] == "43"} == {"change"}
        admin = f"http://127.0.0.1:{node.admin_port}{EVENT}"
        assert (await node.client.delete(admin, params={"purge": "true"})).status_code == 200
        found = await until_found(node, 1, q="secret")
        assert found[0]["resource_id"] == "43"
        # Its number in the log is given again, and what has it is indexed all the same.
        await node.client.put(EVENT, json={"title": "anew"})
        assert len(await until_found(node, 2, q="anew")) == 2


async def test_what_was_written_before_is_found_after_a_restart(tmp_path):
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await node.client.put(EVENT, json={"title": "before"})
        assert (await node.client.get("/v1/search")).status_code == 503
    async with searchable(tmp_path) as node:
        await until_found(node, 2, q="before")
    async with searchable(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "after"})
        await until_found(node, 2, q="after")
        assert node.node.counters().search_failures == 0


async def until_told(node: Served, wanted: bool = True) -> None:
    """Wait until the node says that searches don't find what is new, or no longer."""
    await until_equal(lambda: any("what is new" in text for text in node.node.problems), wanted)


async def test_an_index_that_cannot_be_written_is_told_until_it_can(tmp_path):
    async with searchable(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "before"})
        await until_found(node, 2, q="before")
        with closing(sqlite3.connect(tmp_path / INDEX, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            answer = await node.client.put(EVENT, json={"title": "after"})
            assert answer.status_code == 200, answer.text
            await until_told(node)
        await until_found(node, 2, q="after")
        await until_told(node, False)


async def test_so_is_one_that_can_not_be_written_from_the_start(tmp_path):
    async with searchable(tmp_path) as node:
        await node.client.put(EVENT, json={"title": "before"})
        await until_found(node, 2, q="before")
    with closing(sqlite3.connect(tmp_path / INDEX, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        async with searchable(tmp_path) as node:
            await until_told(node)


async def test_one_that_can_not_be_made_lags_more_and_more(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"no log from which one could be made")
    counters, process = Counters(), searching.IndexProcess(str(tmp_path))
    async with unawaited() as nursery:
        nursery.start_soon(process.run)
        with trio.fail_after(PATIENCE_S):
            while counters.search_lag_seconds < 2:
                process.measure(counters)
                await trio.sleep(0.05)
        assert process.trouble
        assert counters.search_failures


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ({"q": "x" * 2000}, "q is too long"),
        ({"q": " ".join(map(str, range(40)))}, "q is too long"),
        ({"kind": "x"}, "kind must be"),
        ({"type": "children"}, "type must be"),
        ({"after": "x"}, "after must be"),
        ({"limit": 0}, "limit must be"),
        ({"user": "x"}, "no parameter"),
    ],
)
async def test_a_wrong_search_says_the_way_out(tmp_path, query, hint):
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        answer = await node.client.get("/v1/search", params=query)
        assert (answer.status_code, hint in answer.json()["detail"]) == (400, True)


async def test_a_search_that_the_index_does_not_answer_is_refused_and_counted(autojump_clock):
    class Away:
        async def find(self, wanted):
            await trio.sleep_forever()

    counters = Counters()
    with pytest.raises(Refusal, match="try again"):
        await searching.Searcher(Away(), counters, 0).search(None, None)
    assert counters.searches_failed == 1
