"""Every message of docs/reference/protocol.md, with what it promises, against a real node."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import trio

from tests.clients.desk import EVENT, created, fresh, named, op, sharing, signed_in, state, submit, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.patching import apply
from tests.clients.wire import Refused, Wire, wire
from tests.operations import replace
from tests.waiting import PATIENCE_S, unawaited

ADMIN = {"event:*": "admin"}
PRESENCE = {"user_id", "user", "cursor", "is_typing", "last_seen", "client_id"}


async def nothing_more(*wires: Wire) -> None:
    """A round trip on each connection, so that whatever was on its way has come."""
    for each in wires:
        await each.ask("PING")


# ----------------------------------------------------------------------------------- 1, 2: AUTH, PING


async def test_auth_ack_says_who_one_is_and_what_the_limits_are(node: Gateway) -> None:
    async with wire(node.url) as opened:
        auth = {"token": node.token("ann"), "client_id": "c-1", "user_id": "ann"}
        ack = await opened.ask("AUTH", auth)
        assert (ack["user_id"], ack["client_id"]) == ("ann", "c-1")
        assert ack["session_id"] and ack["node"]
        assert ack["limits"]["message_bytes_max"] == 256 * 1024


async def test_a_bearer_token_is_acknowledged_unasked_and_the_first_op_names_the_client(
    node: Gateway,
) -> None:
    async with wire(node.url, bearer=node.token("ann"), extended=True) as opened:
        assert opened.ws.subprotocol == "collab.v1"
        ack = await opened.take("AUTH_ACK")
        assert (ack["user_id"], ack["client_id"]) == ("ann", None)
        opened.client_id = "named-by-op"
        resource = await created(opened)
        with pytest.raises(Refused, match="INVALID_MESSAGE"):
            await submit(opened, resource, 1, replace("/title", "x"), client_id="another")


async def test_a_bearer_client_may_name_itself_by_auth_without_a_token(node: Gateway) -> None:
    async with wire(node.url, bearer=node.token("ann")) as opened:
        await opened.take("AUTH_ACK")
        ack = await opened.ask("AUTH", {"client_id": "named-by-auth"})
        assert ack["client_id"] == "named-by-auth"


async def test_ping_is_answered_by_pong_with_an_empty_payload(node: Gateway) -> None:
    async with signed_in(node) as opened:
        assert await opened.ask("PING") == {}
        await opened.send_raw('{"type": "PING"}')
        assert await opened.take("PONG") == {}


async def test_messages_are_handled_in_order_without_waiting(node: Gateway) -> None:
    async with signed_in(node) as other:
        resource = await created(other)
    async with wire(node.url) as opened:
        opened.client_id = "eager"
        kind, _, ident = resource.partition(":")
        await opened.send("AUTH", {"token": node.token(), "client_id": "eager", "protocol": 1})
        await opened.send("SUBSCRIBE", {"resource": kind, "resource_id": ident})
        for n in range(2, 12):  # each is concurrent with the ones before it
            operation = {"op": "add", "path": "/tags/0", "value": str(n)}
            await opened.send("OP", op(opened, resource, 1, operation, seq=n), id=f"op-{n}")
        for n in range(2, 12):
            assert (await opened.take("OP_ACK"))["id"] == f"op-{n}"
        assert (await state(opened, resource))[1]["tags"] == [str(n) for n in range(2, 12)]
        types = [message["type"] for message in opened.seen if not message["type"].startswith("PRESENCE")]
        assert types == ["AUTH_ACK", "SUBSCRIBE_ACK", *["OP_ACK"] * 10, "SYNC_RESPONSE"]


async def test_a_token_about_to_end_is_announced_and_can_be_renewed(tmp_path: Path) -> None:
    with gateway(tmp_path, timeouts__token_expiring_s=14) as own:
        async with signed_in(own, ttl_s=15) as renewed, signed_in(own, "bob", ttl_s=15) as let_go:
            await renewed.take("AUTH_EXPIRING")
            await let_go.take("AUTH_EXPIRING")
            token = own.token("ann", ttl_s=60)
            await renewed.ask("AUTH", {"token": token, "client_id": "ann-1", "user_id": "ann"})
            assert (await let_go.take("ERROR"))["code"] == "TOKEN_EXPIRED"
            assert await let_go.closed() == 4401
            await trio.sleep(0.5)
            await renewed.ask("PING")


# ------------------------------------------------------------------------------ 3: SUBSCRIBE and SYNC


async def test_what_does_not_exist_has_version_0_and_no_state(node: Gateway) -> None:
    async with signed_in(node) as opened:
        resource = fresh()
        ack = await subscribe(opened, resource)
        assert (ack["version"], ack["state"], ack["role"]) == (0, None, "editor")
        assert ack["resource"] == "event"
        assert isinstance(ack["epoch"], int)
        presence = await opened.take("PRESENCE_STATE")
        assert presence["count"] == len(presence["presences"]) == 1


async def test_a_resume_gets_the_missing_changes_or_the_state_where_that_is_due(node: Gateway) -> None:
    async with signed_in(node) as author, signed_in(node, "bob") as reader:
        resource = await created(author)
        epoch = (await subscribe(author, resource))["epoch"]
        for n in range(2, 13):
            await submit(author, resource, n - 1, replace("/title", str(n)), seq=n)
        _, document = await state(author, resource)

        missed = await subscribe(reader, resource, version=2, epoch=epoch)
        assert [change["version"] for change in missed["changes"]] == list(range(3, 13))
        for change in missed["changes"]:
            assert change.keys() >= {
                "version",
                "operations",
                "client_id",
                "user_id",
                "seq",
                "op_id",
                "timestamp",
            }
            assert (change["client_id"], change["user_id"], change["seq"]) == (
                "ann-1",
                "ann",
                change["version"],
            )
        assert (await subscribe(reader, resource, version=12, epoch=epoch))["changes"] == []
        assert len((await subscribe(reader, resource, version=2, max_changes=10))["changes"]) == 10
        for further in (
            {"version": 2, "epoch": epoch, "max_changes": 9},
            {"version": 2, "epoch": epoch + 1},
            {"version": 13, "epoch": epoch},
            {},
        ):
            answer = await subscribe(reader, resource, **further)
            assert (answer["version"], answer["state"]) == (12, document)
            assert "changes" not in answer


@pytest.mark.parametrize("extended", [True, False])
async def test_sync_has_the_form_of_its_client(node: Gateway, extended: bool) -> None:
    async with signed_in(node) as author, signed_in(node, "bob", extended=extended) as reader:
        resource = await created(author)
        before = (await state(author, resource))[1]
        await submit(author, resource, 1, replace("/title", "B"), replace("/description", "A long agenda"))
        await submit(author, resource, 2, {"op": "add", "path": "/tags/-", "value": "x"})
        after = (await state(author, resource))[1]
        await subscribe(reader, resource)
        answer = await reader.ask("SYNC_REQUEST", {**named(resource), "last_version": 1})
        assert answer["current_version"] == 3
        assert isinstance(answer["epoch"], int)
        if extended:
            assert [change["version"] for change in answer["changes"]] == [2, 3]
            operations = [operation for change in answer["changes"] for operation in change["operations"]]
        else:
            operations = answer["operations"]
            assert all(operation["op"] in ("add", "remove", "replace", "move") for operation in operations)
            assert "changes" not in answer
        assert apply(before, operations) == after
        whole = await reader.ask("SYNC_REQUEST", {**named(resource), "last_version": 1, "max_changes": 1})
        assert whole["state"] == after
        assert "operations" not in whole and "changes" not in whole


async def test_the_type_may_be_left_out_where_the_id_is_subscribed_once(node: Gateway) -> None:
    async with signed_in(node, grants={"*": "editor"}) as opened:
        resource = await created(opened)
        ident = resource.partition(":")[2]
        payload = {"resource_id": ident, "version": 1, "client_id": "ann-1"}
        ack = await opened.ask("OP", {**payload, "operation": replace("/title", "B")})
        assert (ack["resource_type"], ack["resource_id"]) == ("event", ident)
        await subscribe(opened, f"calendar:{ident}")
        with pytest.raises(Refused, match="resource_type"):
            await opened.ask("OP", {**payload, "operation": replace("/title", "C")})


async def test_after_unsubscribe_nothing_of_the_resource_comes(node: Gateway) -> None:
    async with signed_in(node) as author, signed_in(node, "bob") as reader:
        resource = await created(author)
        await subscribe(reader, resource)
        kind, _, ident = resource.partition(":")
        ack = await reader.ask("UNSUBSCRIBE", {"resource": kind, "resource_id": ident})
        assert ack["resource_id"] == ident
        count = len(reader.of_type("OP_BROADCAST"))
        await submit(author, resource, 1, replace("/title", "unseen"))
        await nothing_more(reader)
        assert len(reader.of_type("OP_BROADCAST")) == count
        with pytest.raises(Refused, match="NOT_SUBSCRIBED"):
            await submit(reader, resource, 1, replace("/title", "x"))


# -------------------------------------------------------------------------------------------- 4: OP


async def test_an_edit_is_acknowledged_to_its_author_and_broadcast_to_all_others(node: Gateway) -> None:
    async with (
        signed_in(node) as author,
        signed_in(node, "bob") as other,
        signed_in(node, "eve", extended=False) as plain,
    ):
        resource = await created(author)
        await subscribe(other, resource)
        await subscribe(plain, resource)
        patch = [replace("/title", "A"), {"op": "add", "path": "/location", "value": "here"}]
        ident = await author.send("OP", op(author, resource, 1, *patch))
        ack = await author.answer_to("OP", ident)
        assert ack == {**named(resource), "version": 2, "id": ident}
        seen = await other.take("OP_BROADCAST")
        assert seen["operations"] == patch
        assert (seen["version"], seen["client_id"], seen["user_id"]) == (2, "ann-1", "ann")
        assert seen["op_id"]
        parts = [await plain.take("OP_BROADCAST") for _ in range(2)]
        assert [part["operation"] for part in parts] == patch
        assert [(part["version"], part["part"]) for part in parts] == [(2, [1, 2]), (2, [2, 2])]
        assert not author.of_type("OP_BROADCAST")


async def test_a_concurrent_edit_is_transformed_and_the_ack_says_what_was_committed(node: Gateway) -> None:
    async with sharing(node, value={**EVENT, "tags": ["a", "b", "c"]}) as (ann, bob, resource):
        await submit(ann, resource, 1, {"op": "remove", "path": "/tags/0"})
        ack = await submit(bob, resource, 1, {"op": "remove", "path": "/tags/2"})
        assert ack["operations"] == [{"op": "remove", "path": "/tags/1"}]
        assert (await state(ann, resource))[1]["tags"] == ["b"]
        first = await submit(ann, resource, 3, replace("/title", "ann's"))
        second = await submit(bob, resource, 3, replace("/title", "bob's"))
        assert (first["version"], second["version"]) == (4, 5)
        assert (await state(ann, resource))[1]["title"] == "bob's"


async def test_an_edit_that_merged_away_still_takes_a_version(node: Gateway) -> None:
    async with (
        signed_in(node) as ann,
        signed_in(node, "bob") as bob,
        signed_in(node, "eve", extended=False) as plain,
    ):
        resource = await created(ann, value={**EVENT, "tags": ["a"]})
        await subscribe(bob, resource)
        await subscribe(plain, resource)
        await submit(ann, resource, 1, {"op": "remove", "path": "/tags/0"})
        ack = await submit(bob, resource, 1, {"op": "remove", "path": "/tags/0"})
        assert (ack["version"], ack["operations"]) == (3, [])
        assert (await ann.take("OP_BROADCAST", version=3))["operations"] == []
        assert (await plain.take("OP_BROADCAST", version=3))["operation"] == {"op": "noop"}


async def test_text_edits_of_the_same_field_are_both_kept(node: Gateway) -> None:
    async with sharing(node, value={**EVENT, "description": "one three"}) as (ann, bob, resource):
        await submit(ann, resource, 1, {"op": "text", "path": "/description", "value": [4, "two "]})
        await submit(bob, resource, 1, replace("/description", "one three four"))
        assert (await state(ann, resource))[1]["description"] == "one two three four"


async def test_a_resend_is_answered_with_the_version_it_has_and_changes_nothing(node: Gateway) -> None:
    async with signed_in(node, client_id="resender") as opened:
        resource = await created(opened)
        first = await submit(opened, resource, 1, replace("/title", "once"), seq=5)
        again = await submit(opened, resource, 1, replace("/title", "once"), seq=5)
        assert (first["version"], again["version"], again["duplicate"]) == (2, 2, True)
        assert "duplicate" not in first
    async with signed_in(node, client_id="resender") as later:
        await subscribe(later, resource)
        again = await submit(later, resource, 1, replace("/title", "once"), seq=5)
        assert (again["version"], again["duplicate"]) == (2, True)
        assert (await submit(later, resource, 2, replace("/title", "two"), seq=4))["version"] == 3
        assert (await state(later, resource))[0] == 3


async def test_undo_and_redo_take_back_the_clients_own_changes(node: Gateway) -> None:
    async with sharing(node) as (ann, bob, resource):
        await submit(ann, resource, 1, replace("/title", "ann's"))
        await submit(bob, resource, 2, {"op": "add", "path": "/tags/-", "value": "bob's"})
        undone = await ann.ask("UNDO", {**named(resource), "seq": 9})
        assert undone["operations"] == [replace("/title", "Planning")]
        assert (await bob.take("OP_BROADCAST", version=4))["client_id"] == "ann-1"
        assert (await state(ann, resource))[1] == {**EVENT, "tags": ["bob's"]}
        again = await ann.ask("UNDO", {**named(resource), "seq": 9})
        assert (again["version"], again["duplicate"]) == (4, True)
        redone = await ann.ask("REDO", named(resource))
        assert redone["version"] == 5
        assert (await state(ann, resource))[1]["title"] == "ann's"
        changes = (await ann.ask("SYNC_REQUEST", {**named(resource), "last_version": 3}))["changes"]
        assert [change["undoes"] for change in changes] == [2, 4]


# --------------------------------------------------------------------- 5: delete, re-create, purge


async def test_a_deleted_resource_keeps_its_versions_and_can_be_created_again(node: Gateway) -> None:
    async with signed_in(node, grants=ADMIN) as admin, signed_in(node, "bob") as bob:
        resource = await created(admin)
        epoch = (await subscribe(bob, resource))["epoch"]
        await submit(admin, resource, 1, replace("", None))
        assert apply(EVENT, [(await bob.take("OP_BROADCAST"))["operation"]]) is None
        gone = await subscribe(bob, resource)
        assert (gone["version"], gone["state"], gone["epoch"]) == (2, None, epoch)
        again = await submit(bob, resource, 2, {"op": "add", "path": "", "value": {"title": "again"}})
        assert again["version"] == 3
        assert await state(admin, resource) == (3, {"title": "again"})


async def test_only_one_of_two_creators_wins(node: Gateway) -> None:
    async with signed_in(node) as ann, signed_in(node, "bob") as bob:
        resource = fresh()
        await subscribe(bob, resource)
        await created(ann, resource)
        with pytest.raises(Refused) as refused:
            await submit(bob, resource, 0, {"op": "add", "path": "", "value": {"title": "mine"}})
        assert (refused.value.code, refused.value.payload["server_state"]) == ("CONFLICT", EVENT)


async def test_a_purge_begins_a_new_epoch_and_subscribers_get_the_state(node: Gateway) -> None:
    async with signed_in(node) as ann:
        resource = await created(ann)
        epoch = (await subscribe(ann, resource))["epoch"]
        kind, _, ident = resource.partition(":")
        headers = {"Authorization": f"Bearer {node.token('root', ADMIN)}"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
            answered = await http.delete(f"{node.admin_url}/v1/resources/{kind}/{ident}?purge=true")
            assert answered.is_success
        pushed = await ann.take("SYNC_RESPONSE")
        assert (pushed["current_version"], pushed["state"]) == (0, None)
        assert pushed["epoch"] != epoch
        with pytest.raises(Refused, match="VERSION_TOO_OLD"):
            await submit(ann, resource, 1, replace("/title", "x"), epoch=epoch)
        resumed = await subscribe(ann, resource, version=1, epoch=epoch)
        assert (resumed["version"], resumed["state"], resumed["epoch"]) == (0, None, pushed["epoch"])
        assert (await submit(ann, resource, 0, {"op": "add", "path": "", "value": EVENT}))["version"] == 1


# --------------------------------------------------------------------------------------- 6: presence


async def test_presence_of_a_visible_client_is_told_to_others(node: Gateway) -> None:
    async with signed_in(node, avatar_url="https://img.test/a.png") as ann, signed_in(node, "bob") as bob:
        resource = await created(ann)
        await subscribe(bob, resource)
        joined = await ann.take("PRESENCE_JOIN", user_id="bob")
        assert joined.keys() >= PRESENCE
        listed = (await bob.take("PRESENCE_STATE"))["presences"]
        assert {entry["user_id"] for entry in listed} == {"ann", "bob"}
        [entry] = [entry for entry in listed if entry["user_id"] == "ann"]
        assert entry["user"]["name"] == "Ann"
        assert entry["user"]["avatar_url"] == "https://img.test/a.png"
        assert entry["user"]["color"].startswith("#")
        cursor = {"field": "title", "position": 3}
        await ann.send("PRESENCE_UPDATE", {**named(resource), "cursor": cursor, "is_typing": True})
        moved = await bob.take("PRESENCE_UPDATE", user_id="ann")
        assert (moved["is_typing"], moved["client_id"]) == (True, "ann-1")
        assert moved["cursor"] == cursor | {"version": 1}
        assert moved.keys() >= {*PRESENCE, "resource_id", "resource_type"}
        assert not ann.of_type("PRESENCE_UPDATE"), "one's own is not told back"
    async with signed_in(node, "eve") as eve:
        await subscribe(eve, resource)
        assert (await eve.take("PRESENCE_STATE"))["count"] == 1  # whoever lost the connection is gone


async def test_who_leaves_is_gone_at_once(node: Gateway) -> None:
    async with signed_in(node) as ann:
        resource = await created(ann)
        async with signed_in(node, "bob") as bob:
            await subscribe(bob, resource)
            await ann.take("PRESENCE_JOIN", user_id="bob")
        await ann.take("PRESENCE_LEAVE", user_id="bob")


async def test_invisible_mode_hides_and_shows(node: Gateway) -> None:
    async with signed_in(node) as ann, signed_in(node, "bob") as bob:
        resource = await created(ann)
        await subscribe(bob, resource, visible=False)
        assert (await bob.take("PRESENCE_STATE"))["count"] == 1
        await submit(bob, resource, 1, replace("/title", "unseen hand"))
        await nothing_more(ann, bob)
        assert not [entry for entry in ann.of_type("PRESENCE_JOIN") if entry["user_id"] == "bob"]
        await bob.send("PRESENCE_UPDATE", {**named(resource), "visible": True})
        await ann.take("PRESENCE_JOIN", user_id="bob")
        await bob.send("PRESENCE_UPDATE", {**named(resource), "visible": False})
        await ann.take("PRESENCE_LEAVE", user_id="bob")


async def test_updates_of_one_client_are_conflated_and_the_latest_wins(node: Gateway) -> None:
    async with sharing(node) as (ann, bob, resource):
        with node.paused():
            for position in range(100):
                cursor = {"field": "title", "position": position}
                await ann.send("PRESENCE_UPDATE", {**named(resource), "cursor": cursor})
        first = await bob.take("PRESENCE_UPDATE", user_id="ann")
        assert first["cursor"]["position"] == 0
        last = await bob.take_where(
            lambda message: (
                message["type"] == "PRESENCE_UPDATE" and message["payload"]["cursor"].get("position") == 99
            )
        )
        assert last["payload"]["user_id"] == "ann"
        assert len(bob.of_type("PRESENCE_UPDATE")) < 20


async def test_a_crowd_is_told_as_a_count_with_those_who_are_active(tmp_path: Path) -> None:
    settings = {"presence__members_max": 3, "presence__refresh_interval_ms": 50}
    with gateway(tmp_path, **settings) as own:
        async with signed_in(own) as ann, unawaited() as nursery:
            resource = await created(ann)
            for n in range(5):
                await nursery.start(stay, own, f"user{n}", resource)
            payload = {**named(resource), "cursor": {"field": "title"}}
            await ann.send("PRESENCE_UPDATE", payload)
            crowd = await ann.take_where(
                lambda message: (
                    message["type"] == "PRESENCE_STATE"
                    and message["payload"]["count"] == 6
                    and bool(message["payload"]["presences"])
                )
            )
            assert [entry["user_id"] for entry in crowd["payload"]["presences"]] == ["ann"]


async def stay(
    own: Gateway, user: str, resource: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with signed_in(own, user) as opened:
        await subscribe(opened, resource)
        task_status.started()
        await trio.sleep_forever()


# ---------------------------------------------------------------------------------- forms of a message


async def test_unknown_members_are_ignored_and_the_clients_time_is_not_believed(node: Gateway) -> None:
    async with signed_in(node) as opened:
        resource = await created(opened)
        payload = {**op(opened, resource, 1, replace("/title", "B")), "unheard": [1]}
        message = {"type": "OP", "id": "x", "timestamp": 9e15, "payload": payload, "more": {}}
        await opened.send_raw(json.dumps(message))
        await opened.take("OP_ACK", id="x")
        assert all(message["timestamp"] < 9e15 for message in opened.seen)
