"""Edits from their message to their room: what is checked before, and what is asked of the log."""

from __future__ import annotations

from functools import partial

import orjson
import pytest
import trio
import trio.testing

from gateway.errors import LogTrimmed, LogUnavailable
from gateway.hub.overload import WINDOW_MAX_S
from gateway.hub.tidying import TIDY_INTERVAL_S
from gateway.sessions import authentication, session
from tests.rooms.parts import CREATE, titled
from tests.sessions.parts import CONFIG, Office, desk, desk_with, desks, one, overloaded

A, B = titled("a")[0], titled("b")[0]


async def test_an_edit_is_acknowledged_with_its_id_and_version(autojump_clock):
    async with desk_with("ann") as (_, client):
        payload = one(await client.edit(A, 1), "OP_ACK")
        assert (payload["version"], payload["id"]) == (2, "m3")
        assert client.session.unacknowledged == 0


async def test_a_viewer_does_not_edit(autojump_clock):
    async with desk_with("ann:viewer") as (_, client):
        payload = one(await client.edit(A, 1), "ERROR")
        assert (payload["code"], payload["resource_id"]) == ("FORBIDDEN", "1")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"operation": A, "operations": [A]}, "INVALID_MESSAGE"),
        ({"operations": []}, "INVALID_MESSAGE"),
        ({"operations": ["x"]}, "INVALID_MESSAGE"),
        ({"operation": A, "version": -1}, "INVALID_MESSAGE"),
        ({"operation": A, "version": "1"}, "INVALID_MESSAGE"),
        ({"operation": A, "seq": 0}, "INVALID_MESSAGE"),
        ({"operation": A, "client_id": "another"}, "INVALID_MESSAGE"),
        ({"operation": {"op": "replace", "path": "/no/where", "value": 1}}, "INVALID_OPERATION"),
        ({"operation": {"op": "test", "path": "/title", "value": "other"}}, "CONFLICT"),
        ({"operation": A, "version": 9}, "VERSION_AHEAD"),
        ({"operation": A, "epoch": 7}, "VERSION_TOO_OLD"),
    ],
)
async def test_an_edit_that_is_not_right_is_refused_and_the_connection_stays(autojump_clock, payload, code):
    async with desk_with("ann") as (_, client):
        said = await client.say("OP", **({"resource_id": "1", "version": 1} | payload))
        assert one(said, "ERROR")["code"] == code
        assert (client.reader.closed_with, client.session.unacknowledged) == (None, 0)


@pytest.mark.parametrize("digits", range(16, 24))
async def test_an_integer_that_a_float_can_not_hold_is_refused_where_it_is_a_value(autojump_clock, digits):
    async with desk_with("ann") as (_, client):
        for number in ("9" * digits, "-" + "9" * digits):
            value = {"op": "add", "path": "/x", "value": ["NUMBER"]}
            payload = {"resource_id": "1", "version": 1, "operation": value}
            message = orjson.dumps({"type": "OP", "payload": payload}).replace(b'"NUMBER"', number.encode())
            refused = one(await client.raw(message), "ERROR")
            assert refused["code"] == "INVALID_OPERATION"
            assert "send it as a string" in refused["message"]


@pytest.mark.parametrize("number", [1.5, 1e21])
@pytest.mark.parametrize("digits", [20, 21, 40, 400])
async def test_an_integer_that_nothing_reads_is_of_any_size(autojump_clock, digits, number):
    async with desk_with("ann") as (_, client):
        operation = {"op": "add", "path": "/x", "value": [number]}
        payload = {"resource_id": "1", "version": 1, "operation": operation, "trace_id": "DIGITS"}
        message = {"type": "OP", "timestamp": 1764412800000000000, "payload": payload}
        said = await client.raw(orjson.dumps(message).replace(b'"DIGITS"', b"9" * digits))
        await client.session.settled(0)
        assert one(said + client.reader.take(), "OP_ACK")["version"] == 2


@pytest.mark.parametrize("seq", [{}, {"seq": 1}])
async def test_an_edit_that_nests_deeper_than_json_is_written_is_too_large(autojump_clock, seq):
    async with desk_with("ann") as (found, client):
        operation = {"op": "add", "path": "/x", "value": "deep"}
        edit = {"type": "OP", "payload": {"resource_id": "1", "version": 1, "operation": operation, **seq}}
        said = await client.raw(orjson.dumps(edit).replace(b'"deep"', b"[" * 300 + b"]" * 300))
        assert one(said, "ERROR")["code"] == "TOO_LARGE"
        assert (client.reader.closed_with, found.counters.internal_errors) == (None, 0)


