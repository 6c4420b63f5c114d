"""What the authors of concurrent edits are told, and what they can do about it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.clients.desk import EVENT, created, op, sharing, signed_in, state, submit, subscribe
from tests.clients.gateway import Gateway
from tests.clients.wire import Refused, Wire
from tests.operations import replace
from tests.waiting import PATIENCE_S

TITLES = {"index": 0, "path": "/title", "base": EVENT["title"], "theirs": "ann's", "user_id": "ann"}


async def refused(client: Wire, resource: str, version: int, *operations: Any, **further: Any) -> Any:
    with pytest.raises(Refused) as caught:
        await submit(client, resource, version, *operations, on_conflict="refuse", **further)
    return caught.value.payload


async def test_the_later_author_is_told_whose_value_was_overwritten(node: Gateway) -> None:
    async with sharing(node) as (ann, bob, resource):
        first = await submit(ann, resource, 1, replace("/title", "ann's"))
        ack = await submit(bob, resource, 1, replace("/title", "bob's"))
        assert "conflicts" not in first
        (conflict,) = ack["conflicts"]
        assert conflict.pop("timestamp") > 0
        assert conflict == {**TITLES, "kind": "overwrote", "version": 2}
        assert (await state(ann, resource))[1]["title"] == "bob's"


async def test_an_edit_of_what_was_removed_says_that_it_was_dropped(node: Gateway) -> None:
    async with sharing(node, value={**EVENT, "attendees": [{"user_id": "bob"}]}) as (ann, bob, resource):
        await submit(ann, resource, 1, {"op": "remove", "path": "/attendees/0"})
        rsvp = {"op": "add", "path": "/attendees/0/response_status", "value": "ACCEPTED"}
        ack = await submit(bob, resource, 1, rsvp)
        assert ack["operations"] == []
        (conflict,) = ack["conflicts"]
        assert (conflict["kind"], conflict["path"]) == ("dropped", "/attendees/0/response_status")
        assert "theirs" not in conflict


async def test_what_merges_has_no_conflicts(node: Gateway) -> None:
    async with sharing(node, value={**EVENT, "tags": ["a", "b"]}) as (ann, bob, resource):
        await submit(ann, resource, 1, {"op": "remove", "path": "/tags/0"})
        again = await submit(bob, resource, 1, {"op": "remove", "path": "/tags/0"}, on_conflict="refuse")
        other = await submit(bob, resource, 1, replace("/tags/1", "c"), on_conflict="refuse")
        assert "conflicts" not in again
        assert "conflicts" not in other
        assert (await state(ann, resource))[1]["tags"] == ["c"]


async def test_an_item_of_a_set_that_is_given_the_id_of_another_keeps_its_own(node: Gateway) -> None:
    async with sharing(node, value={**EVENT, "attendees": [{"user_id": "eva"}]}) as (ann, bob, resource):
        await submit(ann, resource, 1, {"op": "add", "path": "/attendees/-", "value": {"user_id": "max"}})
        given = replace("/attendees/0/user_id", "max")
        ack = await submit(bob, resource, 1, given, replace("/title", "bob's"))
        assert ack["operations"] == [replace("/title", "bob's")]
        (conflict,) = ack["conflicts"]
        assert conflict.pop("timestamp") > 0
        path = "/attendees/1/user_id"
        said = {"index": 0, "path": path, "kind": "dropped", "base": "eva", "theirs": "max"}
        assert conflict == {**said, "user_id": "ann", "version": 2}
        alone = await submit(bob, resource, 3, given)  # whose author knew
        assert (alone["operations"], alone["conflicts"]) == ([], [said])
        # Nobody else's change is in the way, so there is nothing to choose.
        again = await submit(bob, resource, 4, given, on_conflict="refuse")
        assert (again["operations"], again["conflicts"]) == ([], [said])
        assert (await state(ann, resource))[1]["attendees"] == [{"user_id": "eva"}, {"user_id": "max"}]


async def test_force_merges_and_takes_no_other_element(node: Gateway) -> None:
    async with sharing(node, value={**EVENT, "tags": ["a", "b"]}) as (ann, bob, resource):
        await submit(ann, resource, 1, {"op": "remove", "path": "/tags/0"})
        await submit(bob, resource, 1, {"op": "remove", "path": "/tags/0"}, force=True)
        assert (await state(ann, resource))[1]["tags"] == ["b"]


async def test_who_asks_for_it_is_refused_and_can_insist(node: Gateway) -> None:
    async with sharing(node, client_id="bobs") as (ann, bob, resource):
        await submit(ann, resource, 1, replace("/title", "ann's"))
        error = await refused(bob, resource, 1, replace("/title", "bob's"), seq=1)
        assert (error["code"], error["version"]) == ("CONFLICT", 2)
        assert error["server_state"]["title"] == "ann's"
        assert [(c["kind"], c["theirs"]) for c in error["conflicts"]] == [("overwrote", "ann's")]
        assert (await state(ann, resource))[0] == 2
        insisting = {"seq": 1, "force": True, "on_conflict": "refuse"}
        ack = await submit(bob, resource, 1, replace("/title", "bob's"), **insisting)
        assert (ack["version"], len(ack["conflicts"])) == (3, 1)


async def test_who_insists_is_told_by_the_ack_what_came_after_the_refusal(node: Gateway) -> None:
    async with signed_in(node) as ann, signed_in(node, "bob") as bob, signed_in(node, "cara") as cara:
        resource = await created(ann)
        for other in (bob, cara):
            await subscribe(other, resource)
        await submit(ann, resource, 1, replace("/title", "ann's"))
        error = await refused(bob, resource, 1, replace("/title", "bob's"), seq=1)
        assert [conflict["user_id"] for conflict in error["conflicts"]] == ["ann"]
        await submit(cara, resource, 2, replace("/title", "cara's"))
        insisting = {"seq": 1, "force": True, "on_conflict": "refuse"}
        ack = await submit(bob, resource, 1, replace("/title", "bob's"), **insisting)
        (conflict,) = ack["conflicts"]
        assert (conflict["user_id"], conflict["theirs"], conflict["version"]) == ("cara", "cara's", 3)
        assert (await state(ann, resource))[1]["title"] == "bob's"


async def test_an_unanswered_edit_of_ones_own_is_no_conflict(node: Gateway) -> None:
    async with signed_in(node) as ann:
        resource = await created(ann)
        await ann.send("OP", op(ann, resource, 1, replace("/title", "one")), id="one")
        await ann.send("OP", op(ann, resource, 1, replace("/title", "two")), id="two")
        assert "conflicts" not in await ann.answer_to("OP", "one")
        assert "conflicts" not in await ann.answer_to("OP", "two")


async def test_a_resend_and_a_resumed_client_find_their_conflicts_again(node: Gateway) -> None:
    async with sharing(node, client_id="resumer") as (ann, bob, resource):
        await submit(ann, resource, 1, replace("/title", "ann's"))
        first = await submit(bob, resource, 1, replace("/title", "bob's"), seq=1)
        again = await submit(bob, resource, 1, replace("/title", "bob's"), seq=1)
        assert (again["duplicate"], again["conflicts"]) == (True, first["conflicts"])
    async with signed_in(node, "bob", client_id="resumer") as bob:
        changes = (await subscribe(bob, resource, version=1))["changes"]
        assert [change.get("conflicts") for change in changes] == [None, first["conflicts"]]


async def test_values_over_four_kibibytes_are_marked_and_left_out(node: Gateway) -> None:
    async with sharing(node) as (ann, bob, resource):
        await submit(ann, resource, 1, replace("/title", "x" * 5000))
        (conflict,) = (await submit(bob, resource, 1, replace("/title", "bob's")))["conflicts"]
        assert conflict["omitted"] == ["theirs"]
        assert (conflict["base"], "theirs" in conflict) == (EVENT["title"], False)


async def test_conflicts_are_counted_by_their_kind(node: Gateway) -> None:
    async with sharing(node) as (ann, bob, resource):
        await submit(ann, resource, 1, replace("/title", "ann's"))
        await refused(bob, resource, 1, replace("/title", "bob's"))
        await submit(bob, resource, 1, replace("/title", "bob's"))
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        metrics = (await http.get(f"{node.admin_url}/metrics")).text
    counts = {
        line.split('"')[1]: float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("gateway_conflicts_total{")
    }
    assert counts["overwrote"] >= 1
    assert counts["refused"] >= 1
