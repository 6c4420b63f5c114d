"""What retention leaves and takes, in every shape of a gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway.cli.client import GatewayLink
from gateway.hub import replay, retention
from gateway.hub.names import NamedVersion, NamedVersions
from gateway.hub.retention import DAY_MS, Policy
from gateway.ports import OpLog, Record, Snapshot
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


async def named_are_stored_once(node: Served, kept: Policy) -> None:
    """Versions 1 to 5 have names, and two have their documents stored: each other one is rebuilt once, and
    stored before the next one is. When more goes, none is rebuilt or stored again."""
    keeper = type(node.node._backend.keeper)
    rebuilt, stored, read, keep = list[int](), list[int](), replay.document_at, keeper.keep

    async def counted_read(log: OpLog, resource: str, version: int) -> Any:
        assert len(rebuilt) == len(stored), "so one is held at a time"
        rebuilt.append(version)
        return await read(log, resource, version)

    async def counted_keep(self: Any, resource: str, epoch: int, snapshot: Snapshot) -> None:
        stored.append(snapshot.version)
        await keep(self, resource, epoch, snapshot)

    async def unkept(*_: Any) -> None:
        pass

    async def name(*versions: int) -> None:
        for version in versions:
            given = await node.client.put(f"{EVENT}/versions/V{version}", json={"version": version})
            assert given.is_success, given.text

    look = looking(node, kept, node.node.hub.wall_ms)
    with pytest.MonkeyPatch.context() as patch:
        await name(1, 4)
        patch.setattr(keeper, "keep", unkept)
        await name(2, 3, 5)
        patch.setattr(keeper, "keep", counted_keep)
        patch.setattr(replay, "document_at", counted_read)
        await look.look()
        assert (look.changes, rebuilt, stored) == (6, [2, 3, 5, 6], [2, 3, 5])
        rebuilt.clear()
        stored.clear()
        await written(node, EVENT, 1, after=10)
        await looked_until(look, 7)
        assert (rebuilt, stored) == ([7], [])
    for version in range(1, 6):
        named = (await node.client.get(EVENT, params={"named": f"V{version}"})).json()
        assert named["document"] == {"title": f"title {version}"}, named


async def looked_until(look: retention.Retention, changes: int) -> None:
    """Look until so many changes went: the archive gets what is written a moment later."""

    async def gone() -> int:
        await look.look()
        return look.changes

    await until_equal(gone, changes, every_s=0.05)