async def test_an_error_says_which_resource_which_operation_and_where(autojump_clock):
    async with desk_with("ann") as (_, client):
        bad = {"op": "replace", "path": "/no/where", "value": 1}
        error = one(await client.edit([A, bad], 1), "ERROR")
        assert (error["resource_type"], error["resource_id"]) == ("event", "1")
        assert (error["index"], error["path"]) == (1, "/no/where")
        wrong = {"op": "add", "path": "/start_time", "value": "yesterday"}
        error = one(await client.edit([A, wrong, B], 1), "ERROR")
        assert (error["code"], error["index"], error["path"]) == ("INVALID_OPERATION", 1, "/start_time")
        error = one(await client.say("OP", resource_id="1", version="x", operation=A), "ERROR")
        assert (error["code"], error["resource_id"]) == ("INVALID_MESSAGE", "1")


async def test_the_same_seq_on_another_base_is_another_edit(autojump_clock):
    async with desk_with("ann") as (_, client):
        await client.edit(A, 1, seq=1)
        assert one(await client.edit(A, 2, seq=1), "ERROR")["code"] == "SEQ_REUSED"


async def test_an_edit_needs_a_subscription(autojump_clock):
    async with desk() as found:
        client = await found.client()
        assert one(await client.edit(A, 1), "ERROR")["code"] == "NOT_SUBSCRIBED"


async def test_the_first_edit_names_the_client_of_a_bearer_token(autojump_clock):
    async with desk() as found:
        client = await found.client(None, authorization="Bearer ann")
        await client.subscribe()
        assert one(await client.edit(A, 1), "ERROR")["code"] == "INVALID_MESSAGE"
        one(await client.edit(A, 1, client_id="mine"), "OP_ACK")
        assert client.session.client_id == "mine"


async def test_a_base_that_left_the_window_is_rebuilt_from_the_log(autojump_clock):
    async with desk_with("ann") as (found, client):
        for version in range(1, 5):
            await client.edit([{"op": "add", "path": "/tags/-", "value": f"{version}"}], version)
        found.room().trim(0, 0)
        await client.edit({"op": "text", "path": "/description", "value": ["x"]}, 1)
        assert found.room().document["description"] == "xabc"


async def test_a_base_too_far_behind_is_refused_with_the_head(autojump_clock):
    async with desk_with("ann", config=CONFIG.with_(limits={"rebase_versions_max": 2})) as (_, client):
        for version in range(1, 5):
            await client.edit(A, version)
        payload = one(await client.edit(B, 1), "ERROR")
        assert (payload["code"], payload["version"]) == ("VERSION_TOO_OLD", 5)


async def test_a_resend_is_answered_and_costs_nothing(autojump_clock):
    config = CONFIG.with_(limits={"operations_per_minute": 60, "operations_burst": 1})
    async with desk_with("ann", config=config) as (_, client):
        first = one(await client.edit(A, 1, seq=1), "OP_ACK")
        again = one(await client.edit(A, 1, seq=1), "OP_ACK")
        assert again["version"] == first["version"] and again["duplicate"]
        limited = one(await client.edit(B, 2, seq=2), "ERROR")
        assert limited["code"] == "RATE_LIMITED"
        assert 0 < limited["retry_after_ms"] <= 1000


async def test_a_client_that_comes_back_is_recognised_by_what_the_log_has_of_it(autojump_clock):
    async with desk_with("ann") as (found, client):
        await client.edit(A, 1, seq=1)
        found.worker.hub._rooms.clear()  # as after a restart
        again = await found.client(subscribed=True)
        payload = one(await again.edit(A, 1, seq=1), "OP_ACK")
        assert (payload["version"], payload["duplicate"]) == (2, True)


async def test_who_goes_on_over_the_rate_without_heeding_it_is_closed(autojump_clock):
    limits = {"operations_per_minute": 60, "operations_burst": 1, "rate_abuse_s": 2.0}
    async with desk_with("ann", config=CONFIG.with_(limits=limits)) as (_, client):
        for _ in range(100):
            await client.edit(A, 1)
            await trio.sleep(0.05)
            if client.reader.closed_with:
                break
        assert client.reader.closed_with == 4429


async def test_an_edit_of_a_deleted_event_needs_its_creation(autojump_clock):
    async with desk_with("ann:admin") as (found, admin):
        await admin.edit({"op": "add", "path": "", "value": None}, 1)
        assert found.room().document is None
        assert one(await admin.edit(A, 2), "ERROR")["code"] == "INVALID_OPERATION"
        one(await admin.edit(CREATE, 2), "OP_ACK")
        assert found.room().document["title"] == "T"


