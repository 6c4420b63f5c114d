"""Named versions over HTTP, on a real node: given, found, read, restored, moved, dropped, purged."""

from __future__ import annotations

from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from gateway.hub import replay
from gateway.hub.hub import Hub
from gateway.hub.index_rules import NAMES
from gateway.hub.names import NamedVersions
from gateway.node.resources import HubResources
from gateway.redislink.keys import partition_of
from gateway.rooms.waiter import commit
from tests.http.node import Served, served
from tests.redis.parts import save, started_on
from tests.servers import redis_server

EVENT = "/v1/resources/event/42"
VERSIONS = f"{EVENT}/versions"


async def test_a_version_is_found_by_its_name(tmp_path):
    async with served(tmp_path, "portable") as node:
        client = node.client
        for title in ("One", "Two", "Three"):
            await client.put(EVENT, json={"title": title})
        first = f"{VERSIONS}/{quote('As agreed ~ 会議', safe='')}"
        given = await client.put(first, json={"version": 1})
        assert given.status_code == 200, given.text
        assert given.json() | {"timestamp": 0} == {
            "resource": "event",
            "resource_id": "42",
            "name": "As agreed ~ 会議",
            "version": 1,
            "user_id": "ann",
            "timestamp": 0,
        }
        await client.put(f"{VERSIONS}/Draft", json={"version": 2})
        listed = (await client.get(VERSIONS)).json()["versions"]
        assert [(item["name"], item["version"]) for item in listed] == [
            ("As agreed ~ 会議", 1),
            ("Draft", 2),
        ]
        old = (await client.get(EVENT, params={"named": "As agreed ~ 会議"})).json()
        assert (old["version"], old["document"]) == (1, {"title": "One"})

        await client.put(f"{VERSIONS}/Draft", json={"version": 3})
        assert (await client.get(EVENT, params={"named": "Draft"})).json()["version"] == 3
        restored = (await client.post(f"{EVENT}/restore", json={"named": "As agreed ~ 会議"})).json()
        assert restored["version"] == 4
        assert (await client.get(EVENT)).json()["document"] == {"title": "One"}

        assert (await client.delete(f"{VERSIONS}/Draft")).status_code == 200
        assert (await client.delete(f"{VERSIONS}/Draft")).status_code == 404
        assert (await client.get(EVENT, params={"named": "Draft"})).status_code == 404


async def test_names_are_there_after_a_restart_and_gone_after_a_purge(tmp_path):
    async with served(tmp_path, "portable") as node:
        await node.client.put(EVENT, json={"title": "One"})
        await node.client.put(f"{VERSIONS}/Draft", json={"version": 1})
    async with served(tmp_path, "portable") as node:
        assert len((await node.client.get(VERSIONS)).json()["versions"]) == 1
        admin = f"http://127.0.0.1:{node.admin_port}{EVENT}"
        assert (await node.client.delete(admin, params={"purge": "true"})).status_code == 200
        assert (await node.client.get(VERSIONS)).json()["versions"] == []
        await node.client.put(EVENT, json={"title": "Anew"})
        assert (await node.client.get(VERSIONS)).json()["versions"] == []


async def test_what_a_name_needs(tmp_path):
    async with served(tmp_path, "portable") as node:
        client = node.client
        await client.put(EVENT, json={"title": "One"})
        assert (await client.put(f"{VERSIONS}/Draft", json={"version": 2})).status_code == 404
        assert (await client.put(f"{VERSIONS}/Draft", json={"version": 0})).status_code == 400
        assert (await client.put(f"{VERSIONS}/Draft", json=[])).status_code == 400
        assert (await client.put(f"{VERSIONS}/{'x' * 101}", json={"version": 1})).status_code == 400
        viewer = node.bearer("bob", event="viewer")
        assert (await client.put(f"{VERSIONS}/Draft", json={"version": 1}, headers=viewer)).status_code == 403
        assert (await client.get(VERSIONS, headers=viewer)).status_code == 200
        assert (await client.get(VERSIONS, headers=node.bearer("eve"))).status_code == 403
        # What is hidden has no door of its own.
        assert (await client.get("/v1/resources/names/event:42")).status_code == 404
        both = await client.post(f"{EVENT}/restore", json={"named": "x", "version": 1})
        assert both.status_code == 400


async def purged_and_written_anew(node: Served) -> None:
    await node.purge(EVENT)
    for number in range(1, 7):
        assert (await node.client.put(EVENT, json={"title": f"new {number}"})).is_success


