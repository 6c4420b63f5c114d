"""Over HTTP: what each change did, who wrote what, and the way back."""

from __future__ import annotations

import httpx
import pytest
import trio

from gateway.errors import LogUnavailable
from tests.http.node import TRANSPORTS, served
from tests.waiting import until

EVENT = "/v1/resources/event/42"
OTHER_HISTORY = "The resource's history is another one now (epoch): resume and resubmit."
LUNCH = {"title": "Lunch", "start_time": "2030-01-01T10:00:00Z", "end_time": "2030-01-01T11:00:00Z"}
DINNER = {"title": "Dinner", "start_time": "2030-01-01T18:00:00Z", "end_time": "2030-01-01T19:00:00Z"}

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


async def written(node) -> None:
    """Three changes: ann creates, bob moves and renames, ann adds a place."""
    editors = {user: node.bearer(user, event="editor") for user in ("ann", "bob")}
    assert (await node.client.put(EVENT, json=LUNCH, headers=editors["ann"])).status_code == 201
    moved = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in DINNER.items()]
    placed = [{"op": "add", "path": "/location", "value": "Room 4"}]
    for version, (user, operations) in enumerate((("bob", moved), ("ann", placed)), 1):
        edit = {"operations": operations, "version": version, "client_id": user}
        answer = await node.client.post(f"{EVENT}/operations", json=edit, headers=editors[user])
        assert answer.status_code == 200, answer.text


async def test_a_history_says_what_each_change_did(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await written(node)
        history = (await node.client.get(f"{EVENT}/history", params={"describe": "true"})).json()
        assert [change["summary"] for change in history["changes"]] == [
            'created "Lunch"',
            'moved from 10:00 to 18:00; changed title from "Lunch" to "Dinner"',
            'set location to "Room 4"',
        ]
        renamed = [entry for entry in history["changes"][1]["difference"] if entry["path"] == "/title"]
        assert renamed == [{"op": "replace", "path": "/title", "value": "Dinner", "was": "Lunch"}]
        # The words of a page don't depend on where it begins, nor on what it leaves out.
        later = {"describe": "true", "from": 2, "user_id": "ann"}
        [change] = (await node.client.get(f"{EVENT}/history", params=later)).json()["changes"]
        assert change["summary"] == 'set location to "Room 4"'
        plain = (await node.client.get(f"{EVENT}/history")).json()
        assert "summary" not in plain["changes"][0]


async def test_a_history_of_one_place(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await written(node)

        async def versions(path: str) -> list[int]:
            answer = (await node.client.get(f"{EVENT}/history", params={"path": path})).json()
            return [change["version"] for change in answer["changes"]]

        assert await versions("/title") == [1, 2]
        assert await versions("/location") == [1, 3]
        assert await versions("/start") == [1]
        assert await versions("") == [1, 2, 3]
        assert (await node.client.get(f"{EVENT}/history", params={"path": "title"})).status_code == 400


async def test_what_is_no_pointer_names_no_place(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"a~2": 1, "a~": 1})
        for path in ("/a~2", "/a~", "a", "/a~0/~"):
            for page in ("history", "blame"):
                answer = await node.client.get(f"{EVENT}/{page}", params={"path": path})
                assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_MESSAGE"), (page, path)
            answer = await node.client.post(f"{EVENT}/restore", json={"version": 1, "path": path})
            assert answer.status_code == 422 and "JSON Pointer" in answer.json()["detail"], path
        for path in ("/a~02", "/a~0"):
            answer = await node.client.get(f"{EVENT}/blame", params={"path": path})
            assert answer.status_code == 200, path


async def test_there_is_nothing_at_a_place_of_thousands_of_digits(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"tags": ["one", "two"]})
        for place, status in (("1", 200), ("2", 404), ("1" * 5000, 404)):
            asked = {"path": f"/tags/{place}"}
            assert (await node.client.get(f"{EVENT}/blame", params=asked)).status_code == status


