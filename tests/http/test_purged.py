"""After a purge no file of a lone node has anything of the document."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.http import authorship
from gateway.node.resources import HubResources
from gateway.ports.resources import Resource
from tests.http.node import Served
from tests.http.searching import EVENT, searchable, until_found
from tests.waiting import until, until_equal

# Each character, four bytes of UTF-8, is nowhere else.
OLD = "\U0002000a\U0002100b\U0002200c"
NEW = "\U0002301a\U0002401b\U0002501c"
NAME = "\U0002601a\U0002701b\U0002801c"
TAGGED = {"op": "add", "path": "/tags/-", "value": "t"}


def left(data: Path) -> dict[str, str]:
    """Which files have a part of it."""
    texts = [text[at].encode() for text in (OLD, NEW, NAME) for at in range(3)]
    found = {}
    for path in data.iterdir():
        try:
            held = path.read_bytes()
        except FileNotFoundError:  # it is no more
            continue
        parts = [text.decode() for text in texts if text in held]
        if parts:
            found[path.name] = " ".join(parts)
    return found


async def test_a_purge_leaves_nothing_of_a_document_in_any_file(tmp_path: Path) -> None:
    async with searchable(tmp_path) as node:
        others = [f"/v1/resources/event/{number}" for number in range(20)]
        for path in others:
            await node.client.put(path, json={"title": "lunch"})
        for title in (OLD, NEW):
            assert (await node.client.put(EVENT, json={"title": title, "calendar_id": "c"})).is_success
        named = await node.client.put(f"{EVENT}/versions/{NAME}", json={"version": 1})
        assert named.status_code == 200, named.text
        await until_found(node, 1, q=OLD)
        await until_found(node, 2, q=NEW)

        async def listed() -> bool:
            return NEW in (await node.client.get("/v1/resources/event")).text

        await until(listed, every_s=0.05)
        assert left(tmp_path)
        admin = f"http://127.0.0.1:{node.admin_port}{EVENT}"
        assert (await node.client.delete(admin, params={"purge": "true"})).status_code == 200
        await until_equal(partial(left, tmp_path), {}, every_s=0.05)
        await until_found(node, 40, q="lunch", limit=100)


async def rewritten(node: Served) -> None:
    """Erase the history, and write another."""
    await node.purge(EVENT)
    await node.client.put(EVENT, json={"tags": []})
    for version in (1, 2):
        edit = {"version": version, "client_id": "c", "operation": TAGGED}
        assert (await node.client.post(f"{EVENT}/operations", json=edit)).is_success


async def test_who_has_a_history_described_while_it_is_erased_is_to_ask_again(tmp_path, monkeypatch) -> None:
    """Its document is of the old history, its changes are of the new one."""
    async with searchable(tmp_path) as node:
        for title in ("one", "two", "three"):
            await node.client.put(EVENT, json={"title": title})
        history = HubResources.history

        async def erased_first(*given: Any) -> Sequence[bytes]:
            monkeypatch.setattr(HubResources, "history", history)
            await rewritten(node)
            return await history(*given)

        monkeypatch.setattr(HubResources, "history", erased_first)
        asked = {"from": 3, "describe": "true"}
        answer = await node.client.get(f"{EVENT}/history", params=asked)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT"), answer.text
        again = await node.client.get(f"{EVENT}/history", params=asked)
        assert [change["version"] for change in again.json()["changes"]] == [3]


@pytest.mark.parametrize(("page", "erased_after"), [(500, 0), (1, 1)])
async def test_who_asks_who_wrote_what_while_it_is_erased_is_to_ask_again(
    tmp_path, monkeypatch, page, erased_after
) -> None:
    """Changes of two histories, and changes of the new one alone, say nothing of the old document."""
    monkeypatch.setattr(authorship, "PAGE", page)
    async with searchable(tmp_path) as node:
        for title in ("one", "two", "three"):
            await node.client.put(EVENT, json={"title": title})
        history = HubResources.history

        async def erased_before(resources: Any, resource: Resource, after: int, most: int) -> Sequence[bytes]:
            if after == erased_after:
                monkeypatch.setattr(HubResources, "history", history)
                await rewritten(node)
            return await history(resources, resource, after, most)

        monkeypatch.setattr(HubResources, "history", erased_before)
        answer = await node.client.get(f"{EVENT}/blame")
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT"), answer.text
        again = await node.client.get(f"{EVENT}/blame")
        assert "/tags/0" in {line["path"] for line in again.json()["members"]}