@pytest.mark.parametrize("when", ["while it is read", "after it was read", "after it was named"])
async def test_a_version_that_is_purged_while_it_gets_a_name_gets_none(tmp_path, monkeypatch, when):
    """Neither the old document comes back, nor does the name mean a version of the new history."""
    owner, method = {
        "while it is read": (replay, "document_at"),
        "after it was read": (HubResources, "_charge"),
        "after it was named": (NamedVersions, "give"),
    }[when]
    was, done = getattr(owner, method), []
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        for number in range(1, 11):
            assert (await node.client.put(EVENT, json={"title": f"secret {number}"})).is_success

        async def purged_then(*arguments: Any) -> Any:
            found = await was(*arguments)
            if not done:
                done.append(True)
                with monkeypatch.context() as patch:
                    patch.setattr(owner, method, was)
                    await purged_and_written_anew(node)
            return found

        monkeypatch.setattr(owner, method, purged_then)
        answer = await node.client.put(f"{EVENT}/versions/X", json={"version": 3})
        named = (await node.client.get(f"{EVENT}/versions")).json()["versions"]
        third = (await node.client.get(EVENT, params={"version": 3})).json()
        assert done and third["document"] == {"title": "new 3"}
        if when == "while it is read":  # it is read again, of the history that there is
            assert answer.is_success and [item["version"] for item in named] == [3]
        else:
            assert (answer.status_code, answer.json()["code"]) == (409, "VERSION_TOO_OLD"), answer.text
            assert named == []
        assert (await node.node.hub.log.snapshot("event:42", 3)).document != b'{"title":"secret 3"}'


async def test_a_name_that_is_given_during_a_purge_goes_with_it(tmp_path, monkeypatch):
    purge = Hub.purge
    async with served(tmp_path, "portable", search={"enabled": False}) as node:
        for number in range(1, 11):
            assert (await node.client.put(EVENT, json={"title": f"secret {number}"})).is_success

        async def named_before(hub: Hub, resource: str) -> Any:
            if resource == "event:42":
                assert (await node.client.put(f"{EVENT}/versions/Late", json={"version": 3})).is_success
            return await purge(hub, resource)

        monkeypatch.setattr(Hub, "purge", named_before)
        await purged_and_written_anew(node)
        assert (await node.client.get(f"{EVENT}/versions")).json()["versions"] == []
        assert (await node.client.get(EVENT, params={"named": "Late"})).status_code == 404


def apart() -> str:
    """An event of which the first of two servers has the history, and the second the names."""
    return next(
        f"event:{number}"
        for number in count()
        if partition_of(f"event:{number}", 256) % 2 < partition_of(f"names:event:{number}", 256) % 2
    )


async def test_a_name_is_of_no_other_document_that_got_its_number_after_changes_were_lost(tmp_path):
    """Its history's server comes back without the version that was named, and others make it anew."""
    event = f"/v1/resources/{apart().replace(':', '/')}"

    async def titled(node: Served, *titles: str) -> None:
        for title in titles:
            assert (await node.client.put(event, json={"title": title, "description": ""})).is_success

    async def read(node: Served, name: str) -> Any:
        return (await node.client.get(event, params={"named": name})).json()

    with redis_server() as history, redis_server() as names:
        where: dict[str, Any] = {"redis": {"urls": [history.url, names.url]}, "search": {"enabled": False}}
        async with served(tmp_path, "portable", **where) as node:
            await titled(node, "One")
            assert (await node.client.put(f"{event}/versions/Begun", json={"version": 1})).is_success
            save(history, tmp_path / "older.rdb")
            await titled(node, "Two", "Three")
            for name, version in (("Second", 2), ("As agreed", 3)):
                given = await node.client.put(f"{event}/versions/{name}", json={"version": version})
                assert given.is_success
        started_on(history, tmp_path / "older.rdb")
        async with served(tmp_path, "portable", **where) as node:
            await titled(node, "Two", "Other")
            assert (await read(node, "Begun"))["document"]["title"] == "One"
            assert (await read(node, "Second"))["document"]["title"] == "Two", "made anew, and alike"
            told = await read(node, "As agreed")
            assert (told["status"], "code" in told) == (404, False), told
            assert told["detail"].startswith("Version 3 of ") and "changes were lost" in told["detail"]
            restored = await node.client.post(f"{event}/restore", json={"named": "As agreed"})
            assert (restored.status_code, restored.json()["detail"]) == (404, told["detail"])
            assert (await node.client.get(event)).json()["version"] == 3
            assert (await node.client.put(f"{event}/versions/As agreed", json={"version": 3})).is_success
            assert (await read(node, "As agreed"))["document"]["title"] == "Other"


async def test_a_name_that_does_not_know_its_document_is_of_its_version(tmp_path):
    """As they were given once: there is nothing to compare."""
    async with served(tmp_path, "portable") as node:
        await node.client.put(EVENT, json={"title": "One"})
        hub = node.node.hub
        room = await hub.open("names:event:42")
        item = {"version": 1, "user_id": "ann", "timestamp": 1}
        await commit(room, "ann", NAMES, [{"op": "add", "path": "", "value": {"Old": item}}], hub.now_s())
        [listed] = (await node.client.get(VERSIONS)).json()["versions"]
        assert listed == {"name": "Old", **item}
        assert (await node.client.get(EVENT, params={"named": "Old"})).json()["document"] == {"title": "One"}