async def test_blame_names_who_wrote_each_member(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await written(node)
        blame = (await node.client.get(f"{EVENT}/blame")).json()
        found = {line["path"]: (line["user_id"], line["version"]) for line in blame["members"]}
        assert found == {
            "": ("ann", 1),
            "/title": ("bob", 2),
            "/start_time": ("bob", 2),
            "/end_time": ("bob", 2),
            "/location": ("ann", 3),
        }
        then = (await node.client.get(f"{EVENT}/blame", params={"version": 1})).json()
        assert [line["path"] for line in then["members"]] == [""]
        part = (await node.client.get(f"{EVENT}/blame", params={"path": "/title"})).json()
        assert [(line["path"], line["user_id"]) for line in part["members"]] == [("/title", "bob")]
        assert (await node.client.get(f"{EVENT}/blame", params={"path": "/nothing"})).status_code == 404
        assert (await node.client.get(f"{EVENT}/blame", params={"path": "/title/-1"})).status_code == 404
        assert (await node.client.get(f"{EVENT}/blame", params={"version": 9})).status_code in (404, 409)
        stranger = node.bearer("eve", calendar="viewer")
        assert (await node.client.get(f"{EVENT}/blame", headers=stranger)).status_code == 403


async def test_a_change_of_more_operations_than_a_patch_may_have_is_read_like_any_other(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        tags = [f"t{n}" for n in range(1000)]
        await node.client.put(EVENT, json={**LUNCH, "tags": tags, "attendees": []})
        edit = [
            {"op": "replace", "path": "/tags", "value": []},
            {"op": "replace", "path": "/attendees", "value": [{"user_id": "ann"}]},
        ]
        answer = await node.client.post(
            f"{EVENT}/operations", json={"operations": edit, "version": 1, "client_id": "ann"}
        )
        assert answer.status_code == 200, answer.text
        history = (await node.client.get(f"{EVENT}/history", params={"describe": "true"})).json()
        committed = history["changes"][1]
        assert len(committed["operations"]) == 1001 and "summary" in committed
        blame = (await node.client.get(f"{EVENT}/blame", params={"path": "/attendees"})).json()
        assert blame["members"][-1]["version"] == 2


async def test_a_member_or_a_version_comes_back_by_an_ordinary_change(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await written(node)
        editor = node.bearer("eve", event="editor")
        one = {"version": 1, "path": "/title"}
        answer = await node.client.post(f"{EVENT}/restore", json=one, headers=editor)
        assert (answer.status_code, answer.json()["version"]) == (200, 4), answer.text
        document = (await node.client.get(EVENT)).json()["document"]
        assert document == {**DINNER, "title": "Lunch", "location": "Room 4"}
        again = (await node.client.post(f"{EVENT}/restore", json=one, headers=editor)).json()
        assert (again["version"], again["unchanged"]) == (4, True)
        answer = await node.client.post(f"{EVENT}/restore", json={"version": 1}, headers=editor)
        assert answer.json()["version"] == 5
        assert (await node.client.get(EVENT)).json()["document"] == LUNCH
        newest = {"describe": "true", "from": 5}
        [change] = (await node.client.get(f"{EVENT}/history", params=newest)).json()["changes"]
        assert change["user_id"] == "eve"
        assert change["summary"].startswith("moved from 18:00 to 10:00")


async def test_a_restore_that_is_sent_again_is_answered_as_it_was(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await written(node)
        wanted = {"version": 1, "path": "/title", "client_id": "tab", "seq": 1}

        async def restored(**other: object) -> httpx.Response:
            return await node.client.post(f"{EVENT}/restore", json=wanted | other)

        assert (await restored()).json()["version"] == 4
        same = await restored()
        assert (same.status_code, same.json()["version"], same.json()["duplicate"]) == (200, 4, True)
        renamed = [{"op": "replace", "path": "/title", "value": "Supper"}]
        edit = {"operations": renamed, "version": 4, "client_id": "other"}
        assert (await node.client.post(f"{EVENT}/operations", json=edit)).json()["version"] == 5
        again = await restored()
        assert (again.status_code, again.json()["version"]) == (200, 4), again.text
        assert again.json()["duplicate"] is True and again.headers["etag"] == same.headers["etag"]
        assert (await node.client.get(EVENT)).json()["document"]["title"] == "Supper"
        for other in ({"version": 2}, {"path": "/start_time"}):
            reused = await restored(**other)
            assert (reused.status_code, reused.json()["code"]) == (409, "SEQ_REUSED"), other
        assert (await restored(seq=2)).json()["version"] == 6


async def test_what_is_larger_than_a_message_comes_back_too(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        events = [{**LUNCH, "description": letter * 500_000} for letter in "ab"]
        for event in events:
            (await node.client.put(EVENT, json=event)).raise_for_status()

        async def restored(**wanted: object) -> httpx.Response:
            return await node.client.post(f"{EVENT}/restore", json=wanted)

        first = {"version": 1, "client_id": "tab", "seq": 1}
        answer = await restored(**first)
        assert (answer.status_code, answer.json()["version"]) == (200, 3), answer.text
        assert (await node.client.get(EVENT)).json()["document"] == events[0]
        await renamed(node, "Supper", 3)
        again = await restored(**first)
        assert (again.json()["version"], again.json()["duplicate"]) == (3, True), again.text
        reused = await restored(**first | {"version": 2})
        assert (reused.status_code, reused.json()["code"]) == (409, "SEQ_REUSED")
        answer = await restored(version=2, path="/description")
        assert (answer.status_code, answer.json()["version"]) == (200, 5), answer.text
        assert (await node.client.get(EVENT)).json()["document"] == events[1] | {"title": "Supper"}


async def two_larger_than_a_message(node):
    """Two versions of the event."""
    for letter in "ab":
        event = {**LUNCH, "description": letter * 500_000}
        (await node.client.put(EVENT, json=event)).raise_for_status()


async def test_what_is_larger_than_a_message_and_is_sent_again_meanwhile_is_answered_as_it_was(
    tmp_path, transport
):
    async with served(tmp_path, transport) as node:
        await two_larger_than_a_message(node)
        resources, wanted = node.node._resources, {"version": 1, "client_id": "tab", "seq": 1}
        submit = resources.submit

        async def overtaken(*edit):
            resources.submit = submit
            (await node.client.post(f"{EVENT}/restore", json=wanted)).raise_for_status()
            return await submit(*edit)

        resources.submit = overtaken
        answer = await node.client.post(f"{EVENT}/restore", json=wanted)
        assert (answer.status_code, answer.json().get("duplicate")) == (200, True), answer.text
        assert answer.json()["version"] == (await node.client.get(EVENT)).json()["version"] == 3


async def test_what_is_larger_than_a_message_and_is_sent_twice_at_once_is_made_once_and_says_so(
    tmp_path, transport
):
    async with served(tmp_path, transport) as node:
        await two_larger_than_a_message(node)
        log, metrics, answers = node.node.hub.log, node.node.metrics, list[httpx.Response]()
        append = log.append

        async def when_both_are_there(batches):
            await until(lambda: metrics.pending_changes == 2)
            log.append = append
            return await append(batches)

        async def restore():
            wanted = {"version": 1, "client_id": "tab", "seq": 1}
            answers.append(await node.client.post(f"{EVENT}/restore", json=wanted))

        log.append = when_both_are_there
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restore)
            nursery.start_soon(restore)
        assert [answer.status_code for answer in answers] == [200, 200]
        told = [answer.json() for answer in answers]
        assert [answer["version"] for answer in told] == [3, 3]
        assert {answer["id"] for answer in told} == {told[0]["id"]}
        assert sorted("duplicate" in answer for answer in told) == [False, True]
        audit = f"http://127.0.0.1:{node.admin_port}/v1/audit"
        [noted] = (await node.client.get(audit, params={"act": "restore"})).json()["records"]
        assert noted["details"]["version"] == 3


async def test_an_act_whose_answer_is_lost_is_recorded_as_that(tmp_path, transport):
    """Sent again, it is answered as what was done before."""
    async with served(tmp_path, transport) as node:
        await written(node)
        log, wanted = node.node.hub.log, {"version": 1, "path": "/title", "client_id": "tab", "seq": 1}
        append, purge = log.append, log.purge

        async def unheard(batches):
            log.append = append
            await append(batches)
            raise LogUnavailable("the answer was lost", "unknown")

        async def unheard_purge(*given):
            log.purge = purge
            await purge(*given)
            raise LogUnavailable("the answer was lost", "unknown")

        log.append, log.purge = unheard, unheard_purge
        lost = await node.client.post(f"{EVENT}/restore", json=wanted)
        assert (lost.status_code, lost.json()["outcome"]) == (503, "unknown")
        assert (await node.client.post(f"{EVENT}/restore", json=wanted)).json()["duplicate"] is True
        admin = f"http://127.0.0.1:{node.admin_port}"
        lost = await node.client.delete(f"{admin}{EVENT}", params={"purge": "true"})
        assert (lost.status_code, lost.json()["outcome"]) == (503, "unknown")
        noted = (await node.client.get(f"{admin}/v1/audit")).json()["records"]
        found = {record["act"]: (record["result"], record["details"]) for record in noted}
        assert found == {"restore": ("unknown", {"from": 1, "path": "/title"}), "purge": ("unknown", {})}


async def test_what_is_large_and_deeper_than_usual_comes_back_as_deep_as_documents_may_be(
    tmp_path, transport
):
    deep: object = "x" * 300_000
    for _ in range(100):
        deep = [deep]
    async with served(tmp_path, transport, limits={"depth_max": 200}) as node:
        for event in ({**LUNCH, "x": deep}, LUNCH):
            (await node.client.put(EVENT, json=event)).raise_for_status()
        answer = await node.client.post(f"{EVENT}/restore", json={"version": 1})
        assert (answer.status_code, answer.json()["version"]) == (200, 3), answer.text
        assert (await node.client.get(EVENT)).json()["document"] == {**LUNCH, "x": deep}


@pytest.mark.parametrize("length", [10, 500_000])
async def test_a_restore_by_nobody_is_refused_however_large_it_is(tmp_path, transport, length):
    """A change without a client was given to the log, which refused what it stores together with it."""
    async with served(tmp_path, transport) as node:
        for letter in "ab":
            event = {**LUNCH, "description": letter * length}
            (await node.client.put(EVENT, json=event)).raise_for_status()
        answer = await node.client.post(f"{EVENT}/restore", json={"version": 1, "client_id": None})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_MESSAGE"), answer.text


async def renamed(node, title: str, version: int) -> None:
    """Somebody changes the title."""
    edit = {"op": "replace", "path": "/title", "value": title}
    payload = {"operations": [edit], "version": version, "client_id": "other"}
    answer = await node.client.post(f"{EVENT}/operations", json=payload)
    assert answer.json()["version"] == version + 1, answer.text


async def test_what_is_larger_than_a_message_comes_back_over_nothing_that_others_wrote(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for letter in "ab":
            event = {**LUNCH, "description": letter * 300_000}
            (await node.client.put(EVENT, json=event)).raise_for_status()
        resources = node.node._resources
        submit = resources.submit

        async def overtaken(*edit):
            resources.submit = submit
            await renamed(node, "Supper", 2)
            return await submit(*edit)

        resources.submit = overtaken
        answer = await node.client.post(f"{EVENT}/restore", json={"version": 1})
        assert (answer.status_code, answer.json()["code"]) == (412, "CONFLICT")
        assert (await node.client.get(EVENT)).json()["document"] == event | {"title": "Supper"}
        assert (await node.client.post(f"{EVENT}/restore", json={"version": 1})).json()["version"] == 4


async def test_a_restore_that_cannot_be_says_why(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await written(node)

        async def refused(body: object, **headers: str) -> tuple[int, str]:
            answer = await node.client.post(f"{EVENT}/restore", json=body, headers=headers or None)
            return answer.status_code, answer.json()["detail"]

        assert (await refused({"version": 1, "path": "/nothing"}))[0] == 422
        assert (await refused({"version": 0}))[0] == 400
        assert (await refused({"version": True}))[0] == 400
        assert (await refused({"version": 1, "operations": []}))[0] == 400
        assert (await refused([1]))[0] == 400
        assert (await refused({"version": 99}))[0] == 404
        for wrong in ({"seq": "1"}, {"epoch": "1"}, {"client_id": ""}, {"on_conflict": "ask"}):
            assert (await refused({"version": 3, **wrong}))[0] == 400, "though nothing is to be restored"
        for version in (1, 3, 99):
            assert await refused({"version": version, "epoch": 1}) == (409, OTHER_HISTORY)
        viewer = node.bearer("eve", event="viewer")
        assert (await refused({"version": 1}, **viewer))[0] == 403
        assert (await node.client.get(EVENT)).json()["version"] == 3


async def test_large_changes_are_read_a_few_at_a_time(tmp_path, transport):
    """By blame and by a history: who asks for many at once must not take the node's memory."""
    async with served(tmp_path, transport) as node:
        for version in range(1, 41):
            event = {**LUNCH, "description": f"{version:02}" * 200_000}
            (await node.client.put(EVENT, json=event)).raise_for_status()
        log, read_bytes = node.node.hub.log, list[int]()
        read = log.read

        async def watched(*wanted):
            records = await read(*wanted)
            read_bytes.append(sum(len(record.body) for record in records))
            return records

        log.read = watched
        for asked in ("blame", "history?user_id=nobody"):
            read_bytes.clear()
            (await node.client.get(f"{EVENT}/{asked}")).raise_for_status()
            assert sum(read_bytes) >= 40 * 400_000
            assert max(read_bytes) <= 2 * 500_000


async def test_a_change_that_takes_long_to_be_told_in_words_is_told_in_short(tmp_path, transport):
    """100 places of 60 levels each, and 100 copies of an array of 50,000."""
    depth, event = 60, {"list": [0] * 50_000}
    place = event
    for _ in range(depth):
        place["in"] = place = {}
    async with served(tmp_path, transport) as node:
        (await node.client.put(EVENT, json=event)).raise_for_status()
        for version, path in enumerate(("/in" * depth, "/list/7"), 1):
            patch = [{"op": "replace", "path": path, "value": 1}] * 100
            edit = {"client_id": "c1", "version": version, "operations": patch}
            (await node.client.post(f"{EVENT}/operations", json=edit)).raise_for_status()
            asked = {"from": version + 1, "describe": "true"}
            [change] = (await node.client.get(f"{EVENT}/history", params=asked)).json()["changes"]
            assert change["summary"] == "changed 100 places at once"
            assert "difference" not in change


async def test_blame_of_long_paths_asks_for_a_part(tmp_path, transport):
    name = "n" * 2000
    async with served(tmp_path, transport) as node:
        (
            await node.client.put(EVENT, json={name: {f"m{number}": 0 for number in range(600)}})
        ).raise_for_status()
        for version, first in enumerate(range(0, 600, 50), 1):
            patch = [
                {"op": "replace", "path": f"/{name}/m{number}", "value": 1}
                for number in range(first, first + 50)
            ]
            edit = {"client_id": "c1", "version": version, "operations": patch}
            (await node.client.post(f"{EVENT}/operations", json=edit)).raise_for_status()
        refused = await node.client.get(f"{EVENT}/blame")
        assert (refused.status_code, refused.json()["code"]) == (413, "TOO_LARGE")
        part = await node.client.get(f"{EVENT}/blame", params={"path": f"/{name}/m5"})
        assert [line["version"] for line in part.json()["members"]] == [2]
