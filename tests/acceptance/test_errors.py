"""Every error code and close code of docs/reference/protocol.md, provoked on a real node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import trio

from tests.clients.desk import EVENT, created, fresh, named, op, sharing, signed_in, state, submit, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import Closed, Refused, Wire, wire
from tests.operations import replace
from tests.waiting import PATIENCE_S, unawaited

ATTENDEE = {"user_id": "u", "response_status": "MAYBE"}


class Case(NamedTuple):
    """An OP on a document at version 1 (EVENT with one tag), and the code that refuses it."""

    name: str
    code: str
    operations: list[Any]
    further: Mapping[str, Any] = MappingProxyType({})
    version: int = 1


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


CASES = [
    Case("no such member", "INVALID_OPERATION", [replace("/nothing", 1)]),
    Case("no such element", "INVALID_OPERATION", [{"op": "remove", "path": "/tags/7"}]),
    Case("unknown op", "INVALID_OPERATION", [{"op": "increase", "path": "/title"}]),
    Case("no path", "INVALID_OPERATION", [{"op": "remove"}]),
    Case("no value", "INVALID_OPERATION", [{"op": "add", "path": "/title"}]),
    Case("no pointer", "INVALID_OPERATION", [replace("title", "x")]),
    Case("bad escape", "INVALID_OPERATION", [replace("/ti~2tle", "x")]),
    Case("leading zero", "INVALID_OPERATION", [replace("/tags/00", "x")]),
    Case("into itself", "INVALID_OPERATION", [{"op": "move", "from": "/tags", "path": "/tags/0"}]),
    Case("text on no text", "INVALID_OPERATION", [{"op": "text", "path": "/tags", "value": ["x"]}]),
    Case("text past the end", "INVALID_OPERATION", [{"op": "text", "path": "/title", "value": [99, "x"]}]),
    Case("inc of a string", "INVALID_OPERATION", [{"op": "inc", "path": "/title", "value": 1}]),
    Case("the schema's type", "INVALID_OPERATION", [replace("/title", 7)]),
    Case("the schema's format", "INVALID_OPERATION", [{"op": "add", "path": "/start_time", "value": "noon"}]),
    Case(
        "the schema's enum", "INVALID_OPERATION", [{"op": "add", "path": "/attendees/-", "value": ATTENDEE}]
    ),
    Case("a control character", "INVALID_OPERATION", [replace("/title", "a\x00b")]),
    Case("an unsafe integer", "INVALID_OPERATION", [replace("/title", 2**53)]),
    Case("an integer beyond 64 bits", "INVALID_OPERATION", [{"op": "add", "path": "/n", "value": 10**30}]),
    Case("removing the root", "INVALID_OPERATION", [{"op": "remove", "path": ""}]),
    Case("deleting as an editor", "FORBIDDEN", [replace("", None)]),
    Case("a failed test", "CONFLICT", [{"op": "test", "path": "/title", "value": "other"}]),
    Case("another epoch", "VERSION_TOO_OLD", [replace("/title", "x")], {"epoch": 1}),
    Case("ahead of the log", "VERSION_AHEAD", [replace("/title", "x")], {}, 99),
    Case("too many operations", "TOO_LARGE", [replace("/title", "x")] * 1001),
    Case("too deep a document", "TOO_LARGE", [{"op": "add", "path": "/deep", "value": deep(70)}]),
    Case("an empty patch", "INVALID_MESSAGE", []),
    Case("no list", "INVALID_MESSAGE", ["replace"]),
    Case("both forms", "INVALID_MESSAGE", [replace("/title", "x")], {"operation": replace("/title", "x")}),
    Case("another client", "INVALID_MESSAGE", [replace("/title", "x")], {"client_id": "somebody"}),
    Case("a version that is none", "INVALID_MESSAGE", [replace("/title", "x")], {"version": "1"}),
    Case("a version that is true", "INVALID_MESSAGE", [replace("/title", "x")], {"version": True}),
    Case("a negative version", "INVALID_MESSAGE", [replace("/title", "x")], {"version": -1}),
    Case("a seq of zero", "INVALID_MESSAGE", [replace("/title", "x")], {"seq": 0}),
    Case("force that is none", "INVALID_MESSAGE", [replace("/title", "x")], {"force": "yes"}),
    Case("on_conflict unheard of", "INVALID_MESSAGE", [replace("/title", "x")], {"on_conflict": "ask"}),
    Case("no such type", "INVALID_MESSAGE", [replace("/title", "x")], {"resource_type": "meeting"}),
    Case("not subscribed", "NOT_SUBSCRIBED", [replace("/title", "x")], {"resource_id": "never-seen"}),
    Case("a bad resource id", "INVALID_MESSAGE", [replace("/title", "x")], {"resource_id": "a b"}),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_an_op_that_is_refused(node: Gateway, case: Case) -> None:
    async with signed_in(node) as opened, signed_in(node, "bob") as other:
        resource = await created(opened, value={**EVENT, "tags": ["one"]})
        await subscribe(other, resource)
        before = await state(opened, resource)
        payload = op(opened, resource, case.version, *case.operations)
        with pytest.raises(Refused) as refused:
            await opened.ask("OP", {**payload, **case.further}, id="the-op")
        error = refused.value.payload
        assert error["code"] == case.code
        assert error["ref"] == "the-op"
        assert len(error["message"]) > 10
        assert "Traceback" not in error["message"]
        if case.code == "CONFLICT":
            assert (error["server_state"], error["version"]) == (before[1], 1)
        if case.code.startswith("VERSION"):
            assert error["version"] == 1
        # Nothing happened, and the connection goes on.
        assert await state(opened, resource) == before
        assert (await submit(opened, resource, 1, replace("/title", "fine"), seq=1))["version"] == 2
        assert (await other.take("OP_BROADCAST"))["version"] == 2


MESSAGES = [
    ("not JSON", "{"),
    ("nothing", ""),
    ("an array", "[]"),
    ("a number", "7"),
    ("no type", '{"payload": {}}'),
    ("a type that is none", '{"type": 5}'),
    ("an unknown type", '{"type": "DANCE"}'),
    ("a server's type", '{"type": "OP_BROADCAST", "payload": {}}'),
    ("a payload that is none", '{"type": "PING", "payload": []}'),
    ("an id that is none", '{"type": "PING", "id": 7}'),
    ("an empty id", '{"type": "PING", "id": ""}'),
    ("a long id", json.dumps({"type": "PING", "id": "x" * 129})),
    ("a time that is none", '{"type": "PING", "timestamp": "now"}'),
    ("NaN", '{"type": "PING", "payload": {"x": NaN}}'),
    ("a lone surrogate", '{"type": "PING", "payload": {"x": "\\ud800"}}'),
    ("SUBSCRIBE to nothing", '{"type": "SUBSCRIBE", "payload": {}}'),
    ("SUBSCRIBE without a type", '{"type": "SUBSCRIBE", "payload": {"resource_id": "1"}}'),
    (
        "SUBSCRIBE with a bad id",
        '{"type": "SUBSCRIBE", "payload": {"resource": "event", "resource_id": "/"}}',
    ),
    ("SYNC_REQUEST without a version", '{"type": "SYNC_REQUEST", "payload": {"resource_id": "1"}}'),
    ("trailing text", '{"type": "PING"} x'),
]


@pytest.mark.parametrize("text", [text for _, text in MESSAGES], ids=[name for name, _ in MESSAGES])
async def test_a_message_that_is_none(node: Gateway, text: str) -> None:
    async with signed_in(node) as opened:
        await opened.send_raw(text)
        error = await opened.take("ERROR")
        assert error["code"] == "INVALID_MESSAGE"
        assert error["ref"] is None
        assert len(error["message"]) > 10
        await opened.ask("PING")


async def test_a_message_that_nests_too_deeply_is_too_large(node: Gateway) -> None:
    async with signed_in(node) as opened:
        await opened.send_raw("[" * 30_000 + "]" * 30_000)
        assert (await opened.take("ERROR"))["code"] == "TOO_LARGE"
        await opened.ask("PING")


async def test_a_binary_frame_is_an_invalid_message(node: Gateway) -> None:
    async with signed_in(node) as opened:
        await opened.send_raw(b'{"type": "PING"}')
        assert (await opened.take("ERROR"))["code"] == "INVALID_MESSAGE"
        await opened.ask("PING")


async def test_a_broken_message_with_an_id_is_referred_to(node: Gateway) -> None:
    async with signed_in(node) as opened:
        for text in (
            '{"type": "DANCE", "id": "d-1"}',
            '{"id": "d-1"}',
            '{"id": "d-1", "type": "OP", "payload": 1}',
        ):
            await opened.send_raw(text)
            assert (await opened.take("ERROR"))["ref"] == "d-1"


async def test_ten_invalid_messages_in_a_row_close_with_1008(node: Gateway) -> None:
    async with signed_in(node) as opened:
        for _ in range(3):
            for _ in range(9):
                await opened.send_raw("{")
            await opened.ask("PING")  # a good one starts the count again
        for _ in range(10):
            await opened.send_raw("{")
        assert await opened.closed() == 1008
        assert len(opened.of_type("ERROR")) == 37


# ------------------------------------------------------------------------------- roles and tokens


async def test_roles_are_held(node: Gateway) -> None:
    grants = {"event:seen": "viewer", "event:team-*": "editor", "event:team-x": "viewer"}
    async with (
        signed_in(node, "admin", grants={"*": "admin"}) as admin,
        signed_in(node, "bob", grants=grants) as bob,
    ):
        for ident in ("seen", "hidden", "team-a", "team-x"):
            await created(admin, f"event:{ident}")
        assert (await subscribe(bob, "event:seen"))["role"] == "viewer"
        assert (await subscribe(bob, "event:team-a"))["role"] == "editor"
        assert (await subscribe(bob, "event:team-x"))["role"] == "viewer"
        with pytest.raises(Refused, match="FORBIDDEN"):
            await subscribe(bob, "event:hidden")
        with pytest.raises(Refused, match="FORBIDDEN"):
            await bob.ask("SYNC_REQUEST", {**named("event:hidden"), "last_version": 0})
        for ident in ("seen", "team-x"):
            for kind, payload in (
                ("OP", op(bob, f"event:{ident}", 1, replace("/title", "x"))),
                ("UNDO", named(f"event:{ident}")),
            ):
                with pytest.raises(Refused, match="FORBIDDEN"):
                    await bob.ask(kind, payload)
        await submit(bob, "event:team-a", 1, replace("/title", "x"))


async def test_without_a_good_token_nobody_comes_in(node: Gateway) -> None:
    async def auth(**payload: Any) -> tuple[str, int]:
        async with wire(node.url) as opened:
            with pytest.raises(Refused) as refused:
                await opened.ask("AUTH", {"client_id": "c", **payload})
            return refused.value.code, await opened.closed()

    good = node.token("ann")
    assert await auth(token="rubbish") == ("UNAUTHENTICATED", 4401)
    assert await auth(token=good[:-4] + "AAAA") == ("UNAUTHENTICATED", 4401)
    assert await auth(token=good + "A" * 20_000) == ("UNAUTHENTICATED", 4401)
    assert await auth(token=good, user_id="bob") == ("UNAUTHENTICATED", 4401)
    assert await auth() == ("UNAUTHENTICATED", 4401)
    assert await auth(token=node.token("ann", ttl_s=-5)) == ("TOKEN_EXPIRED", 4401)
    async with wire(node.url) as opened:
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "1"})
        assert await opened.closed() == 4401
    async with wire(node.url, bearer="rubbish") as opened:
        assert (await opened.take("ERROR"))["code"] == "UNAUTHENTICATED"
        assert await opened.closed() == 4401


async def test_no_auth_in_time_closes_with_4401(tmp_path: Path) -> None:
    with gateway(tmp_path, timeouts__auth_timeout_s=8) as own:
        async with signed_in(own) as opened, wire(own.url) as silent:
            assert await silent.closed() == 4401
            await trio.sleep(0.5)
            await opened.ask("PING")  # who came before it


# ------------------------------------------------------------------------------------- seq and undo


async def test_a_seq_is_used_for_one_content_only_and_old_ones_are_forgotten(node: Gateway) -> None:
    async with signed_in(node) as opened:
        resource = await created(opened)
        await submit(opened, resource, 1, replace("/title", "0"), seq=2)
        with pytest.raises(Refused) as refused:
            await submit(opened, resource, 2, replace("/title", "other"), seq=2)
        assert refused.value.code == "SEQ_REUSED"
        for seq in range(3, 20):
            await submit(opened, resource, seq - 1, replace("/title", str(seq)), seq=seq)
        with pytest.raises(Refused, match="SEQ_TOO_OLD") as refused:
            await submit(opened, resource, 1, replace("/title", "0"), seq=2)
        assert refused.value.payload["seq_last"] == 19
        again = await submit(opened, resource, 3, replace("/title", "4"), seq=4)
        assert (again["version"], again["duplicate"]) == (4, True)


async def test_a_refused_submission_consumes_no_seq(node: Gateway) -> None:
    async with signed_in(node) as opened:
        resource = await created(opened)
        with pytest.raises(Refused, match="INVALID_OPERATION"):
            await submit(opened, resource, 1, replace("/title", 5), seq=1)
        ack = await submit(opened, resource, 1, replace("/title", "five"), seq=1)
        assert (ack["version"], "duplicate" in ack) == (2, False)


@pytest.mark.parametrize("kind", ["UNDO", "REDO"])
async def test_there_may_be_nothing_to_undo(node: Gateway, kind: str) -> None:
    async with sharing(node) as (_, bob, resource):
        with pytest.raises(Refused) as refused:
            await bob.ask(kind, named(resource), id="u-1")
        assert (refused.value.code, refused.value.payload["ref"]) == ("NOTHING_TO_UNDO", "u-1")


async def test_a_base_older_than_can_be_rebuilt_is_too_old(tmp_path: Path) -> None:
    with gateway(tmp_path, limits__rebase_versions_max=5, limits__window_versions_max=1) as own:
        async with signed_in(own) as opened:
            resource = await created(opened)
            for version in range(1, 8):
                await submit(opened, resource, version, replace("/title", str(version)))
            assert (await submit(opened, resource, 3, replace("/title", "x")))["version"] == 9
            with pytest.raises(Refused) as refused:
                await submit(opened, resource, 3, replace("/title", "y"))
            assert (refused.value.code, refused.value.payload["version"]) == ("VERSION_TOO_OLD", 9)


# -------------------------------------------------------------------------------------------- limits


async def test_the_rate_limit_is_per_user_and_says_how_long_to_wait(tmp_path: Path) -> None:
    settings = {"limits__operations_per_minute": 60, "limits__operations_burst": 4}
    with gateway(tmp_path, **settings) as own:
        async with signed_in(own) as ann, signed_in(own, "bob") as bob:
            resource = await created(ann)  # the first of the burst
            await subscribe(bob, resource)
            twice = (replace("/title", "2"), replace("/title", "3"))  # costs hardly more than one
            await submit(ann, resource, 1, *twice, seq=1)
            await submit(ann, resource, 2, replace("/title", "4"))
            edits = [op(ann, resource, 3, replace("/title", "5"), force=True) for _ in range(30)]
            idents = [await ann.send("OP", payload) for payload in edits]
            refusals = []
            for ident in idents:  # one a second is within the rate
                try:
                    await ann.answer_to("OP", ident)
                except Refused as refused:
                    refusals.append(refused)
            assert {refused.code for refused in refusals} == {"RATE_LIMITED"}
            waits_ms = [refused.payload["retry_after_ms"] for refused in refusals]
            assert all(0 < wait_ms <= 1000 for wait_ms in waits_ms)
            again = await submit(ann, resource, 1, *twice, seq=1)
            assert again["duplicate"], "resends don't count"
            await submit(bob, resource, 3, replace("/title", "bob's"), force=True)
            await trio.sleep(waits_ms[-1] / 1000 + 0.01)
            await submit(ann, resource, 4, replace("/title", "6"), force=True)


async def test_who_does_not_heed_the_rate_limit_is_closed_with_4429(tmp_path: Path) -> None:
    settings = {
        "limits__operations_per_minute": 1,  # nothing comes back before it is closed
        "limits__operations_burst": 1,
        "limits__rate_abuse_s": 0.5,
    }
    with gateway(tmp_path, **settings) as own:
        async with signed_in(own) as opened:
            resource = await created(opened)
            with trio.fail_after(PATIENCE_S), suppress(Closed):
                while True:
                    await opened.send("OP", op(opened, resource, 1, replace("/title", "x"), seq=1))
                    await trio.sleep(0.02)
            errors = opened.of_type("ERROR")
            assert {error["code"] for error in errors} == {"RATE_LIMITED"}
            assert await opened.closed() == 4429


async def test_a_large_message_is_refused_and_a_larger_frame_closes_with_1009(node: Gateway) -> None:
    async with signed_in(node) as opened:
        await opened.send_raw(json.dumps({"type": "PING", "payload": {"x": "y" * (256 * 1024)}}))
        assert (await opened.take("ERROR"))["code"] == "TOO_LARGE"
        await opened.ask("PING")
        await opened.send_raw("x" * (1024 * 1024 + 1))
        assert await opened.closed() == 1009


async def test_a_document_and_the_number_of_subscriptions_are_limited(tmp_path: Path) -> None:
    with gateway(tmp_path, limits__document_bytes_max=2000, limits__subscriptions_max=3) as own:
        async with signed_in(own) as opened:
            resource = await created(opened)
            with pytest.raises(Refused, match="TOO_LARGE"):
                await submit(opened, resource, 1, replace("/title", "x" * 2000))
            await submit(opened, resource, 1, replace("/title", "x" * 1000))
            with pytest.raises(Refused, match="TOO_LARGE"):
                await submit(opened, resource, 2, {"op": "copy", "from": "/title", "path": "/location"})
            await subscribe(opened, fresh())
            await subscribe(opened, fresh())
            with pytest.raises(Refused, match="TOO_LARGE"):
                await subscribe(opened, fresh())
            await subscribe(opened, resource)  # one that is there already


# --------------------------------------------------------------------------------------- close codes


async def test_silence_closes_with_4408_and_a_ping_keeps_open(tmp_path: Path) -> None:
    with gateway(tmp_path, timeouts__idle_timeout_s=15, timeouts__ping_interval_s=0.2) as own:
        async with signed_in(own) as silent, signed_in(own, "bob") as viewer, unawaited() as nursery:
            nursery.start_soon(keep_alive, viewer)
            assert await silent.closed() == 4408  # although it answers the server's pings
            await trio.sleep(0.5)
            await viewer.ask("PING")


async def keep_alive(viewer: Wire) -> None:
    while True:
        await viewer.send("PING")
        await trio.sleep(0.3)


async def test_a_newer_connection_of_the_same_client_replaces_the_older(node: Gateway) -> None:
    async with signed_in(node, client_id="same") as older:
        resource = await created(older)
        async with (
            signed_in(node, "bob", client_id="same") as another_user,
            signed_in(node, client_id="same") as newer,
        ):
            assert await older.closed() == 4409
            await subscribe(newer, resource)
            assert (await submit(newer, resource, 1, replace("/title", "x")))["version"] == 2
            await another_user.ask("PING")


@pytest.mark.parametrize("settings", [{"features__kill_switch": "true"}, {"features__enabled": "false"}])
async def test_the_kill_switch_closes_with_4403(tmp_path: Path, settings: dict[str, str]) -> None:
    with gateway(tmp_path, **settings) as own:
        async with wire(own.url) as opened:
            with pytest.raises((Closed, Refused)):
                await opened.ask("AUTH", {"token": own.token(), "client_id": "c"})
            assert await opened.closed() == 4403
