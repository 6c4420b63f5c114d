"""The index of summaries catches up past what is damaged, which is told once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from types import SimpleNamespace

import pytest
import trio

from gateway.errors import LogUnavailable, Refusal
from gateway.hub import summarise
from gateway.hub.summarise import Summariser
from gateway.log.sqlite.log import DATABASE
from gateway.log.sqlite.summaries import INDEX
from gateway.runtime import timeslice
from tests.http.node import served
from tests.log.sqlite.parts import garble
from tests.waiting import unawaited

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


async def test_after_an_older_log_was_put_back_lists_show_what_that_has(tmp_path, monkeypatch):
    monkeypatch.setattr(summarise, "RETRY_S", 0.01)
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        await node.client.put("/v1/resources/event/a", json={"title": "old"})
    older = (tmp_path / DATABASE).read_bytes()
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        for name in ("a", "b"):
            await node.client.put(f"/v1/resources/event/{name}", json={"title": "new"})
        assert await titles(node) == {"a": "new", "b": "new"}
    (tmp_path / DATABASE).write_bytes(older)
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        assert await titles(node) == {"a": "old"}


async def test_an_index_that_is_damaged_is_made_again_while_it_is_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr(summarise, "RETRY_S", 0.01)
    everything = {f"a{number}": "x" * 400 for number in range(50)}
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        for name, title in everything.items():
            await node.client.put(f"/v1/resources/event/{name}", json={"title": title})
        assert await titles(node) == everything
        connection = node.node._summariser._summaries._database._connection
        connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("PRAGMA shrink_memory")
        garble(tmp_path / INDEX)
        lost = await node.client.get("/v1/resources/event")
        assert (lost.status_code, "made again" in lost.text) == (503, True), lost.text
        assert await titles(node) == everything


async def titles(node):
    """What is listed."""
    listing = await node.client.get("/v1/resources/event")
    return {item["resource_id"]: item["title"] for item in listing.json()["items"]}


async def test_only_so_many_damaged_resources_are_passed_over(tmp_path, monkeypatch):
    """What is remembered is bounded; the first of them are tried, and told, again."""
    monkeypatch.setattr(summarise, "DAMAGED_MAX", 2)
    async with served(tmp_path, "portable", **WITHOUT_SEARCH) as node:
        summariser = node.node._summariser
        assert summariser is not None
        for name in ("event:1", "event:2", "event:3"):
            summariser._pass_over(name)
        assert list(summariser._damaged) == ["event:2", "event:3"]


class Summaries:
    """An index that keeps the names that it was given."""

    def __init__(self) -> None:
        self.stored: list[str] = []

    async def store(self, summaries):
        self.stored.extend(summaries)

    async def listed(self, wanted):
        return self.stored


def noted(monkeypatch, count: int) -> tuple[Summariser, Summaries]:
    """One that lets others run after each of so many resources, which it has to write."""
    monkeypatch.setattr(timeslice, "SLICE_S", 0.0)
    monkeypatch.setattr(summarise, "summary_of", lambda room: room.resource)
    summaries = Summaries()
    summariser = Summariser(summaries, None)  # type: ignore[arg-type]  # it opens none here
    note(summariser, count)
    return summariser, summaries


def note(summariser: Summariser, count: int, first: int = 0) -> None:
    """So many resources were changed."""
    for number in range(first, first + count):
        summariser.note(SimpleNamespace(resource=f"event:{number}"))  # type: ignore[arg-type]


async def test_others_run_while_many_summaries_are_made(monkeypatch):
    summariser, summaries = noted(monkeypatch, 50)
    rounds = 0

    async def others():
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async with unawaited() as nursery:
        nursery.start_soon(others)
        await summariser._store()
    assert summaries.stored == [f"event:{number}" for number in range(50)]
    assert rounds >= 50 - 1, "between any two of them"


async def test_what_was_not_written_for_a_cancellation_is_written_next(monkeypatch):
    summariser, summaries = noted(monkeypatch, 3)
    async with unawaited() as nursery:
        nursery.start_soon(summariser._store)
        while summariser._changed:
            await trio.lowlevel.checkpoint()
    assert not summaries.stored
    await summariser._store()
    assert summaries.stored == ["event:0", "event:1", "event:2"]


async def test_a_list_waits_for_what_was_too_much_to_be_noted(monkeypatch, autojump_clock):
    monkeypatch.setattr(summarise, "CHANGED_MAX", 2)
    summariser, _ = noted(monkeypatch, 0)
    summariser._complete.set()
    note(summariser, 3)
    with pytest.raises(Refusal) as refused:
        await summariser.listed(None)  # type: ignore[arg-type]
    assert refused.value.code == "UNAVAILABLE"


async def test_what_waits_while_nothing_can_be_written_is_bounded(monkeypatch):
    monkeypatch.setattr(summarise, "CHANGED_MAX", 5)
    summariser, summaries = noted(monkeypatch, 3)
    store, first = summaries.store, 0

    async def away(found):
        nonlocal first
        first += 10
        note(summariser, 3, first)  # more is committed meanwhile
        raise LogUnavailable("away", "none")

    monkeypatch.setattr(summaries, "store", away)
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            await summariser._store()
        assert len(summariser._changed) <= 5
    monkeypatch.setattr(summaries, "store", store)
    await summariser._store()
    assert summaries.stored == [f"event:{number}" for number in (0, 1, 2, 10, 11)]
    assert summariser._fell_behind.is_set()


async def test_what_others_do_while_summaries_are_made_is_no_time_of_writing(monkeypatch, autojump_clock):
    """Else the pause, twenty times as long as a writing took, would grow with what others do."""
    summariser, _ = noted(monkeypatch, 3)

    async def checkpoint():
        await trio.sleep(10)

    monkeypatch.setattr(trio.lowlevel, "checkpoint", checkpoint)
    assert await summariser._store() == 0.0
