"""What each message does: AUTH, SUBSCRIBE, SYNC_REQUEST, PRESENCE_UPDATE and their like."""

from __future__ import annotations

from functools import partial

import orjson
import pytest
import trio

from gateway.runtime import timeslice
from gateway.sessions import authentication
from tests.rooms.parts import EVENT, titled
from tests.sessions.parts import CONFIG, Office, desk, desk_with, one

# ------------------------------------------------------------------------------------------------ AUTH


async def test_auth_tells_who_one_is_and_what_is_allowed(autojump_clock):
    async with desk() as found:
        client = await found.client(None)
        payload = one(await client.say("AUTH", token="ann", client_id="c1", user_id="ann"), "AUTH_ACK")
        assert (payload["user_id"], payload["client_id"], payload["node"]) == ("ann", "c1", "node")
        assert payload["session_id"] == client.session.id
        assert payload["limits"]["unacknowledged_max"] == CONFIG.limits.unacknowledged_max
        assert payload["reconnect"] == {"min_ms": 500, "max_ms": 30_000}
        assert "subscribe_many" in payload["features"]


async def test_a_bearer_token_needs_no_auth_and_is_acknowledged_unasked(autojump_clock):
    async with desk() as found:
        client = await found.client(None, authorization="Bearer ann")
        assert client.session.identity.user_id == "ann"
        payload = one(await client.say("AUTH", client_id="c1"), "AUTH_ACK")
        assert payload["client_id"] == "c1"
        one(await client.say("AUTH", user_id="ann"), "AUTH_ACK")


@pytest.mark.parametrize(("user_id", "code"), [("bob", "UNAUTHENTICATED"), (5, "INVALID_MESSAGE")])
async def test_a_user_id_is_the_bearer_tokens_too(autojump_clock, user_id, code):
    async with desk() as found:
        client = await found.client(None, authorization="Bearer ann")
        said = await client.say("AUTH", client_id="c1", user_id=user_id)
        assert one(said, "ERROR")["code"] == code
        assert client.session.client_id is None
        assert client.reader.closed_with == (4401 if code == "UNAUTHENTICATED" else None)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"client_id": "c"}, "UNAUTHENTICATED"),
        ({"token": "", "client_id": "c"}, "UNAUTHENTICATED"),
        ({"token": "ann:forged", "client_id": "c"}, "UNAUTHENTICATED"),
        ({"token": "ann", "client_id": "c", "user_id": "bob"}, "UNAUTHENTICATED"),
        ({"token": "ann"}, "INVALID_MESSAGE"),
        ({"token": "ann", "client_id": "c", "protocol": 2}, "INVALID_MESSAGE"),
        ({"token": 7, "client_id": "c"}, "INVALID_MESSAGE"),
    ],
)
async def test_an_auth_that_is_not_right_is_refused(autojump_clock, payload, code):
    async with desk() as found:
        client = await found.client(None)
        assert one(await client.say("AUTH", **payload), "ERROR")["code"] == code
        assert client.reader.closed_with == (4401 if code == "UNAUTHENTICATED" else None)


