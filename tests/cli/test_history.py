"""`gateway history` as a person runs it, beside a gateway that serves."""

from __future__ import annotations

import json
from pathlib import Path

import orjson

from gateway.cli.history import SPAN
from gateway.hub import retention
from gateway.log.backup_file import write_backup
from gateway.log.sqlite import backup
from gateway.ports import Record, Snapshot
from tests.cli.commands import gateway, instant, served
from tests.http.node import Served
from tests.http.node import served as node_served
from tests.waiting import until_equal

EVENT = "/v1/resources/event/42"
CREATED = (
    '[{"op": "add", "path": "/title", "value": "Lunch"}, {"op": "add", "path": "/tags", "value": ["food"]}]'
)
RETITLED = '{"op": "replace", "path": "/title", "value": "Dinner"}'


async def test_who_changed_what_and_the_way_back(tmp_path):
    async with served(tmp_path / "data") as server:
        said = server.said

        await said("edit", "event:42", "--create", CREATED, "--user", "ann")
        await said("edit", "event:42", RETITLED, "--user", "bob")
        first, second = (await said("history", "event:42")).splitlines()
        assert first.endswith('ann: created "Lunch"')
        assert second.endswith('bob: changed title from "Lunch" to "Dinner"')
        assert (await said("history", "event:42", "--limit", "1")).splitlines() == [second]
        assert (await said("history", "event:42", "--user", "ann")).splitlines() == [first]
        assert json.loads(await said("history", "event:42", "--path", "/title", "--limit", "1", "--json"))

        whole, title = (await said("history", "event:42", "--blame")).splitlines()
        assert whole.startswith("(the document)") and whole.endswith("ann")
        assert title.startswith("/title") and title.endswith("bob")

        restoring = ("history", "event:42", "--restore", "1", "--path", "/title")
        assert await said(*restoring) == "event:42 is at version 3\n"
        assert await said(*restoring) == "event:42 is so already, at version 3\n"

        (named,) = (await said("history", "event:42", "--name", "As agreed, 1", "--at", "1")).splitlines()
        assert named.startswith("     1  ") and "As agreed, 1" in named
        await said("edit", "event:42", RETITLED, "--user", "bob")
        assert await said("history", "event:42", "--restore", "As agreed, 1") == (
            "event:42 is at version 5\n"
        )
        assert await said("history", "event:42", "--name", "Now") != ""
        assert len((await said("history", "event:42", "--names")).splitlines()) == 2
        (left,) = (await said("history", "event:42", "--unname", "As agreed, 1")).splitlines()
        assert left.startswith("     5  ")
        nobody = await server.run("history", "event:42", "--restore", "nobody")
        assert (nobody.status, "has the name 'nobody'" in nobody.err) == (1, True)

        # The client of HTTP would take the dots out of the path, and write or delete the event itself.
        for option in ("--name", "--unname"):
            for name in ("..", ".", " ", "", "a/b", "x" * 101):
                wrong = await server.run("history", "event:42", option, name)
                assert (wrong.status, "printable characters" in wrong.err) == (2, True), (option, name)
        one = await server.run("history", "event:42", "--blame", "--names")
        assert (one.status, "--blame or --names" in one.err) == (2, True)
        none = await server.run("history", "event:nobodys")
        assert (none.status, none.out, "no such changes" in none.err) == (0, "", True)

        refused = await server.run("history", "event:42", "--restore", "99")
        assert (refused.status, "ends at version 5" in refused.err) == (1, True)
        wrong = await server.run("history", "event:42", "--blame", "--user", "ann")
        assert (wrong.status, "--user choose changes" in wrong.err) == (2, True)


async def test_changes_are_chosen_by_their_time(tmp_path):
    async with served(tmp_path / "data") as server:
        for words in (("--create", CREATED), (RETITLED,)):
            await server.said("edit", "event:42", *words)
        first, second = (await server.said("history", "event:42")).splitlines()
        told = (await server.said("history", "event:42", "--json")).splitlines()
        begun, changed = (instant(json.loads(change)["timestamp"]) for change in told)

        async def chosen(*words: str) -> list[str]:
            return (await server.said("history", "event:42", *words)).splitlines()

        assert await chosen("--since", begun) == [first, second]
        assert await chosen("--since", changed) == [second]
        assert await chosen("--until", changed) == [first]
        assert await chosen("--since", begun, "--until", begun) == []
        wrong = await server.run("history", "event:42", "--since", "yesterday")
        assert (wrong.status, "an instant such as 2030-01-31T09:00:00Z" in wrong.err) == (1, True)


