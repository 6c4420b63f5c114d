"""Old history goes, on a real node: by number and by age, by type; named versions stay, clients are told."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from gateway.errors import ConfigError
from gateway.hub import retention
from gateway.hub.retention import DAY_MS, Policy
from gateway.log.sqlite import SqliteLog
from gateway.node import searching
from gateway.node.resources import HubResources
from gateway.ports import Batch, Record, Snapshot
from gateway.ports.retention import Excess, RetentionRule
from tests.http.node import Served, served
from tests.http.test_search import until

EVENT = "/v1/resources/event/42"
CALENDAR = "/v1/resources/calendar/42"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0.0)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.1)
    monkeypatch.setattr(searching, "START_DELAY_S", 0.0)


async def written(node: Served, url: str, count: int, after: int = 0) -> None:
    for number in range(after + 1, after + count + 1):
        assert (await node.client.put(url, json={"title": f"title {number}"})).is_success


async def gone(node: Served, url: str, upto: int) -> None:
    """Until these versions are gone."""
    with trio.fail_after(60):
        while True:
            history = (await node.client.get(f"{url}/history")).json()
            if history["changes"][0]["version"] == upto + 1:
                return
            await trio.sleep(0.05)


async def test_changes_beyond_their_number_go_and_named_versions_stay(tmp_path):
    async with served(tmp_path, "portable", limits={"reads_per_minute": 0, "user_cpu_share": 1}) as node:
        await written(node, EVENT, 10)
        await node.client.put(f"{EVENT}/versions/Draft", json={"version": 3})
        assert len(await until(node, 10, q="title", kind="change")) == 10
    sections = {
        "retention": {"changes": {"event": "4"}},
        "limits": {"reads_per_minute": 0, "user_cpu_share": 1},
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
        too_old = await client.get(f"{EVENT}/history", params={"from": 2})
        assert (too_old.status_code, too_old.json()["code"]) == (410, "VERSION_TOO_OLD")
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
        found = await until(node, 3, q="title", kind="change", type="event")
        assert [item["version"] for item in found] == [10, 9, 8]
    async with served(tmp_path, "portable", **sections) as node:  # and it opens again
        assert (await node.client.get(EVENT)).json()["document"] == {"title": "title 3"}


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
                at_upto = Snapshot(upto, b'{"title":"title %d"}' % upto)
                assert await log.retain(Excess("event:42", epoch, upto), [at_upto]) > 0
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
    at = [Snapshot(2, b"2"), Snapshot(4, b"4")]
    assert await log.retain(Excess("event:1", epoch + 1, 4), at) == 0
    assert await log.retain(Excess("event:1", epoch, 10), at) == 0
    assert await log.retain(Excess("event:1", epoch, 4), at) == 4
    assert [await log.snapshot("event:1", version) for version in (3, 4)] == at
    assert await excess(500, None) == [Excess("event:2", epoch, 4)]
    await log.aclose()


def test_a_policy_by_type():
    policy = Policy({"*": "10", "task": "1"}, {"event": "5"})
    now_ms = 100 * DAY_MS
    assert policy.of(["event", "task"], now_ms) == [
        RetentionRule("event", 90 * DAY_MS, 5),
        RetentionRule("task", 99 * DAY_MS, None),
    ]
    assert Policy({}, {}).of(["event"], now_ms) == []
    for wrong in ("x", "-1", "0", "nan"):
        with pytest.raises(ConfigError, match="must be a number"):
            Policy({"*": wrong}, {})
