"""What is damaged isn't served, and can be erased: then its name is free again, and nothing is left of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from gateway.log.sqlite.log import DATABASE, SqliteLog
from gateway.ports import Batch, Committed, Record
from gateway.ports.retention import Excess
from tests.http.node import Served, served
from tests.http.searching import until_found
from tests.waiting import PATIENCE_S, until, until_equal

EVENT = "/v1/resources/event/42"
CHANGE = "UPDATE change SET {} WHERE version = {} AND resource = (SELECT id FROM resource WHERE name = '{}')"
ELSEWHERE = (
    """checksum = NULL, body = CAST(replace(CAST(body AS TEXT), '"path":"', '"path":"/none/here') AS BLOB)"""
)
MALFORMED = """checksum = NULL, body = CAST(replace(CAST(body AS TEXT), '"path":', '"pbth":') AS BLOB)"""
DAMAGE = {
    "the change that puts it into a calendar": CHANGE.format("checksum = 1", 2, "event:42"),
    "its creation": CHANGE.format("checksum = 1", 1, "event:42"),
    "who made a change": CHANGE.format("user_id = CAST(x'61ff' AS TEXT)", 3, "event:42"),
    "what no document takes": CHANGE.format(ELSEWHERE, 3, "event:42"),
    "what is no operation": CHANGE.format(MALFORMED, 3, "event:42"),
    "its names": CHANGE.format("checksum = 1", 1, "names:event:42"),
}


async def filled(node: Served) -> None:
    for document in ({"title": "Secret"}, {"title": "Secret", "calendar_id": "work"}, {"title": "Secret 3"}):
        assert (await node.client.put(EVENT, json=document)).is_success
    assert (await node.client.put(f"{EVENT}/versions/Draft", json={"version": 2})).is_success


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_is_damaged_can_be_erased(tmp_path: Path, damage: str) -> None:
    async with served(tmp_path, "portable") as node:
        await filled(node)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        assert database.execute(DAMAGE[damage]).rowcount == 1
        database.execute("DELETE FROM snapshot")  # what a room opens from, else
    async with served(tmp_path, "portable") as node:
        named = await node.client.get(f"{EVENT}/versions")
        found = await node.client.get(EVENT)
        assert 503 in (named.status_code, found.status_code)
        assert "damaged" in (named if found.is_success else found).text
        admin = f"http://127.0.0.1:{node.admin_port}"
        assert (await node.client.delete(f"{admin}{EVENT}", params={"purge": "true"})).is_success
        assert (await node.client.get(EVENT)).status_code == 404
        assert (await node.client.get(f"{EVENT}/versions")).json()["versions"] == []
        ready = await node.client.get(f"{admin}/readyz")
        assert ready.status_code == 200 and "damaged" not in ready.text

        for query in ("", "?calendar_id=work"):
            listing = await node.client.get(f"/v1/resources/event{query}")
            assert listing.status_code == 200 and "Secret" not in listing.text
        assert await until_found(node, 0, q="Secret") == []
        await filled(node)
        assert "Secret 3" in (await node.client.get(EVENT)).text
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        assert database.execute("SELECT count(*) FROM resource WHERE name = 'event:42'").fetchone() == (1,)


async def test_calendars_are_found_around_what_is_damaged_and_what_went(tmp_path: Path) -> None:
    """One that only a kept document names, and one named after many changes went and one is damaged."""
    name, last, gone = "event:42", 1520, 1500
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        log, found = node.node.hub.log, set[str]()
        look = node.node.hub.past_calendars.find
        assert isinstance(log, SqliteLog)
        epoch = (await log.open(name)).epoch
        body = (
            b'{"version":%d,"operations":[{"op":"replace","path":"/calendar_id","value":"%s"}],"op_id":"o"}'
        )
        where = {1: b"lost", 1510: b"home"}
        records = [
            Record(v, body % (v, where.get(v, b"no such id!")), "ann", "c", None, "", 1, None)
            for v in range(1, last + 1)
        ]
        assert await log.append([Batch(name, epoch, 0, "n", records)]) == [Committed()]
        await look(name, None, found)
        assert found == {"lost", "home"}
        document = b'{"calendar_id":"work"}'
        assert await log.retain(Excess(name, epoch, gone), document, [], 0) == gone
        with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
            assert database.execute(CHANGE.format("checksum = 1", gone + 1, name)).rowcount == 1
        found.clear()
        await look(name, None, found)
        assert found == {"work", "home"}
        with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
            database.execute("UPDATE snapshot SET checksum = 1")
        found.clear()
        await look(name, {"calendar_id": "now"}, found)
        assert found == {"now", "home"}


async def test_two_purges_of_what_is_damaged_leave_what_the_log_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second erases what was written after the first: its room doesn't go on with that."""
    async with served(tmp_path, "portable") as node:
        await filled(node)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        assert database.execute(DAMAGE["its creation"]).rowcount == 1
        database.execute("DELETE FROM snapshot")
    async with served(tmp_path, "portable") as node, trio.open_nursery() as nursery:
        hub, second_asked, second, asked = node.node.hub, trio.Event(), trio.Event(), []
        purge = hub.log.purge

        async def one_after_the_other(resource: str) -> int:
            if resource == "event:42":  # its calendar's index is purged too
                asked.append(resource)
                if len(asked) == 2:
                    second_asked.set()
                    await second.wait()
            return await purge(resource)

        monkeypatch.setattr(hub.log, "purge", one_after_the_other)
        for _ in range(2):
            nursery.start_soon(hub.purge, "event:42")

        async def written() -> bool:
            return (await node.client.put(EVENT, json={"title": "Between"})).is_success

        async def status() -> int:
            return (await node.client.get(EVENT)).status_code

        with trio.fail_after(PATIENCE_S):
            await second_asked.wait()
        await until(written, "the first one is done")
        assert await status() == 200
        second.set()
        await until_equal(status, 404)
        assert (await node.client.put(EVENT, json={"title": "After"})).is_success
