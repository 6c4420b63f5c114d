"""Old history goes, on a real node: by number and by age, by type; named versions stay, clients are told."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from gateway.errors import ConfigError, LogUnavailable
from gateway.hub import retention
from gateway.hub.retention import DAY_MS, Policy
from gateway.log.backup_file import BackupReader, readable
from gateway.log.sqlite import writer
from gateway.log.sqlite.log import DATABASE, SqliteLog
from gateway.node import searching
from gateway.node.resources import HubResources
from gateway.ports import Batch, ClientKey, Record, Snapshot
from gateway.ports.retention import Excess, PastSubmission, RetentionRule
from tests.http.node import served
from tests.http.retained import (
    EVENT,
    asked,
    gone,
    gone_with_its_last_name,
    known_again,
    looking,
    named_are_stored_once,
    named_while_history_goes,
    submitted,
    taken_unseen,
    written,
)
from tests.http.searching import until_found
from tests.log.formats import BACK_TO_2, BACK_TO_3, BACK_TO_4

CALENDAR = "/v1/resources/calendar/42"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0.0)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.1)
    monkeypatch.setattr(searching, "START_DELAY_S", 0.0)


async def test_changes_beyond_their_number_go_and_named_versions_stay(tmp_path):
    async with served(tmp_path, "portable", limits={"reads_per_minute": 0}) as node:
        await written(node, EVENT, 10)
        await node.client.put(f"{EVENT}/versions/Draft", json={"version": 3})
        assert len(await until_found(node, 10, q="title", kind="change")) == 10
    sections = {
        "retention": {"changes": {"event": "4"}},
        "limits": {"reads_per_minute": 0},
    }
    async with served(tmp_path, "portable", **sections) as node:
        await written(node, CALENDAR, 10)
        await gone(node, EVENT, 6)
        client = node.client
        # What is there is as it was, and every version that stays can be read.
        for version in range(6, 11):
            old = (await client.get(EVENT, params={"version": version})).json()
            assert old["document"] == {"title": f"title {version}"}, old
        named = (await client.get(EVENT, params={"named": "Draft"})).json()
        assert (named["document"], named["timestamp"]) == ({"title": "title 3"}, None)
        # What went is told as such.
        for params in ({"version": 5}, {"at": 1000}):
            told = await client.get(EVENT, params=params)
            assert told.json()["code"] == "VERSION_TOO_OLD", told.text
            assert "the changes up to version 6 aren't kept" in told.json()["detail"]
        too_old = await client.get(f"{EVENT}/history", params={"from": 2})
        assert (too_old.status_code, too_old.json()["code"]) == (410, "VERSION_TOO_OLD")
        assert too_old.json()["version"] == 6
        assert node.node.metrics.log_errors == 0
        edit = {"client_id": "c", "version": 2, "operations": [{"op": "remove", "path": "/title"}]}
        refused = await client.post(f"{EVENT}/operations", json=edit)
        assert refused.json()["code"] == "VERSION_TOO_OLD"
        blame = (await client.get(f"{EVENT}/blame")).json()
        assert blame["members"][-1]["version"] == 10
        assert (await client.post(f"{EVENT}/restore", json={"named": "Draft"})).json()["version"] == 11
        # The other type keeps everything, and the index forgets what went: the restoring change wrote a "3",
        # and is the fourth that stays.
        assert len((await client.get(f"{CALENDAR}/history")).json()["changes"]) == 10
        await gone(node, EVENT, 7)
        found = await until_found(node, 3, q="title", kind="change", type="event")
        assert [item["version"] for item in found] == [10, 9, 8]
    async with served(tmp_path, "portable", **sections) as node:  # and it opens again
        assert (await node.client.get(EVENT)).json()["document"] == {"title": "title 3"}


async def test_a_version_that_was_named_long_ago_stays_when_its_history_goes(tmp_path, monkeypatch):
    """A new name keeps its version by itself for a while; here for less than none."""
    monkeypatch.setattr(writer, "NAMED_SOON_S", -1)
    async with served(tmp_path, "portable") as node:
        await written(node, EVENT, 10)
        await node.client.put(f"{EVENT}/versions/Draft", json={"version": 3})
        look = looking(node, Policy({}, {"event": "4"}, ["event"]), node.node.hub.wall_ms)
        await look.look()
        assert look.changes == 6
        named = (await node.client.get(EVENT, params={"named": "Draft"})).json()
        assert named["document"] == {"title": "title 3"}, named


async def test_blame_of_a_named_version_whose_history_went_is_of_that_version(tmp_path):
    async with served(tmp_path, "portable", retention={"changes": {"event": "2"}}) as node:
        await written(node, EVENT, 2)
        await node.client.put(EVENT, json={"title": "title 3", "location": "Room 4"})
        await node.client.put(f"{EVENT}/versions/Draft", json={"version": 3})
        await written(node, EVENT, 5, after=3)
        await gone(node, EVENT, 6)
        blame = await node.client.get(f"{EVENT}/blame", params={"version": 3, "path": "/location"})
        assert (blame.status_code, blame.json()["version"]) == (200, 3)
        assert blame.json()["members"] == [{"path": "/location", "version": 0}]


async def test_the_oldest_page_is_what_is_kept_though_history_goes_while_it_is_read(tmp_path, monkeypatch):
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        log, oldest = node.node.hub.log, HubResources.oldest
        left: list[int] = []

        async def oldest_before_it_goes(*given: Any) -> int:
            found = await oldest(*given)
            if left:
                upto = left.pop(0)
                epoch = (await log.open("event:42")).epoch
                document = b'{"title":"title %d"}' % upto
                assert await log.retain(Excess("event:42", epoch, upto), document, [], 0) > 0
            return found

        monkeypatch.setattr(HubResources, "oldest", oldest_before_it_goes)
        for parameters, kept in (({}, [4, 5, 6, 7, 8, 9, 10]), ({"describe": "true"}, [6, 7, 8, 9, 10])):
            left.append(kept[0] - 1)
            history = (await node.client.get(f"{EVENT}/history", params=parameters)).json()
            assert [change["version"] for change in history["changes"]] == kept


async def test_what_is_in_excess_by_age_and_by_number(tmp_path):
    log = SqliteLog(tmp_path)
    epoch = (await log.open("event:1")).epoch
    body = b'{"version":%d,"operations":[{"op":"add","path":"","value":%d}]}'
    for name in ("event:1", "event:2", "events:1"):
        records = [Record(v, body % (v, v), "ann", "c", None, "", v * 100, None) for v in range(1, 11)]
        await log.append([Batch(name, epoch, 0, name, records)])
    every = [("event:1", epoch), ("event:2", epoch)]

    async def excess(since_ms: int | None, changes: int | None) -> list[Excess]:
        return list(await log.excess(RetentionRule("event", since_ms, changes), "", 10))

    assert await excess(500, None) == [Excess(*one, 4) for one in every]
    assert await excess(None, 3) == [Excess(*one, 7) for one in every]
    assert await excess(500, 3) == [Excess(*one, 7) for one in every]
    assert await excess(10_000, None) == [Excess(*one, 9) for one in every]  # the newest stays
    assert await excess(100, 10) == []
    assert [one.name for one in await log.excess(RetentionRule("event", 500, None), "event:1", 10)] == [
        "event:2"
    ]
    # Of another epoch nothing goes, and the newest change never does.
    at = [Snapshot(2, b"2"), Snapshot(3, b"3")]
    for snapshot in at:
        await log.save_snapshot("event:1", epoch, snapshot)
    assert await log.stored("event:1", [2, 4]) == {2: False}
    assert await log.retain(Excess("event:1", epoch + 1, 4), b"4", [2], 0) == 0
    assert await log.retain(Excess("event:1", epoch, 10), b"10", [2], 0) == 0
    assert [await log.snapshot("event:1", version) for version in (2, 4)] == at
    assert await log.retain(Excess("event:1", epoch, 4), b"4", [2], 0) == 4
    assert [await log.snapshot("event:1", version) for version in (3, 4)] == [at[0], Snapshot(4, b"4")]
    assert await log.stored("event:1", [2, 3, 4]) == {2: True, 4: True}
    assert await excess(500, None) == [Excess("event:2", epoch, 4)]
    await log.aclose()


async def test_a_resource_that_cannot_be_rebuilt_keeps_nobody_elses_history(tmp_path, caplog):
    """Of one the changes are damaged, of one the names, and one has a change that its document doesn't take.

    All come first by name. Each is told once.
    """
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        for name in ("a-damaged", "a-named", "z-sound"):
            await written(node, f"/v1/resources/event/{name}", 10)
        await node.client.put("/v1/resources/event/a-named/versions/Draft", json={"version": 3})
        log = node.node.hub.log
        epoch = (await log.open("event:z-sound")).epoch
        body = b'{"version":%d,"op_id":"o%d","operations":[{"op":"replace","path":"/none/here","value":1}]}'
        records = [Record(v, body % (v, v), "ann", "c", None, "", v, None) for v in range(1, 11)]
        await log.append([Batch("event:b-odd", epoch, 0, "odd", records)])
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        for name, version in (("event:a-damaged", 2), ("names:event:a-named", 1)):
            damage = "UPDATE change SET checksum = checksum + 1 WHERE version = ?"
            damage += " AND resource = (SELECT id FROM resource WHERE name = ?)"
            assert database.execute(damage, (version, name)).rowcount == 1
    kept = {"retention": {"changes": {"*": "4"}}, "search": {"enabled": False}}
    async with served(tmp_path, "portable", **kept) as node:
        await gone(node, "/v1/resources/event/z-sound", 6)
        listing = await node.client.get("/v1/resources/event")  # nor does it keep others out of a list
        assert "z-sound" in [item["resource_id"] for item in listing.json()["items"]]
        await written(node, "/v1/resources/event/z-sound", 1, 10)
        await gone(node, "/v1/resources/event/z-sound", 7)  # having looked again
        left = await node.client.get("/v1/resources/event/a-named/history")
        assert len(left.json()["changes"]) == 10
    told = [record.getMessage() for record in caplog.records if "stays a while" in record.getMessage()]
    assert sorted(text.split()[3] for text in told) == ["event:a-damaged", "event:a-named", "event:b-odd"]


async def test_who_was_away_for_longer_than_history_lasts_is_told_the_way_out(tmp_path):
    """An edit on a base that went, and an UNDO of a change that went; the connection goes on."""
    resource = {"resource": "event", "resource_id": "42"}
    named = {"resource_type": "event", "resource_id": "42", "client_id": "away"}
    edit = [{"op": "replace", "path": "/title", "value": "again"}]
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        async with node.linked("away") as away:
            assert (await asked(away, "SUBSCRIBE", resource))["type"] != "ERROR"
            first = [{"op": "add", "path": "", "value": {"title": "mine"}}]
            acknowledged = await asked(away, "OP", {**named, "version": 0, "seq": 1, "operations": first})
            assert acknowledged["payload"]["version"] == 1, acknowledged
        await written(node, EVENT, 10)
    kept = {"retention": {"changes": {"*": "1"}}, "search": {"enabled": False}}
    async with served(tmp_path, "portable", **kept) as node:
        await gone(node, EVENT, 10)
        async with node.linked("away") as away:
            told = await asked(away, "SUBSCRIBE", {**resource, "version": 1})
            assert told["payload"]["version"] == 11, told
            assert told["payload"]["state"] == {"title": "title 10"}, told
            old = await asked(away, "OP", {**named, "version": 1, "seq": 2, "operations": edit})
            assert old["payload"]["code"] == "VERSION_TOO_OLD", old
            undo = await asked(away, "UNDO", named)
            assert undo["payload"]["code"] == "NOTHING_TO_UNDO", undo
            now = await asked(away, "OP", {**named, "version": 11, "seq": 3, "operations": edit})
            assert now["payload"]["version"] == 12, now


async def test_a_submission_is_known_though_its_change_went(tmp_path):
    """Its author was away, and no room was open, while a rule of few changes took what it had made."""
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await taken_unseen(node)
        await written(node, EVENT, 10)
    kept = {"retention": {"changes": {"*": "1"}}, "search": {"enabled": False}}
    async with served(tmp_path, "portable", **kept) as node:
        await gone(node, EVENT, 11)
    async with served(tmp_path, "portable", **kept) as node:
        await known_again(node)


async def test_what_is_known_of_submissions_whose_changes_went(tmp_path):
    """As many of a client as are known otherwise, for as long; of none after a purge."""
    log = SqliteLog(tmp_path)
    name = "event:1"
    epoch = (await log.open(name)).epoch
    await log.append([Batch(name, epoch, 0, "n", [submitted(1, "other"), *map(submitted, range(2, 41))])])
    clients = [ClientKey(name, "ann", client_id) for client_id in ("c", "other", "nobody")]

    async def known(since_ms: int = 0) -> list[list[int]]:
        found = await log.recent(clients, since_ms)
        assert all(item.digest == f"digest {item.seq}" for items in found for item in items)
        return [[item.version for item in items] for items in found]

    newest = list(range(40, 24, -1))
    assert await known() == [newest, [1], []]
    for upto in (30, 39):
        assert await log.retain(Excess(name, epoch, upto), b"{}", [], 0) > 0
        assert await known() == [newest, [1], []]
    assert await known(3800) == [[40, 39, 38], [], []]
    await log.forget(3000)
    assert await known() == [list(range(40, 29, -1)), [], []]
    await log.append([Batch(name, epoch, 40, "m", [submitted(41)])])
    assert await log.retain(Excess(name, epoch, 40), b"{}", [], 4001) == 1
    assert (await known())[0][:2] == [41, 39]  # what was too old when it went isn't kept
    await log.purge(name)
    assert await known() == [[], [], []]
    await log.aclose()
    with BackupReader(tmp_path / DATABASE) as reader:
        assert reader.submissions(name) == [], "nor is any in the file"


async def test_a_log_of_before_submissions_were_kept_goes_on(tmp_path):
    log = SqliteLog(tmp_path)
    epoch = (await log.open("event:1")).epoch
    await log.append([Batch("event:1", epoch, 0, "n", [submitted(1), submitted(2)])])
    await log.aclose()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.executescript(f"{BACK_TO_4} {BACK_TO_3} {BACK_TO_2}")
    with readable(tmp_path / DATABASE) as path, BackupReader(path) as reader:
        assert reader.submissions("event:1") == []
    log = SqliteLog(tmp_path)
    assert await log.retain(Excess("event:1", epoch, 1), b"{}", [], 0) == 1
    [found] = await log.recent([ClientKey("event:1", "ann", "c")], 0)
    assert [item.version for item in found] == [2, 1]
    await log.aclose()
    with BackupReader(tmp_path / DATABASE) as reader:
        assert reader.submissions("event:1") == [PastSubmission("ann", "c", 1, 1, "digest 1", 100)]


async def test_a_version_whose_history_went_goes_with_its_last_name(tmp_path):
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        await gone_with_its_last_name(node, Policy({}, {"event": "4"}, ["event"]))


async def test_a_name_that_is_given_while_history_goes_keeps_its_version(tmp_path):
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        await named_while_history_goes(node, Policy({}, {"event": "4"}, ["event"]))


async def test_documents_of_named_versions_are_stored_one_by_one_and_once(tmp_path):
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        await named_are_stored_once(node, Policy({}, {"event": "4"}, ["event"]))


async def test_what_broke_off_between_named_versions_is_done_by_the_next_look(tmp_path, monkeypatch):
    """Of three named versions one is stored when the log goes away: nothing went, and nothing is lost."""
    left, keep = [1], SqliteLog.keep

    async def breaking(log: SqliteLog, resource: str, epoch: int, snapshot: Snapshot) -> None:
        if not left:
            raise LogUnavailable("it went away", "unknown")
        left.pop()
        await keep(log, resource, epoch, snapshot)

    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        for version in (2, 3, 5):
            await node.client.put(f"{EVENT}/versions/V{version}", json={"version": version})
        with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
            assert database.execute("DELETE FROM snapshot").rowcount >= 3
        monkeypatch.setattr(SqliteLog, "keep", breaking)
        look = looking(node, Policy({}, {"event": "4"}, ["event"]), node.node.hub.wall_ms)
        await look.look()
        assert look.changes == 0
        assert len((await node.client.get(f"{EVENT}/history")).json()["changes"]) == 10
        left.extend([1, 1])
        await look.look()
        assert (look.changes, left) == (6, [])
        for version in (2, 3, 5):
            named = (await node.client.get(EVENT, params={"named": f"V{version}"})).json()
            assert named["document"] == {"title": f"title {version}"}, named


async def test_history_stays_while_the_document_of_a_named_version_is_damaged(tmp_path, caplog):
    """Its changes can make it again. Once they went, it keeps no other history."""
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        await node.client.put(f"{EVENT}/versions/Draft", json={"version": 3})
        look = looking(node, Policy({}, {"event": "4"}, ["event"]), node.node.hub.wall_ms)

        def damage(by: int) -> None:
            with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
                change = "UPDATE snapshot SET checksum = checksum + ? WHERE version = 3"
                assert database.execute(change, (by,)).rowcount == 1

        damage(1)
        await look.look()
        assert look.changes == 0
        assert "event:42 stays a while" in caplog.text
        damage(-1)
        await look.look()
        assert look.changes == 6
        damage(1)
        await written(node, EVENT, 1, after=10)
        await look.look()
        assert look.changes == 7


async def test_a_clock_that_goes_back_takes_nothing_away(tmp_path):
    """Two days on, all but the newest change goes; five days back, what is there and what comes stays."""
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        now_ms = node.node.hub.wall_ms() + 2 * DAY_MS
        look = looking(node, Policy({"event": "1"}, {}, ["event"]), lambda: now_ms)
        await look.look()
        assert look.changes == 9
        now_ms -= 7 * DAY_MS
        await written(node, EVENT, 3, after=10)
        await look.look()
        assert look.changes == 9
        history = (await node.client.get(f"{EVENT}/history")).json()
        assert [change["version"] for change in history["changes"]] == [10, 11, 12, 13]
        now_ms += 7 * DAY_MS
        await look.look()
        assert look.changes == 12


async def test_a_purge_while_history_goes_leaves_nothing_of_it(tmp_path, monkeypatch):
    """The resource is purged and written anew after its excess was told: its new history stays whole."""
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        await written(node, EVENT, 10)
        log = node.node.hub.log
        [excess] = await log.excess(RetentionRule("event", None, 4), "", 10)
        await node.purge(EVENT)
        await written(node, EVENT, 8)
        assert await log.retain(excess, b'{"title":"of before"}', [], 0) == 0
        history = (await node.client.get(f"{EVENT}/history")).json()
        versions = [change["version"] for change in history["changes"]]
        assert len(versions) == 8
        old = (await node.client.get(EVENT, params={"version": versions[5]})).json()
        assert old["document"] == {"title": "title 6"}


def test_a_policy_by_type():
    types = ["event", "task"]
    policy = Policy({"*": "10", "task": "1"}, {"event": "5"}, types)
    now_ms = 100 * DAY_MS
    assert policy.of(now_ms) == [
        RetentionRule("event", 90 * DAY_MS, 5),
        RetentionRule("task", 99 * DAY_MS, None),
    ]
    assert Policy({}, {}, types).of(now_ms) == []
    for wrong in ("x", "-1", "0", "nan"):
        with pytest.raises(ConfigError, match="must be a number"):
            Policy({"*": wrong}, {}, types)
    with pytest.raises(ConfigError, match="whole number"):
        Policy({}, {"event": "0.5"}, types)
    for wrong in ("evnet", "event:*", "t*", ""):
        with pytest.raises(ConfigError, match=f"'{re.escape(wrong)}' is no type of resources"):
            Policy({wrong: "10"}, {}, types)