async def test_a_connection_stays_its_users_and_its_clients(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        other = one(await client.say("AUTH", token="ann", client_id="another"), "ERROR")
        assert other["code"] == "INVALID_MESSAGE"
        assert one(await client.say("AUTH", token="bob"), "ERROR")["code"] == "UNAUTHENTICATED"


async def test_protocol_1_makes_a_connection_extended_its_subscriptions_too(autojump_clock):
    async with desk() as found:
        plain = await found.client("ann", extended=False, subscribed=True)
        await plain.say("AUTH", protocol=1)
        assert plain.session.extended
        bob = await found.client("bob", subscribed=True)
        plain.reader.take()
        patch = [{"op": "text", "path": "/description", "value": ["x"]}]
        await bob.edit(patch, 1)
        assert one(plain.reader.take(), "OP_BROADCAST")["operation"] == patch[0]


async def test_who_is_not_admitted_is_closed(autojump_clock):
    async with desk(CONFIG.with_(features={"enabled": False})) as found:
        client = await found.client("ann")
        assert client.reader.closed_with == 4403


# ------------------------------------------------------------------------------------------- SUBSCRIBE


async def test_a_subscription_brings_the_state_then_who_is_there(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        said = await client.subscribe()
        assert [kind for kind, _ in said] == ["SUBSCRIBE_ACK", "PRESENCE_STATE"]
        payload = said[0][1]
        assert (payload["resource"], payload["resource_id"]) == ("event", "1")
        assert (payload["version"], payload["role"], payload["state"]) == (1, "editor", EVENT)
        assert said[1][1]["count"] == 1


async def test_who_resumes_gets_the_changes_since_or_the_state_when_they_are_too_many(autojump_clock):
    async with desk() as found:
        ann, bob = await found.client("ann", subscribed=True), await found.client("bob")
        for number in range(3):
            await ann.edit(titled(f"{number}")[0], 1 + number)
        epoch = found.room().epoch
        ack = one(await bob.subscribe(version=2, epoch=epoch), "SUBSCRIBE_ACK")
        assert [change["version"] for change in ack["changes"]] == [3, 4]
        assert ack["changes"][0]["client_id"] == "ann-client"
        assert "state" in one(await bob.subscribe(version=1, epoch=epoch, max_changes=2), "SUBSCRIBE_ACK")
        assert "state" in one(await bob.subscribe(version=2, epoch=epoch - 1), "SUBSCRIBE_ACK")
        assert "state" in one(await bob.subscribe(version=9, epoch=epoch), "SUBSCRIBE_ACK")
        assert one(await bob.subscribe(version=4, epoch=epoch), "SUBSCRIBE_ACK")["changes"] == []


async def test_what_is_not_granted_cannot_be_subscribed(autojump_clock):
    async with desk() as found:
        client = await found.client("ann:nobody")
        payload = one(await client.subscribe(), "ERROR")
        assert (payload["code"], found.counters.subscriptions) == ("FORBIDDEN", 0)


async def test_subscriptions_are_bounded_and_one_more_of_the_same_is_none(autojump_clock):
    async with desk(CONFIG.with_(limits={"subscriptions_max": 2})) as found:
        client = await found.client("ann")
        for ident in ("1", "2", "2"):
            one(await client.subscribe(ident), "SUBSCRIBE_ACK")
        assert one(await client.subscribe("3"), "ERROR")["code"] == "TOO_LARGE"
        await client.say("UNSUBSCRIBE", resource="event", resource_id="2")
        one(await client.subscribe("3"), "SUBSCRIBE_ACK")


@pytest.mark.parametrize(
    "payload",
    [
        {"resource_id": "1"},
        {"resource": "planet", "resource_id": "1"},
        {"resource": "event", "resource_id": " "},
    ],
)
async def test_a_subscription_names_what_it_is_for(autojump_clock, payload):
    async with desk() as found:
        client = await found.client("ann")
        assert one(await client.say("SUBSCRIBE", **payload), "ERROR")["code"] == "INVALID_MESSAGE"


async def test_nothing_comes_after_an_unsubscription(autojump_clock):
    async with desk_with("ann", "bob") as (_, ann, bob):
        said = await ann.say("UNSUBSCRIBE", resource="event", resource_id="1")
        assert said[-1] == (
            "UNSUBSCRIBE_ACK",
            {"resource": "event", "resource_id": "1", "resource_type": "event"},
        )
        await bob.edit(titled("b")[0], 1)
        assert ann.reader.take() == []


async def test_an_unsubscription_leaves_the_type_out_where_the_id_is_of_one_type(autojump_clock):
    async with desk() as found:
        ann = await found.client("ann", subscribed=True)
        ack = one(await ann.say("UNSUBSCRIBE", resource_id="1"), "UNSUBSCRIBE_ACK")
        assert ack == {"resource": "event", "resource_type": "event", "resource_id": "1"}
        refused = one(await ann.say("UNSUBSCRIBE", resource_id="1"), "ERROR")
        assert refused["code"] == "NOT_SUBSCRIBED"
        await ann.subscribe()
        await ann.say("SUBSCRIBE", resource="calendar", resource_id="1")
        refused = one(await ann.say("UNSUBSCRIBE", resource_id="1"), "ERROR")
        assert refused["code"] == "INVALID_MESSAGE" and "several types" in refused["message"]
        assert len(ann.session.subscriptions) == 2


@pytest.mark.parametrize("extended", [True, False])
async def test_a_renewed_token_that_grants_less_ends_what_it_does_not_grant(autojump_clock, extended):
    async with desk() as found:
        client = await found.client("ann", extended, subscribed=True)
        said = await client.say("AUTH", token="ann:nobody")
        if extended:
            assert one(said, "ROLE_CHANGED")["role"] is None
        else:
            assert one(said, "ERROR")["code"] == "FORBIDDEN"
        assert "event:1" not in client.session.subscriptions
        assert found.room().subscriber_count == 0


async def test_a_renewed_token_with_another_role_says_so_and_one_with_the_same_does_not(autojump_clock):
    async with desk_with("ann") as (_, client):
        said = await client.say("AUTH", token="ann:viewer")
        payload = one(said, "ROLE_CHANGED")
        assert (payload["resource"], payload["resource_id"], payload["role"]) == ("event", "1", "viewer")
        assert one(await client.edit(titled("a")[0], 1), "ERROR")["code"] == "FORBIDDEN"
        assert [kind for kind, _ in await client.say("AUTH", token="ann:viewer")] == ["AUTH_ACK"]


async def test_many_resources_are_subscribed_by_one_message_each_answered_by_itself(autojump_clock):
    async with desk(CONFIG.with_(limits={"subscriptions_max": 4})) as found:
        client = await found.client("ann")
        resources = [
            {"resource": "event", "resource_id": "1", "version": 1, "epoch": found.room().epoch},
            {"resource": "event", "resource_id": "2"},
            {"resource": "planet", "resource_id": "3"},
            {"resource": "event", "resource_id": "4"},
        ]
        said = await client.say("SUBSCRIBE", resources=resources, visible=False)
        acks = [payload for kind, payload in said if kind == "SUBSCRIBE_ACK"]
        assert [ack["resource_id"] for ack in acks] == ["1", "2", "4"]
        assert (acks[0]["changes"], acks[1]["state"]) == ([], None)
        error = one(said, "ERROR")
        assert (error["code"], error["ref"], error["resource_id"]) == ("INVALID_MESSAGE", "m2", "3")
        assert len(found.room().roster) == 0
        await client.edit(titled("a")[0], 1)
        assert found.room().version == 2


@pytest.mark.parametrize(
    ("resources", "code"),
    [([], "INVALID_MESSAGE"), ("1", "INVALID_MESSAGE"), ([1], "INVALID_MESSAGE"), ([{}] * 5, "TOO_LARGE")],
)
async def test_a_list_of_resources_is_one_of_bounded_length(autojump_clock, resources, code):
    async with desk(CONFIG.with_(limits={"subscriptions_max": 4})) as found:
        client = await found.client("ann")
        assert one(await client.say("SUBSCRIBE", resources=resources), "ERROR")["code"] == code


async def test_of_many_resources_a_malformed_one_is_told_by_its_place(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        wrong = [
            {"resource": "event", "resource_id": "1", "version": "7"},
            {"resource": "planet", "resource_id": "3"},
            {"resource": "event"},
            {"resource_id": "4"},
        ]
        said = await client.say("SUBSCRIBE", resources=[{"resource": "event", "resource_id": "2"}, *wrong])
        told = [payload["message"].split(" ", 2)[:2] for kind, payload in said if kind == "ERROR"]
        assert told == [
            ["payload.resources[1]:", "version"],
            ["payload.resources[2]:", "Unknown"],
            ["payload.resources[3]:", "resource_id"],
            ["payload.resources[4]:", "resource"],
        ]


@pytest.mark.parametrize("shared", [{"max_changes": -1}, {"visible": "yes"}])
async def test_what_is_malformed_for_many_resources_is_told_once(autojump_clock, shared):
    async with desk() as found:
        client = await found.client("ann")
        resources = [{"resource": "event", "resource_id": str(number)} for number in range(4)]
        [(kind, payload)] = await client.say("SUBSCRIBE", resources=resources, **shared)
        assert (kind, payload["message"].split(" ")[0]) == ("ERROR", f"payload.{next(iter(shared))}")


async def test_many_resources_are_bounded_as_single_ones_are(autojump_clock):
    async with desk_with("ann", config=CONFIG.with_(limits={"subscriptions_max": 4})) as (_, client):
        resources = [{"resource": "event", "resource_id": f"n{number}"} for number in range(4)]
        error = one(await client.say("SUBSCRIBE", resources=resources), "ERROR")
        assert (error["code"], error["resource_id"]) == ("TOO_LARGE", "n3")


async def test_of_many_resources_one_that_cannot_be_opened_is_tried_once(autojump_clock):
    async with desk() as found:
        client = await found.client()
        tried = found.worker.log.opened = []
        found.worker.log.away = True
        resources = [{"resource": "event", "resource_id": ident} for ident in ("1", "8", "9")]
        said = await client.say("SUBSCRIBE", resources=resources)
        errors = [(payload["resource_id"], payload["code"]) for kind, payload in said if kind == "ERROR"]
        assert errors == [("8", "UNAVAILABLE"), ("9", "UNAVAILABLE")]
        assert (sorted(tried), list(client.session.subscriptions)) == (["event:8", "event:9"], ["event:1"])


async def test_who_subscribes_to_many_resources_takes_turns_with_others_who_do(autojump_clock, monkeypatch):
    monkeypatch.setattr(timeslice, "TURN_S", 0.0)
    resources = [{"resource": "event", "resource_id": str(number)} for number in range(30)]
    async with desk() as found:
        await (await found.client()).say("SUBSCRIBE", resources=resources)
        clients = [await found.client(f"user{number}", extended=False) for number in range(10)]
        begun, between = found.counters.subscriptions, []
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(partial(client.say, "SUBSCRIBE", resources=resources))
            while found.counters.subscriptions < begun + len(clients) * len(resources):
                before = found.counters.subscriptions
                await trio.lowlevel.checkpoint()
                between.append(found.counters.subscriptions - before)
    assert max(between) <= 2, "everybody else runs between any two"


async def test_who_waits_for_the_log_needs_no_turn_for_that(monkeypatch):
    """Else all who come back after a worker died would have one room a round of the loop opened for them."""
    monkeypatch.setattr(timeslice, "TURN_S", 0.0)
    names = [[f"{client}-{number}" for number in range(30)] for client in range(10)]
    async with desk() as found:
        hub, rounds = found.worker.hub, 0
        clients = [await found.client(f"user{number}") for number in range(len(names))]

        def is_ready(client: int, name: str) -> bool:
            room = hub.get(f"event:{name}")
            return (
                room is not None
                and room.history.memory_of(f"user{client}", f"user{client}-client") is not None
            )

        async with trio.open_nursery() as nursery:
            for client, of_client in zip(clients, names, strict=True):
                resources = [{"resource": "event", "resource_id": name} for name in of_client]
                nursery.start_soon(partial(client.say, "SUBSCRIBE", resources=resources))
            while not all(is_ready(number, name) for number, some in enumerate(names) for name in some):
                await trio.lowlevel.checkpoint()
                rounds += 1
    assert rounds < 75, "half of what they took with turns"


async def test_a_client_learns_its_newest_seq(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        assert one(await client.subscribe(), "SUBSCRIBE_ACK")["seq_last"] == 0
        await client.edit(titled("a")[0], 1, seq=7)
        found.worker.hub._rooms.clear()  # as after a restart
        again = await found.client("ann")
        assert one(await again.subscribe(), "SUBSCRIBE_ACK")["seq_last"] == 7
        plain = await found.client("bob", extended=False)
        assert "seq_last" not in one(await plain.subscribe(), "SUBSCRIBE_ACK")


# ------------------------------------------------------------------------------------------------ sync


async def test_who_subscribes_for_longer_than_rooms_stay_open_hears_what_others_change(autojump_clock):
    async with desk(CONFIG.with_(timeouts={"room_idle_s": 5.0})) as found:
        log, client = found.worker.log, await found.client("ann")
        recent = log.recent

        async def slow(*arguments):
            await trio.sleep(20)
            return await recent(*arguments)

        log.recent = slow
        await trio.sleep(20)  # what clients submitted has to be asked of the log now
        await client.subscribe()
        log.recent = recent
        bob = await found.client("bob", subscribed=True)
        client.reader.take()
        await bob.edit(titled("b")[0], 1)
        assert "OP_BROADCAST" in [kind for kind, _ in client.reader.take()]


async def test_a_sync_brings_plain_clients_flat_operations_and_extended_ones_changes(autojump_clock):
    async with desk() as found:
        plain, extended = await found.client("ann", False, True), await found.client("bob", True, True)
        await extended.edit(titled("a")[0], 1)
        await extended.edit(titled("b")[0], 2)
        plain.reader.take()
        response = one(await plain.say("SYNC_REQUEST", resource_id="1", last_version=1), "SYNC_RESPONSE")
        assert response["operations"] == [titled("a")[0], titled("b")[0]]
        assert response["current_version"] == 3
        response = one(await extended.say("SYNC_REQUEST", resource_id="1", last_version=2), "SYNC_RESPONSE")
        assert [change["version"] for change in response["changes"]] == [3]


async def test_what_is_not_subscribed_can_be_read_when_it_is_named_and_granted(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        named = {"resource_id": "1", "resource_type": "event", "last_version": 0}
        assert "changes" in one(await client.say("SYNC_REQUEST", **named), "SYNC_RESPONSE")
        bare = await client.say("SYNC_REQUEST", resource_id="1", last_version=0)
        assert one(bare, "ERROR")["code"] == "NOT_SUBSCRIBED"
        stranger = await found.client("bob:nobody")
        assert one(await stranger.say("SYNC_REQUEST", **named), "ERROR")["code"] == "FORBIDDEN"


@pytest.mark.parametrize("subscribed", [True, False])
async def test_what_is_not_granted_any_more_is_not_told_by_a_sync_that_waited(autojump_clock, subscribed):
    async with desk_with("ann") as (found, ann), trio.open_nursery() as nursery:
        bob = await found.client("bob", subscribed=subscribed)
        await ann.edit(titled("a")[0], 1)
        found.room().trim(0, 0)
        bob.reader.take()
        found.worker.log.hold_reads()
        said = []

        async def sync() -> None:
            said.extend(await bob.say("SYNC_REQUEST", resource_id="1", resource_type="event", last_version=1))

        nursery.start_soon(sync)
        await trio.testing.wait_all_tasks_blocked()
        granted = Office().verify("bob:nobody", 0)
        bob.session.regranted(granted)
        authentication.review_roles(bob.session, granted)
        found.worker.log.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        assert "SYNC_RESPONSE" not in [name for name, _ in said]
        assert one(said, "ERROR")["code"] == "FORBIDDEN"


# -------------------------------------------------------------------------------------------- presence


async def test_a_cursor_is_told_to_the_others(autojump_clock):
    async with desk_with("ann", "bob") as (_, ann, bob):
        ann.reader.take()
        cursor = {"field": "title", "position": 3}
        assert await bob.say("PRESENCE_UPDATE", resource_id="1", cursor=cursor, is_typing=True) == []
        payload = one(ann.reader.take(), "PRESENCE_UPDATE")
        assert (payload["user_id"], payload["is_typing"]) == ("bob", True)
        assert payload["cursor"] == cursor | {"version": 1}, "where it isn't said it is the head"
        anchored = {"field": "title", "anchor": 3}
        await bob.say("PRESENCE_UPDATE", resource_id="1", cursor=anchored)
        await trio.sleep(0.2)
        assert one(ann.reader.take(), "PRESENCE_UPDATE")["cursor"] == anchored | {"version": 1}
        cursor |= {"anchor": 7, "version": 1}
        await bob.say("PRESENCE_UPDATE", resource_id="1", cursor=cursor)
        await trio.sleep(0.2)
        assert one(ann.reader.take(), "PRESENCE_UPDATE")["cursor"] == cursor
        await bob.say("PRESENCE_UPDATE", resource_id="1", cursor=cursor | {"version": 0})
        await trio.sleep(0.2)
        told = one(ann.reader.take(), "PRESENCE_UPDATE")["cursor"]
        assert told == {"field": "title"}, "as of the head, where the text came only after that version"


async def test_a_cursor_of_a_version_that_is_not_there_is_told_by_its_field(autojump_clock):
    async with desk_with("ann", "bob") as (_, ann, bob):
        ann.reader.take()
        for ahead in ({"position": 3, "anchor": 7, "version": 2}, {"version": 2**53 - 1}):
            cursor = {"field": "title", **ahead}
            await bob.say("PRESENCE_UPDATE", resource_id="1", cursor=cursor, is_typing=True)
            await trio.sleep(0.2)
            assert one(ann.reader.take(), "PRESENCE_UPDATE")["cursor"] == {"field": "title"}


async def test_typing_ends_by_itself(autojump_clock):
    async with desk_with("ann", "bob") as (_, ann, bob):
        await bob.say("PRESENCE_UPDATE", resource_id="1", is_typing=True)
        ann.reader.take()
        await trio.sleep(12)
        assert one(ann.reader.take(), "PRESENCE_UPDATE")["is_typing"] is False


async def test_where_a_document_is_stamped_in_the_future_people_are_seen_to_move(autojump_clock):
    """Another node's clock is ahead, or this one's was set back."""
    async with desk_with("ann", "bob") as (found, ann, bob):
        ahead_ms = found.room().history.stamp(found.room().wall_ms() + 3_600_000)
        for position in (1, 2, 3):
            cursor = {"field": "title", "position": position}
            await bob.say("PRESENCE_UPDATE", resource_id="1", cursor=cursor, is_typing=True)
            await trio.sleep(0.2)
            told = ann.reader.messages[-1]
            assert (told["type"], told["payload"]["cursor"]["position"]) == ("PRESENCE_UPDATE", position)
            assert told["timestamp"] == ahead_ms, "time doesn't decrease in a resource"
        await trio.sleep(12)
        assert ann.reader.messages[-1]["payload"]["is_typing"] is False
        await bob.say("PRESENCE_UPDATE", resource_id="1", visible=False)
        await trio.sleep(0.2)
        assert ann.reader.messages[-1]["type"] == "PRESENCE_LEAVE"


async def test_a_client_was_last_seen_when_its_last_message_came(autojump_clock):
    async with desk_with("ann", "bob") as (_, ann, bob):
        await trio.sleep(20)
        await bob.say("PING")
        await trio.sleep(5)
        state = orjson.loads(ann.session.presence_state("event:1"))
        seen = {entry["user_id"]: entry["last_seen"] for entry in state["payload"]["presences"]}
        assert state["timestamp"] - seen["bob"] == 5000
        assert state["timestamp"] - seen["ann"] >= 25_000


async def test_one_can_be_invisible_and_appear(autojump_clock):
    async with desk() as found:
        ann, bob = await found.client("ann", subscribed=True), await found.client("bob")
        assert one(await bob.subscribe(visible=False), "PRESENCE_STATE")["count"] == 1
        assert ann.reader.take() == []
        await bob.say("PRESENCE_UPDATE", resource_id="1", visible=True)
        assert ann.reader.kinds() == ["PRESENCE_JOIN"]
        await trio.sleep(CONFIG.presence.update_interval_ms / 1000)
        await bob.say("PRESENCE_UPDATE", resource_id="1", visible=False)
        assert ann.reader.kinds() == ["PRESENCE_LEAVE"]


async def test_a_ping_is_answered_with_its_id(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        await client.say("PING")
        client.session.receive(b'{"type": "PING", "id": "mine"}')
        assert client.reader.messages[-1]["id"] == "mine"
