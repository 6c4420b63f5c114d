"""What retention leaves and takes, in every shape of a gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway.cli.client import GatewayLink
from gateway.hub import retention
from gateway.hub.names import NamedVersion, NamedVersions
from gateway.hub.retention import DAY_MS, Policy
from gateway.ports import Record
from tests.http.node import Served
from tests.waiting import PATIENCE_S, until_equal

EVENT = "/v1/resources/event/42"


async def written(node: Served, url: str, count: int, after: int = 0) -> None:
    for number in range(after + 1, after + count + 1):
        assert (await node.client.put(url, json={"title": f"title {number}"})).is_success


async def gone(node: Served, url: str, upto: int) -> None:
    """Until these versions are gone."""

    async def first() -> int:
        history = (await node.client.get(f"{url}/history")).json()
        version: int = history["changes"][0]["version"]
        return version

    await until_equal(first, upto + 1, every_s=0.05)


ANSWERS = ("SUBSCRIBE_ACK", "OP_ACK", "UNDO_ACK", "ERROR")


async def asked(link: GatewayLink, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The answer to a message."""
    await link.send(kind, payload, "asked")
    with trio.fail_after(PATIENCE_S):
        while (message := await link.receive())["type"] not in ANSWERS:
            pass
    return message


MINE = [{"op": "replace", "path": "/title", "value": "mine"}]


async def taken_unseen(node: Served) -> None:
    """One edit (`seq` 1) makes version 2; its author is gone before the answer."""
    await written(node, EVENT, 1)
    async with node.linked("away") as away:
        await asked(away, "SUBSCRIBE", {"resource": "event", "resource_id": "42"})
        edit = {"resource_type": "event", "resource_id": "42", "client_id": "away", "seq": 1}
        taken = await asked(away, "OP", {**edit, "version": 1, "operations": MINE})
        assert taken["payload"]["version"] == 2, taken


async def known_again(node: Served) -> None:
    """The author comes back: whatever it does about its edit, it is told that it was taken."""
    named = {"resource_type": "event", "resource_id": "42", "client_id": "away"}
    async with node.linked("away") as away:
        answer = await asked(away, "SUBSCRIBE", {"resource": "event", "resource_id": "42", "version": 1})
        told = answer["payload"]
        assert (answer["type"], told.get("seq_last")) == ("SUBSCRIBE_ACK", 1), answer
        head = told["version"]

        async def sent(version: int, seq: int) -> dict[str, Any]:
            edit = {**named, "version": version, "seq": seq, "operations": MINE}
            found: dict[str, Any] = (await asked(away, "OP", edit))["payload"]
            return found

        again = await sent(1, 1)
        assert (again.get("version"), again.get("duplicate")) == (2, True), again
        merged = await sent(head, 1)
        assert (merged.get("code"), merged["version"]) == ("SEQ_REUSED", 2), merged
        fresh = await sent(head, 2)
        assert fresh["version"] == head + 1, fresh


def submitted(version: int, client_id: str = "c") -> Record:
    """A change whose `seq` is its version, made at a hundred times that."""
    body = b'{"version":%d,"operations":[]}' % version
    return Record(version, body, "ann", client_id, version, f"digest {version}", version * 100, None)


def looking(node: Served, kept: Policy, now_ms: Callable[[], int]) -> retention.Retention:
    """Retention of this node by a rule, at a time."""
    keeper = node.node._backend.keeper
    assert keeper is not None
    names, log = node.node._resources.names, node.node.hub.log
    return retention.Retention(log, keeper, names, lambda: kept.of(now_ms()), lambda: now_ms() - DAY_MS)


async def named_while_history_goes(node: Served, kept: Policy) -> None:
    """Version 3 gets a name after it was found that nobody gave it one, and before it goes."""
    of = NamedVersions.of

    async def of_before(names: NamedVersions, resource: str) -> list[NamedVersion]:
        found = await of(names, resource)
        if not found:
            assert (await node.client.put(f"{EVENT}/versions/Late", json={"version": 3})).is_success
        return found

    look = looking(node, kept, node.node.hub.wall_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NamedVersions, "of", of_before)
        for _ in range(2):
            await look.look()
    assert look.changes == 6
    named = (await node.client.get(EVENT, params={"named": "Late"})).json()
    assert named["document"] == {"title": "title 3"}, named
    # One that is there no more gets none.
    late = await node.client.put(f"{EVENT}/versions/Later", json={"version": 4})
    assert (late.status_code, late.json()["code"]) == (410, "VERSION_TOO_OLD"), late.text
    assert [item["name"] for item in (await node.client.get(f"{EVENT}/versions")).json()["versions"]] == [
        "Late"
    ]


async def gone_with_its_last_name(node: Served, kept: Policy) -> None:
    """Version 3 has two names when its history goes: it stays until both are other ones', or nobody's."""
    for name in ("First", "Second"):
        assert (await node.client.put(f"{EVENT}/versions/{name}", json={"version": 3})).is_success
    look = looking(node, kept, node.node.hub.wall_ms)
    await look.look()
    assert look.changes == 6
    assert (await node.client.delete(f"{EVENT}/versions/First")).is_success
    third = (await node.client.get(EVENT, params={"version": 3})).json()
    assert third["document"] == {"title": "title 3"}, third
    assert (await node.client.put(f"{EVENT}/versions/Second", json={"version": 6})).is_success
    assert (await node.client.get(EVENT, params={"version": 3})).status_code == 410
    # What all others are rebuilt from stays, and so does what has its history.
    assert (await node.client.delete(f"{EVENT}/versions/Second")).is_success
    assert (await node.client.put(f"{EVENT}/versions/Third", json={"version": 8})).is_success
    assert (await node.client.delete(f"{EVENT}/versions/Third")).is_success
    for version in range(6, 11):
        found = (await node.client.get(EVENT, params={"version": version})).json()
        assert found["document"] == {"title": f"title {version}"}, found
