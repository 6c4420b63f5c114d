"""A node whose disk holds commits back, refuses, or breaks: test doubles of the log, real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from gateway.errors import LogUnavailable
from gateway.ports import Failed
from tests.acceptance.troubled import served
from tests.clients.desk import created, named, op, signed_in, submit, subscribe
from tests.clients.wire import Refused
from tests.operations import replace
from tests.waiting import until

EVENT = {"title": "held", "tags": []}


async def test_while_commits_are_held_back_no_ack_leaves(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node, "ann") as ann, signed_in(node, "bob") as bob:
        await subscribe(ann, "event:42")
        await subscribe(bob, "event:42")
        disk.gate = trio.Event()
        creation = op(ann, "event:42", 0, {"op": "add", "path": "", "value": EVENT})
        await ann.send("OP", creation, id="held")
        await until(lambda: disk.held, "an append")
        for opened in (ann, bob):
            await opened.ask("PING")  # the node isn't stuck meanwhile
        await trio.sleep(0.3)
        assert not ann.of_type("OP_ACK")
        assert not bob.of_type("OP_BROADCAST")
        assert (await subscribe(bob, "event:42"))["version"] == 0, "nor does anyone see it"
        disk.gate.set()
        assert (await ann.take("OP_ACK"))["id"] == "held"
        assert (await bob.take("OP_BROADCAST"))["version"] == 1
        assert (await submit(ann, "event:42", 1, replace("/title", "on")))["version"] == 2


@pytest.mark.parametrize("outcome", ["none", "unknown"])
async def test_what_the_log_does_not_take_is_unavailable_with_its_outcome(
    tmp_path: Path, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node) as ann, signed_in(node, "bob") as bob:
        resource = await created(ann)
        await subscribe(bob, resource)
        disk.outcome = Failed("the disk is full", outcome, 250)
        with pytest.raises(Refused) as refused:
            await submit(ann, resource, 1, replace("/title", "lost"), seq=1)
        error = refused.value.payload
        assert (error["code"], error["outcome"], error["retry_after_ms"]) == ("UNAVAILABLE", outcome, 250)
        assert "the disk is full" not in error["message"]
        assert "a call of the log failed: the disk is full" in caplog.messages
        disk.outcome = None
        assert (await submit(ann, resource, 1, replace("/title", "kept"), seq=1))["version"] == 2
        assert (await bob.take("OP_BROADCAST"))["operation"] == replace("/title", "kept")


async def test_an_edit_that_waits_keeps_what_it_is_based_on_in_the_window(tmp_path: Path) -> None:
    async with served(tmp_path, window_bytes_max=0) as (node, disk), signed_in(node) as ann:
        resource = await created(ann, value={**EVENT, "tags": ["one", "two"]})
        async with signed_in(node, "bob") as bob:
            await subscribe(bob, resource)
            disk.gate = trio.Event()
            first = op(ann, resource, 1, {"op": "add", "path": "/tags/0", "value": "zero"})
            await ann.send("OP", first, id="first")
            await until(lambda: disk.held, "an append")
            await bob.send("OP", op(bob, resource, 1, replace("/tags/1", "TWO")), id="second")
            await bob.ask("PING")
            disk.gate.set()
            ack = await bob.take("OP_ACK")
            assert (ack["version"], ack["operations"]) == (3, [replace("/tags/2", "TWO")])


async def test_a_log_that_cannot_be_reached_makes_subscribe_unavailable(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node) as ann:
        disk.error = LogUnavailable("no disk", "none")
        with pytest.raises(Refused) as refused:
            await subscribe(ann, "event:42")
        error = refused.value.payload
        assert (error["code"], error["outcome"]) == ("UNAVAILABLE", "none")
        assert error["retry_after_ms"] > 0
        disk.error = None
        assert (await subscribe(ann, "event:42"))["version"] == 0


async def test_a_bug_is_internal_with_a_reference_and_closes_with_1011(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node) as ann, signed_in(node, "bob") as bob:
        disk.error = ZeroDivisionError("a bug in the log")
        with pytest.raises(Refused) as refused:
            await subscribe(ann, "event:42")
        assert refused.value.code == "INTERNAL"
        assert "ZeroDivision" not in refused.value.payload["message"]
        assert await ann.closed() == 1011
        reference = refused.value.payload["message"].split()[-1].rstrip(".")
        assert any(reference in record.getMessage() for record in caplog.records)
        await bob.ask("PING")


async def test_a_room_with_too_many_edits_under_way_pushes_back(tmp_path: Path) -> None:
    async with served(tmp_path, room_pending_max=5) as (node, disk), signed_in(node) as ann:
        resource = await created(ann)
        disk.gate = trio.Event()
        idents = [await ann.send("OP", op(ann, resource, 1, replace("/title", str(n)))) for n in range(8)]
        for ident in idents[5:]:
            with pytest.raises(Refused) as refused:
                await ann.answer_to("OP", ident)
            error = refused.value.payload
            assert (error["code"], error["outcome"]) == ("UNAVAILABLE", "none")
            assert error["retry_after_ms"] > 0
        disk.gate.set()
        assert [(await ann.answer_to("OP", ident))["version"] for ident in idents[:5]] == [2, 3, 4, 5, 6]


async def test_a_worker_with_too_many_bytes_under_way_pushes_back(tmp_path: Path) -> None:
    limits = {"worker_pending_bytes_max": 10_000}
    async with served(tmp_path, **limits) as (node, disk), signed_in(node) as ann:
        resource = await created(ann)
        disk.gate = trio.Event()
        edits = [op(ann, resource, 1, replace("/title", "x" * 3000)) for _ in range(5)]
        idents = [await ann.send("OP", edit) for edit in edits]
        with pytest.raises(Refused, match="UNAVAILABLE"):
            await ann.answer_to("OP", idents[-1])
        disk.gate.set()
        await ann.answer_to("OP", idents[0])


async def test_a_client_with_64_unacknowledged_edits_is_not_read_from(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node) as ann, signed_in(node, "bob") as bob:
        resource = await created(ann)
        disk.gate = trio.Event()
        for n in range(64):
            operation = {"op": "add", "path": "/tags/-", "value": str(n)}
            await ann.send("OP", op(ann, resource, 1, operation, seq=n + 1))
        await ann.send("PING")
        await bob.ask("PING")
        await trio.sleep(0.2)
        assert not ann.of_type("PONG"), "it comes after 64 edits that have no answer yet"
        disk.gate.set()
        await ann.take("PONG")
        await until(lambda: len(ann.of_type("OP_ACK")) == 65, "all acknowledgements")
        versions = [payload["version"] for payload in ann.of_type("OP_ACK")]
        assert versions == list(range(1, 66))


async def test_an_undo_waits_for_what_the_client_sent_before_it(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node) as ann:
        resource = await created(ann)
        disk.gate = trio.Event()
        await ann.send("OP", op(ann, resource, 1, replace("/title", "second")), id="edit")
        await ann.send("UNDO", named(resource), id="undo")
        await trio.sleep(0.1)
        disk.gate.set()
        assert (await ann.take("OP_ACK", id="edit"))["version"] == 2
        undone = await ann.take("OP_ACK", id="undo")
        assert (undone["version"], undone["operations"]) == (3, [replace("/title", "Planning")])
