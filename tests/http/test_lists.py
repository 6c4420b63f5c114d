"""Lists over HTTP: what was just written is there, by calendar and time, as far as the token grants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from gateway.cli.client import GatewayLink, Message
from gateway.http import lists
from gateway.ports import Question
from gateway.sessions import children
from tests.http.listing import LIST, july, listed
from tests.http.node import TRANSPORTS, Served, served
from tests.waiting import PATIENCE_S


async def received(link: GatewayLink, kind: str) -> Message:
    """The payload of the next message of a kind."""
    while (message := await link.receive())["type"] != kind:
        assert message["type"] != "ERROR", message
    return message["payload"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_month_is_listed_as_it_is_edited(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for day in (3, 1, 2):
            await node.client.put(f"{LIST}/{day}", json=july(day))
        await node.client.put(f"{LIST}/other", json=july(2, calendar_id="8"))
        month = {"calendar_id": "7", "from": "2030-07-01T00:00:00Z", "to": "2030-08-01T00:00:00Z"}
        assert await listed(node, **month) == ["1", "2", "3"]
        assert await listed(node, **month, limit=2) == ["1", "2", "3"]
        item = (await node.client.get(LIST, params=month)).json()["items"][0]
        assert item == {"resource": "event", "resource_id": "1", "version": 1, **july(1)}
        moved = {"op": "replace", "path": "/start_time", "value": "2030-06-01T09:00:00Z"}
        ended = {"op": "replace", "path": "/end_time", "value": "2030-06-01T10:00:00Z"}
        edit = {"operations": [moved, ended], "version": 1, "client_id": "c"}
        assert (await node.client.post(f"{LIST}/2/operations", json=edit)).status_code == 200
        await node.client.delete(f"{LIST}/3")
        assert await listed(node, **month) == ["1"]
        assert await listed(node, to="2030-07-01T00:00:00Z") == ["2"]


async def test_a_list_goes_on_where_the_children_told_over_a_websocket_end(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "ITEMS_MAX", 1)
    wanted = {"resource": "calendar", "resource_id": "7", "children": True}
    async with served(tmp_path, "fast") as node, node.linked() as link:
        with trio.fail_after(PATIENCE_S):
            await link.send("SUBSCRIBE", wanted)
            assert (await received(link, "CHILDREN"))["items"] == []
            for day in (2, 1, 3):
                await node.client.put(f"{LIST}/{day}", json=july(day))
            told = set()
            while len(told) < 3:
                told.add((await received(link, "CHILD_CHANGED"))["item"]["resource_id"])
            await link.send("SUBSCRIBE", wanted)
            page = await received(link, "CHILDREN")
        assert [item["resource_id"] for item in page["items"]] == ["1"]
        assert await listed(node, calendar_id="7", after=page["next"]) == ["2", "3"]


async def test_only_what_the_token_grants_is_listed(tmp_path):
    async with served(tmp_path, "fast") as node:
        for day in range(1, 10):
            await node.client.put(f"{LIST}/{day}", json=july(day))
        some = {"Authorization": f"Bearer {node.token({'event:3': 'viewer', 'event:7': 'editor'})}"}
        assert await listed(node, headers=some) == ["3", "7"]
        assert await listed(node, headers=some, limit=1) == ["3", "7"]
        assert await listed(node, headers=node.bearer(calendar="admin")) == []
        refused = await node.client.get(LIST, headers={"Authorization": ""})
        assert refused.status_code == 401


async def test_lists_are_reads_of_who_asks_and_so_are_their_bytes(tmp_path):
    limits = {"reads_per_minute": 1, "reads_burst": 3}
    async with served(tmp_path, "fast", limits=limits) as node:
        bob, carl = (node.bearer(user, event="viewer") for user in ("bob", "carl"))
        answers = [(await node.client.get(LIST, headers=bob)).status_code for _ in range(5)]
        assert (answers[0], 429 in answers) == (200, True)
        for number in range(100):
            event = {"title": "\U0001f4c5" * 500}
            assert (await node.client.put(f"{LIST}/{number}", json=event)).is_success
        large = await node.client.get(LIST, headers=carl)
        assert (large.status_code, len(large.content) > 200_000) == (200, True)
        assert (await node.client.get(LIST, headers=carl)).json()["code"] == "RATE_LIMITED"


async def test_what_a_list_does_not_understand_is_refused(tmp_path):
    async with served(tmp_path, "fast") as node:
        for params in ({"form": 1}, {"from": "soon"}, {"limit": 0}, {"after": "x"}, {"from": "2030-07-01"}):
            assert (await node.client.get(LIST, params=params)).status_code == 400
        for calendar in ("", "\0", "a b", "'", "x" * 129):
            answer = await node.client.get(LIST, params={"calendar_id": calendar})
            assert (answer.status_code, "calendar_id" in answer.json()["detail"]) == (400, True)
        assert (await node.client.get("/v1/resources/nothing")).status_code == 404


async def test_an_index_that_is_lost_or_was_never_there_is_made_again_from_the_log(tmp_path):
    async with served(tmp_path, "fast") as node:
        for day in range(1, 5):
            await node.client.put(f"{LIST}/{day}", json=july(day))
        await trio.lowlevel.checkpoint()
    for left in tmp_path.glob("summaries*"):
        left.unlink()
    async with served(tmp_path, "fast") as node:
        assert await listed(node) == ["1", "2", "3", "4"]


async def write_secrets_between(node: Served) -> None:
    for day, name in enumerate(("see-1", *(f"secret-{number}" for number in range(9)), "see-2"), 1):
        await node.client.put(f"{LIST}/{name}", json=july(day))


async def test_next_names_only_what_may_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lie between that the token doesn't grant, or the authoriser hides."""
    monkeypatch.setattr(lists, "PAGE", 2)
    monkeypatch.setattr(lists, "SCANNED_MAX", 4)
    some = {"event:1": "viewer", "event:see*": "viewer"}
    async with served(tmp_path, "fast") as node:
        await write_secrets_between(node)
        headers = {"Authorization": f"Bearer {node.token(some)}"}
        for limit in (1, 2, 3):
            assert await listed(node, headers, limit=limit) == ["see-1", "see-2"]
    async with served(tmp_path, "fast", authoriser={"hook": f"{__name__}:hiding_secrets"}) as node:
        for limit in (1, 2, 3):
            assert await listed(node, limit=limit) == ["see-1"]
            # What lies behind so many is found where the list begins there.
            assert await listed(node, **{"from": "2030-07-09T00:00:00Z", "limit": limit}) == ["see-2"]