async def test_undo_and_redo_take_back_the_clients_last_change(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        await ann.edit(A, 1)
        await bob.edit([{"op": "add", "path": "/tags/-", "value": "b"}], 2)
        await ann.say("UNDO", resource_id="1")
        await ann.session.settled(0)
        assert found.room().document["title"] == "T"
        assert found.room().document["tags"] == ["b"]
        ann.reader.take()
        await ann.say("REDO", resource_id="1")
        await ann.session.settled(0)
        ack = one(ann.reader.take(), "OP_ACK")
        assert (ack["version"], ack["operations"]) == (5, [A])
        assert (found.counters.undos, found.counters.redos) == (1, 1)


@pytest.mark.parametrize("token", ["ann:viewer", "ann:nobody"])
@pytest.mark.parametrize("kind", ["UNDO", "OP"])
async def test_who_may_not_edit_any_more_does_not_make_an_edit_that_waits(autojump_clock, kind, token):
    async with desk_with("ann") as (found, client), trio.open_nursery() as nursery:
        await client.edit(A, 1)
        found.room().trim(0, 0)
        found.worker.log.hold_reads()
        edit = {"version": 1, "operation": B} if kind == "OP" else {}
        nursery.start_soon(partial(client.say, kind, resource_id="1", **edit))
        await trio.testing.wait_all_tasks_blocked()
        client.reader.take()
        authentication.review_roles(client.session, Office().verify(token, 0))
        found.worker.log.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        assert found.counters.operations_refused == {"FORBIDDEN": 1}
        assert (found.room().version, client.session.unacknowledged) == (2, 0)


async def test_an_edit_that_waits_while_its_node_drains_is_neither_made_nor_a_refusal(autojump_clock):
    for kind in ("UNDO", "OP"):
        async with desk_with("ann") as (found, client), trio.open_nursery() as nursery:
            await client.edit(A, 1)
            found.room().trim(0, 0)
            found.worker.log.hold_reads()
            edit = {"version": 1, "operation": B} if kind == "OP" else {}
            nursery.start_soon(partial(client.say, kind, resource_id="1", **edit))
            await trio.testing.wait_all_tasks_blocked()
            client.reader.take()
            nursery.start_soon(found.endpoint.drain)
            await trio.testing.wait_all_tasks_blocked()
            assert client.reader.closed_with == 1001
            found.worker.log.reads.set()
            await trio.testing.wait_all_tasks_blocked()
            assert "ERROR" not in [name for name, _ in client.reader.take()]
            assert (found.counters.operations_refused, found.counters.errors) == ({}, {})
            assert (found.room().version, client.session.unacknowledged) == (2, 0)
            client.leave()


async def test_who_may_not_delete_any_more_does_not_delete_by_an_edit_that_waits(autojump_clock):
    async with desk_with("ann:admin") as (found, admin), trio.open_nursery() as nursery:
        await admin.edit(A, 1)
        found.room().trim(0, 0)
        found.worker.log.hold_reads()
        delete = {"op": "add", "path": "", "value": None}
        nursery.start_soon(partial(admin.say, "OP", resource_id="1", version=1, operation=delete))
        await trio.testing.wait_all_tasks_blocked()
        authentication.review_roles(admin.session, Office().verify("ann:editor", 0))
        found.worker.log.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        await admin.session.settled(0)
        assert found.room().document["title"] == "a"


async def test_there_may_be_nothing_to_undo(autojump_clock):
    async with desk_with("ann") as (_, client):
        assert one(await client.say("UNDO", resource_id="1"), "ERROR")["code"] == "NOTHING_TO_UNDO"


async def test_an_undo_sent_again_is_answered_with_its_version(autojump_clock):
    async with desk_with("ann") as (found, client):
        await client.edit(A, 1, seq=1)
        said = []
        for _ in range(2):
            said += await client.say("UNDO", resource_id="1", seq=2)
            await client.session.settled(0)
            said += client.reader.take()
        assert [(kind, payload["version"]) for kind, payload in said] == [("OP_ACK", 3)] * 2
        assert found.room().version == 3


async def forgotten(client, found):
    """The first seqs of a client, that are older than those that are remembered."""
    kept = CONFIG.log.seq_kept
    for seq in range(2, kept + 2):
        await client.edit(titled(f"{seq}")[0], found.room().version, seq=seq)
    return kept + 1


@pytest.mark.parametrize("kind", ["OP", "UNDO", "REDO"])
async def test_a_seq_that_was_forgotten_is_too_old_whatever_it_is_of(autojump_clock, kind):
    async with desk_with("ann") as (found, client):
        newest = await forgotten(client, found)
        head = found.room().version
        removal = {"operation": {"op": "remove", "path": "/x"}}
        for edit in [removal | {"version": base} for base in (head, 0, 99)] if kind == "OP" else [{}]:
            error = one(await client.say(kind, resource_id="1", seq=1, **edit), "ERROR")
            assert (error["code"], error["seq_last"]) == ("SEQ_TOO_OLD", newest)
        assert found.room().version == head
        assert client.session.unacknowledged == 0


def edit_of(number, **fields):
    """An edit of event 1 by ann, as a message; None: without it."""
    payload = {"resource_type": "event", "resource_id": "1", "version": 1, "operation": titled("a")[0]}
    payload |= {"client_id": "ann-client"} | fields
    given = {name: value for name, value in payload.items() if value is not None}
    return orjson.dumps({"type": "OP", "id": f"e{number}", "payload": given})


async def test_what_came_with_an_edit_that_was_turned_away_is_turned_away_in_one_go(autojump_clock):
    async with desk_with("ann") as (found, client):
        await overloaded(found)
        edits = [edit_of(number, client_id=None if number == 1 else "ann-client") for number in range(3)]
        received = found.counters.step_seconds["receive"]
        before = received.count
        assert client.session.turn_away(edits) == 3
        assert received.count == before + 3
        assert [payload["ref"] for _, payload in client.reader.take()] == ["e0", "e1", "e2"]
        assert client.reader.rested == 1
        assert found.counters.errors["UNAVAILABLE"] == 3
        assert found.counters.operations_refused["UNAVAILABLE"] == 3
        assert client.session.unacknowledged == 0


async def test_edits_that_were_turned_away_slowly_are_logged_as_edits(autojump_clock, caplog, monkeypatch):
    monkeypatch.setattr(session, "SLOW_S", 0.0)
    async with desk_with("ann") as (found, client):
        await overloaded(found)
        edits, slow = [edit_of(number) for number in range(3)], found.counters.messages_slow
        before = dict(slow)
        client.session.turn_away(edits)
        assert {kind: slow[kind] - before.get(kind, 0) for kind in ("OP", "unknown")} == {
            "OP": 1,
            "unknown": 0,
        }
        assert f"OP of {sum(map(len, edits))} bytes" in caplog.text


OTHERS = {
    "a resend": edit_of(9, seq=1),
    "another room's": edit_of(9, resource_id="2"),
    "of a room that it isn't in": edit_of(9, resource_id="3"),
    "another client's": edit_of(9, client_id="bob-client"),
    "a client's that isn't a name": edit_of(9, client_id=[]),
    "no edit": orjson.dumps({"type": "PING", "id": "e9"}),
    "an undo": edit_of(9).replace(b'"OP"', b'"UNDO"'),
    "not JSON": b"{",
    "no object": b"[]",
    "an id that is none": edit_of(9).replace(b'"e9"', b"9"),
    "too long": edit_of(9, operation={"op": "add", "path": "/x", "value": "x" * 300_000}),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=list(OTHERS))
async def test_what_needs_a_closer_look_is_not_turned_away_with_an_edit_before_it(autojump_clock, other):
    async with desk() as found:
        await found.worker.open("event:2")
        client = await found.client("ann", subscribed=True)
        await client.subscribe("2")
        one(await client.edit(A, 1, seq=1), "OP_ACK")
        client.reader.take()
        await overloaded(found)
        assert client.session.turn_away([edit_of(0), other, edit_of(1)]) == 1
        assert [payload["ref"] for _, payload in client.reader.take()] == ["e0"]


async def test_who_may_only_view_is_told_so_in_an_overload_too(autojump_clock):
    async with desk_with("ann:viewer") as (found, client):
        await overloaded(found)
        assert client.session.turn_away([edit_of(0)]) == 0
        assert one(await client.edit(A, 1), "ERROR")["code"] == "FORBIDDEN"


async def test_what_came_with_an_edit_is_looked_at_by_itself_once_the_overload_is_over(autojump_clock):
    async with desk_with("ann") as (_, client):
        assert client.session.turn_away([edit_of(0)]) == 0
        assert client.reader.take() == []


async def test_in_an_overload_of_what_was_forgotten_nobody_says_that_it_is_lost(autojump_clock):
    async with desk_with("ann") as (found, client):
        await forgotten(client, found)
        await overloaded(found)
        assert one(await client.edit(A, 1, seq=1), "ERROR")["code"] == "SEQ_TOO_OLD"
        assert one(await client.say("UNDO", resource_id="1", seq=1), "ERROR")["code"] == "SEQ_TOO_OLD"


async def test_a_resend_of_what_left_the_window_is_answered_with_its_conflicts(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        await bob.edit(A, 1)
        first = one(await ann.edit(B, 1, seq=1), "OP_ACK")
        assert [conflict["theirs"] for conflict in first["conflicts"]] == ["a"]
        for trimmed in (False, True):
            if trimmed:
                found.room().trim(0, 0)
            again = one(await ann.edit(B, 1, seq=1), "OP_ACK")
            assert (again["duplicate"], again["conflicts"]) == (True, first["conflicts"])
            assert again["version"] == first["version"] == found.room().version


async def test_a_resend_to_a_worker_that_has_not_heard_of_it_is_answered_with_its_conflicts(autojump_clock):
    async with desks(2) as (ahead, behind):
        bob, ann = [await ahead.client(name, subscribed=True) for name in ("bob", "ann")]
        await behind.client("eve", subscribed=True)
        behind.worker.bus.post = lambda resource, payload: None
        await bob.edit(A, 1)
        first = one(await ann.edit(B, 1, seq=1), "OP_ACK")
        again = one(await (await behind.client("ann", subscribed=True)).edit(B, 1, seq=1), "OP_ACK")
        assert first["conflicts"] and behind.room().version == 1
        assert (again["version"], again["conflicts"]) == (3, first["conflicts"])


@pytest.mark.parametrize("fate", ["away", "trimmed"])
async def test_a_resend_whose_change_can_not_be_read_is_answered_without_conflicts(autojump_clock, fate):
    async with desk_with("ann", "bob") as (found, ann, bob):
        await bob.edit(A, 1)
        await ann.edit(B, 1, seq=1)
        found.room().trim(0, 0)

        async def unreadable(resource, after, limit):
            raise LogUnavailable("away", "none") if fate == "away" else LogTrimmed("it went", after + 1)

        found.worker.log.read = unreadable
        again = one(await ann.edit(B, 1, seq=1), "OP_ACK")
        assert (again["version"], again["duplicate"], "conflicts" in again) == (3, True, False)


async def test_an_edit_on_its_way_that_is_sent_again_in_an_overload_is_not_said_to_be_lost(autojump_clock):
    """Its connection was lost before the answer; the first one still commits."""
    resend = edit_of(1, operation=A, seq=1)
    async with desk_with("ann") as (found, first):
        found.worker.log.hold()
        assert await first.raw(resend) == []
        again = await found.client("ann", subscribed=True)
        await overloaded(found)
        assert again.session.turn_away([resend]) == 0
        assert await again.raw(resend) == []
        assert one(await again.raw(edit_of(2, operation=B, seq=2)), "ERROR")["code"] == "UNAVAILABLE"
        found.worker.log.go.set()
        await again.session.settled(0)
        assert one(again.reader.take(), "OP_ACK")["version"] == 2
        assert found.room().version == 2


async def test_while_more_come_than_can_be_committed_an_edit_is_refused_but_no_resend(autojump_clock):
    async with desk_with("ann") as (found, client):
        one(await client.edit(A, 1, seq=1), "OP_ACK")
        await overloaded(found)
        refused = one(await client.edit(B, 2, seq=2), "ERROR")
        assert (refused["code"], refused["outcome"]) == ("UNAVAILABLE", "none")
        assert refused["retry_after_ms"] > 0
        assert client.reader.rested == 1
        assert found.counters.errors["UNAVAILABLE"] == 1
        undo = one(await client.say("UNDO", resource_id="1", seq=2), "ERROR")
        assert (undo["code"], undo["outcome"]) == ("UNAVAILABLE", "none")
        strange = one(await client.edit(B, 2, seq=[]), "ERROR")
        assert strange["code"] == "UNAVAILABLE", "what it is worth is looked at when there is time"
        one(await client.edit(A, 1, seq=1), "OP_ACK")
        found.counters.pending_changes -= 1_000_000
        found.room().trim(0, 1 << 30)
        assert one(await client.edit(B, 1), "ERROR")["code"] == "UNAVAILABLE", "its base is no longer here"
        assert one(await client.edit(B, 2, seq=2), "OP_ACK")["version"] == 3


async def test_after_an_overload_that_nobody_came_after_an_edit_whose_base_left_the_window_is_made(
    autojump_clock,
):
    async with desk_with("ann") as (found, client):
        await client.edit(A, 1)
        await overloaded(found)
        found.counters.pending_changes -= 1_000_000
        found.room().trim(0, 1 << 30)
        await trio.sleep(WINDOW_MAX_S + 2 * TIDY_INTERVAL_S)
        assert one(await client.edit(B, 1), "OP_ACK")["version"] == 3
