"""A session: messages in order, errors, limits, liveness, and its end."""

from __future__ import annotations

import logging

import orjson
import pytest
import trio

from gateway.ports import Ack
from gateway.sessions.session import ClientSession
from tests.rooms.parts import titled
from tests.sessions.parts import CONFIG, desk, desk_with


def codes(said):
    return [payload["code"] for kind, payload in said if kind == "ERROR"]


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"payload": {}}', "type"),
        (b'{"type": "NONSENSE"}', "NONSENSE"),
        (b'{"type": "PING", "id": 7}', "id"),
    ],
)
async def test_a_malformed_message_is_answered_and_the_connection_stays(autojump_clock, message, word):
    async with desk() as found:
        client = await found.client()
        [(kind, payload)] = await client.raw(message)
        assert (kind, payload["code"]) == ("ERROR", "INVALID_MESSAGE")
        assert word in payload["message"]
        assert client.reader.closed_with is None


async def test_an_error_names_the_message_that_it_answers(autojump_clock):
    async with desk() as found:
        client = await found.client()
        [(_, payload)] = await client.say("UNSUBSCRIBE", resource="event", resource_id="9")
        assert (payload["code"], payload["ref"]) == ("NOT_SUBSCRIBED", "m2")


async def test_ten_invalid_messages_in_a_row_are_one_too_many_and_a_right_one_ends_the_row(autojump_clock):
    async with desk() as found:
        client = await found.client()
        for _ in range(9):
            await client.raw(b"{")
        await client.say("PING")
        for _ in range(9):
            await client.raw(b"{")
        assert client.reader.closed_with is None
        await client.raw(b"{")
        assert client.reader.closed_with == 1008


async def test_a_message_over_the_limit_is_too_large(autojump_clock):
    async with desk(CONFIG.with_(limits={"message_bytes_max": 300})) as found:
        client = await found.client()
        assert codes(await client.say("PING", padding="x" * 300)) == ["TOO_LARGE"]


async def test_a_binary_frame_is_invalid(autojump_clock):
    async with desk() as found:
        client = await found.client()
        assert client.session.receive_binary(7) is None
        assert codes(client.reader.take()) == ["INVALID_MESSAGE"]


async def test_only_auth_and_ping_come_before_auth(autojump_clock):
    async with desk() as found:
        client = await found.client(None)
        assert [kind for kind, _ in await client.say("PING")] == ["PONG"]
        assert codes(await client.subscribe()) == ["UNAUTHENTICATED"]
        assert client.reader.closed_with == 4401


async def test_a_bug_is_logged_with_the_reference_that_the_client_gets(autojump_clock, monkeypatch, caplog):
    async with desk() as found:
        client = await found.client()
        handlers = dict(found.endpoint.context.handlers)

        def broken(session: ClientSession, message: object, raw: bytes) -> None:
            raise KeyError("oops")

        handlers["PING"] = broken
        monkeypatch.setattr("gateway.sessions.handlers.HANDLERS", handlers)
        other = type(found)(found.worker, CONFIG)
        client = await other.client()
        with caplog.at_level(logging.ERROR):
            [(_, payload)] = await client.say("PING")
        assert payload["code"] == "INTERNAL"
        assert payload["message"].split()[-1].rstrip(".") in caplog.text
        assert (client.reader.closed_with, found.counters.internal_errors) == (1011, 1)


@pytest.mark.parametrize("base", [4, 1], ids=["at once", "after the log was asked"])
async def test_a_client_with_too_much_on_its_way_is_not_read_until_it_is_less(autojump_clock, base):
    async with desk(CONFIG.with_(limits={"unacknowledged_max": 2})) as found, trio.open_nursery() as nursery:
        client = await found.client(subscribed=True)
        for version in range(1, 4):
            await client.edit(titled(f"{version}")[0], version)
        found.room().trim(0, 0)
        found.worker.log.hold()
        edit = {"resource_id": "1", "version": 4, "operation": titled("a")[0]}
        assert client.session.receive(orjson.dumps({"type": "OP", "payload": edit})) is None
        last = orjson.dumps({"type": "OP", "payload": edit | {"version": base}})
        wait = client.session.receive(last)
        assert wait is not None
        read_on = trio.Event()

        async def transport() -> None:
            await wait
            read_on.set()

        nursery.start_soon(transport)
        await trio.testing.wait_all_tasks_blocked()
        assert (client.session.unacknowledged, read_on.is_set()) == (2, False)
        found.worker.log.go.set()
        with trio.fail_after(1):
            await read_on.wait()


async def test_who_sends_no_auth_is_closed_in_time(autojump_clock):
    async with desk() as found:
        client = await found.client(None)
        await trio.sleep(CONFIG.timeouts.auth_timeout_s + 2)
        assert codes(client.reader.take()) == ["UNAUTHENTICATED"]
        assert client.reader.closed_with == 4401