async def test_a_list_goes_on_behind_whatever_is_hidden_where_the_authoriser_tells_what_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PAGE", 2)
    monkeypatch.setattr(lists, "SCANNED_MAX", 4)
    hooks = {"hook": f"{__name__}:hiding_secrets", "visible": f"{__name__}:telling_seen"}
    async with served(tmp_path, "fast") as node:
        await write_secrets_between(node)
    async with served(tmp_path, "fast", authoriser=hooks) as node:
        for limit in (1, 2, 3):
            assert await listed(node, limit=limit) == ["see-1", "see-2"]
        one = {"Authorization": f"Bearer {node.token({'event:see-2': 'viewer'})}"}
        assert await listed(node, one) == ["see-2"]  # the token is a ceiling
        monkeypatch.setitem(TOLD, "event", None)
        assert await listed(node, limit=1) == ["see-1"]  # it may not tell: then what was found is decided
        for wrong in ("see-1", ["see 1"], [1], ["x"] * 20_001):
            monkeypatch.setitem(TOLD, "event", wrong)
            answer = await node.client.get(LIST)
            assert (answer.status_code, "see" in answer.text.replace("may see", "")) == (503, False)


def telling_seen(user_id: str, resource_type: str) -> object:
    """What an authoriser tells that somebody may see."""
    return TOLD[resource_type]


TOLD: dict[str, object] = {"event": ["see-2", "see-1", "never-written"]}


def hiding_secrets(questions: Sequence[Question]) -> list[str | None]:
    """An authoriser."""
    return [None if "secret" in question.resource_id else "viewer" for question in questions]