async def test_a_long_history_is_read_from_its_newest_end_and_down_to_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0.0)
    monkeypatch.setattr(retention, "INTERVAL_S", 0.1)
    limits = {"reads_per_minute": 0}
    async with node_served(tmp_path, "portable", limits=limits) as node:
        await first_by_bob(node, SPAN + 21)
        assert await versions(node) == list(range(SPAN + 2, SPAN + 22))
        assert await versions(node, "--limit", "3") == list(range(SPAN + 19, SPAN + 22))
        assert await versions(node, "--user", "bob") == [1]
        assert (await node.client.delete(EVENT)).is_success
        assert await versions(node, "--limit", "2") == [SPAN + 21, SPAN + 22], "deleted, its history stays"
    keeping = {"changes": {"event": "4"}}
    async with node_served(tmp_path, "portable", limits=limits, retention=keeping) as node:
        kept = list(range(SPAN + 19, SPAN + 23))

        async def there() -> int:
            return len((await node.client.get(f"{EVENT}/history")).json()["changes"])

        await until_equal(there, 4, every_s=0.05)
        assert await versions(node) == kept
        assert await versions(node, "--user", "ann") == kept


def with_its_newest_version_alone(data: Path) -> None:
    """A node's data from a backup that had of its event the document of version 12, and that change."""
    event = {"title": "Lunch"}
    file = data.parent / "backup"
    change = {"operations": [{"op": "replace", "path": "/title", "value": "Lunch"}], "timestamp": 1000}
    change |= {"version": 12, "client_id": "tab", "user_id": "bob", "op_id": "o"}
    with write_backup(file) as writer, writer.resource("event:42", 1) as number:
        writer.add_snapshot(number, Snapshot(12, orjson.dumps(event)))
        writer.add(number, [Record(12, orjson.dumps(change), "bob", "tab", None, "", 1000, None)])
    backup.restore(file, data, replace=False)


async def test_a_history_whose_first_change_was_made_on_a_document_that_is_not_kept_is_told(tmp_path):
    with_its_newest_version_alone(tmp_path / "data")
    async with node_served(tmp_path / "data", "portable") as node:
        assert await versions(node) == [12]
        assert (await node.client.put(EVENT, json={"title": "Dinner"})).is_success
        assert await versions(node) == [12, 13]
        for described in ({"describe": "true"}, {"describe": "true", "from": 12}):
            answer = await node.client.get(f"{EVENT}/history", params=described)
            first, second = answer.json()["changes"]
            assert (first["summary"], "difference" in first) == ("changed 1 place", False)
            assert (second["summary"], "difference" in second) == (
                'changed title from "Lunch" to "Dinner"',
                True,
            )
        gone = await node.client.get(f"{EVENT}/history", params={"describe": "true", "from": 11})
        assert (gone.status_code, gone.json()["version"]) == (410, 11)


async def test_blame_tells_what_is_known_though_the_oldest_change_was_made_on_nothing_that_is_kept(tmp_path):
    with_its_newest_version_alone(tmp_path / "data")
    async with node_served(tmp_path / "data", "portable") as node:
        assert (await said(node, "history", "event:42", "--blame")).split() == [
            *("(the", "document)", "before", "version", "13")
        ]
        placed = {
            "version": 12,
            "client_id": "c",
            "operations": [{"op": "add", "path": "/place", "value": "4"}],
        }
        answer = await node.client.post(f"{EVENT}/operations", json=placed)
        assert answer.is_success, answer.text
        whole, place = (await said(node, "history", "event:42", "--blame")).splitlines()
        assert whole.endswith("before version 13")
        assert place.split()[:2] == ["/place", "13"]
        blame = (await node.client.get(f"{EVENT}/blame")).json()
        assert (blame["after"], blame["members"][0]) == (12, {"path": "", "version": 0})


async def said(node: Served, *words: str) -> str:
    """What a command says of this node."""
    reach = {
        "GATEWAY_ADMIN_URL": f"http://127.0.0.1:{node.port}",
        "GATEWAY_TOKEN": node.token({"*": "admin"}),
    }
    done = await gateway(*words, **reach)
    assert done.status == 0, done.err
    return done.out


async def versions(node: Served, *words: str) -> list[int]:
    """Which `gateway history` lists."""
    listed = await said(node, "history", "event:42", *words)
    return [int(line.split()[0]) for line in listed.splitlines()]


async def first_by_bob(node: Served, count: int) -> None:
    """So many changes: one by bob, the others by ann."""
    bob = node.bearer("bob", event="editor")
    assert (await node.client.put(EVENT, json={"title": "title"}, headers=bob)).is_success
    for number in range(1, count):
        assert (await node.client.put(EVENT, json={"title": f"title {number}"})).is_success


async def test_without_a_gateway_it_says_so(tmp_path):
    words = ("history", "event:42", "--admin", "http://127.0.0.1:9", "--data", str(tmp_path))
    done = await gateway(*words, "--token", "x")
    assert done.status == 3
    assert "no gateway answers" in done.err