async def test_who_says_nothing_for_long_is_closed_and_a_ping_is_something(autojump_clock):
    async with desk() as found:
        idle, alive = await found.client("ann"), await found.client("bob")
        for _ in range(4):
            await trio.sleep(CONFIG.timeouts.idle_timeout_s / 3)
            await alive.say("PING")
        assert (idle.reader.closed_with, alive.reader.closed_with) == (4408, None)


async def test_a_tokens_end_is_announced_then_carried_out(autojump_clock):
    async with desk() as found:
        client = await found.client("ann:editor:60")
        await trio.sleep(40)
        [(kind, payload)] = client.reader.take()
        assert kind == "AUTH_EXPIRING"
        assert 0 < payload["expires_in_ms"] <= 30_000
        await trio.sleep(25)
        assert codes(client.reader.take()) == ["TOKEN_EXPIRED"]
        assert client.reader.closed_with == 4401


async def test_a_renewed_token_goes_on(autojump_clock):
    async with desk() as found:
        client = await found.client("ann:editor:60")
        await client.say("AUTH", token="ann:editor:600")
        await trio.sleep(100)
        assert client.reader.closed_with is None


async def test_a_session_that_ends_leaves_everything(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        bob.reader.take()
        ann.leave()
        assert bob.reader.kinds() == ["PRESENCE_LEAVE"]
        assert found.room().subscriber_count == 1
        assert (found.counters.subscriptions, found.counters.presences) == (1, 1)
        assert list(found.endpoint.registry.sessions) == [bob.session]


async def test_a_slow_readers_queue_can_be_replaced_by_the_state_of_what_it_looks_at(autojump_clock):
    async with desk_with("ann") as (_, client):
        state = orjson.loads(client.session.resync("event:1", ()))
        assert (state["type"], state["payload"]["current_version"]) == ("SYNC_RESPONSE", 1)
        presence = orjson.loads(client.session.presence_state("event:1"))
        assert presence["type"] == "PRESENCE_STATE"
        assert client.session.resync("event:2", ()) is client.session.presence_state("event:2") is None
        assert client.reader.take() == []


async def test_acknowledgements_that_were_kept_come_though_the_resource_is_left(autojump_clock):
    async with desk_with("ann") as (_, client):
        await client.say("UNSUBSCRIBE", resource="event", resource_id="1")
        acks = (Ack("m7", 3, 12), Ack("m8", None, 13, b"[1]"))
        assert client.session.resync("event:1", acks) is None
        name = {"resource_type": "event", "resource_id": "1"}
        assert client.reader.take() == [
            ("OP_ACK", {**name, "id": "m7", "seq": 3, "version": 12, "duplicate": True}),
            ("OP_ACK", {**name, "id": "m8", "version": 13, "conflicts": [1], "duplicate": True}),
        ]


async def test_whatever_is_told_of_a_resource_bears_its_time(autojump_clock):
    """Another node's clock is ahead, or this one's was set back."""
    async with desk_with("ann") as (found, client):
        session, room = client.session, found.room()
        ahead_ms = room.history.stamp(room.wall_ms() + 3_600_000)
        for kind in ("OP", "UNSUBSCRIBE", "OP"):  # refused, done, refused
            payload = {"resource": "event", "resource_type": "event", "resource_id": "1"}
            session.receive(orjson.dumps({"type": kind, "payload": payload}))
        session.refuse_for_now(room, [None])
        session.resync("event:1", (Ack("m7", 3, 12),))
        told = [(message["type"], message["timestamp"]) for message in client.reader.messages]
        kinds = ["ERROR", "UNSUBSCRIBE_ACK", "ERROR", "ERROR", "OP_ACK"]
        assert told == [(kind, ahead_ms) for kind in kinds]


async def test_an_id_in_two_types_needs_its_type(autojump_clock):
    async with desk_with("ann") as (_, client):
        await client.say("SUBSCRIBE", resource="calendar", resource_id="1")
        [(_, payload)] = await client.say("OP", resource_id="1", version=1, operation=titled("a")[0])
        assert payload["code"] == "INVALID_MESSAGE"
        assert "resource_type" in payload["message"]


async def test_many_parts_of_one_message_that_are_invalid_are_one_invalid_message(autojump_clock):
    async with desk() as found:
        client = await found.client()
        wrong = [{"resource": "event", "resource_id": f"no id {number}"} for number in range(12)]
        resources = [*wrong, {"resource": "event", "resource_id": "1"}]
        for number in range(10):
            assert client.reader.closed_with is None
            said = await client.say("SUBSCRIBE", resources=resources)
            assert codes(said) == ["INVALID_MESSAGE"] * 12
            assert "SUBSCRIBE_ACK" in [kind for kind, _ in said], number
        assert client.reader.closed_with == 1008
