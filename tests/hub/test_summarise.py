"""The index of summaries catches up past what is damaged, which is told once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

from gateway.hub import summarise
from gateway.log.sqlite import DATABASE
from gateway.log.sqlite_summaries import INDEX
from tests.http.node import served

WITHOUT_SEARCH = {"search": {"enabled": False}}


async def test_more_damaged_resources_than_a_page_holds_keep_no_other_out_of_the_lists(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(summarise, "BEHIND_MAX", 2)
    monkeypatch.setattr(summarise, "RETRY_S", 0.01)
    damaged = [f"a{number}" for number in range(5)]
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        for name in (*damaged, "sound"):
            await node.client.put(f"/v1/resources/event/{name}", json={"title": name})
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        of_those = "(SELECT id FROM resource WHERE name LIKE 'event:a%')"
        damage = f"UPDATE change SET checksum = checksum + 1 WHERE resource IN {of_those}"
        assert database.execute(damage).rowcount == len(damaged)
    (tmp_path / INDEX).unlink()
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        listing = await node.client.get("/v1/resources/event")
        assert [item["resource_id"] for item in listing.json()["items"]] == ["sound"], listing.text
        # Having fallen behind once more, it looks again; who was told isn't told again.
        summariser = node.node._summariser
        assert summariser is not None
        summariser._fell_behind.set()
        await node.client.put("/v1/resources/event/later", json={"title": "later"})
        listing = await node.client.get("/v1/resources/event")
        assert len(listing.json()["items"]) == 2, listing.text
    told = [record.getMessage() for record in caplog.records if "stays as it is" in record.getMessage()]
    assert Counter(text.split()[0] for text in told) == {f"event:{name}": 1 for name in damaged}


async def test_a_change_that_cannot_be_read_does_not_end_the_node(tmp_path):
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        for name in ("a", "b"):
            await node.client.put(f"/v1/resources/event/{name}", json={"title": name})
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        of_it = "(SELECT id FROM resource WHERE name = 'event:a')"
        damage = f"UPDATE change SET user_id = CAST(x'61ff' AS TEXT) WHERE resource = {of_it}"
        assert database.execute(damage).rowcount == 1
    (tmp_path / INDEX).unlink()
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        listing = await node.client.get("/v1/resources/event")
        assert [item["resource_id"] for item in listing.json()["items"]] == ["b"], listing.text
        answer = await node.client.get("/v1/resources/event/a")
        assert (answer.status_code, "damaged" in answer.text) == (503, True), answer.text


async def test_only_so_many_damaged_resources_are_passed_over(tmp_path, monkeypatch):
    """What is remembered is bounded; the first of them are tried, and told, again."""
    monkeypatch.setattr(summarise, "DAMAGED_MAX", 2)
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        summariser = node.node._summariser
        assert summariser is not None
        for name in ("event:1", "event:2", "event:3"):
            summariser._pass_over(name)
        assert list(summariser._damaged) == ["event:2", "event:3"]
