"""`children: true`: a calendar's events as summaries, as far as the token grants them."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from gateway.admission import parse_grants
from gateway.errors import AuthoriserError, Refusal
from gateway.hub.summarise import instant_ms
from gateway.ports.summaries import Cursor
from gateway.rooms.waiter import commit
from gateway.runtime import timeslice
from gateway.sessions import children
from tests.rooms.parts import EVENT
from tests.sessions.parts import CONFIG, Decider, Office, desk, desks, one

WORK = {"resource": "calendar", "resource_id": "work", "children": True}


async def create(client, ident="9", calendar="work"):
    document = EVENT | {"title": "Standup", "calendar_id": calendar}
    await client.subscribe(ident)
    operation = {"op": "add", "path": "", "value": document}
    await client.say("OP", resource_id=ident, version=0, operation=operation)
    await client.session.settled(0)
    await trio.sleep(0.1)
    client.reader.take()


async def test_children_come_then_what_becomes_of_them(autojump_clock):
    async with desks(2) as (here, there):
        ann, bob = await here.client("ann"), await there.client("bob")
        await create(ann, "8")
        payload = one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")
        assert (payload["resource"], payload["resource_id"]) == ("calendar", "work")
        [item] = payload["items"]
        times = {"start_time": None, "end_time": None}
        assert item == {"resource": "event", "resource_id": "8", "version": 1, "title": "Standup"} | times
        await create(ann, "9")
        payload = one(bob.reader.take(), "CHILD_CHANGED")
        assert (payload["resource_id"], payload["item"]["resource_id"]) == ("work", "9")
        operation = {"op": "remove", "path": "/calendar_id"}
        await ann.say("OP", resource_id="9", version=1, operation=operation)
        await trio.sleep(0.1)
        assert one(bob.reader.take(), "CHILD_REMOVED")["item"]["resource_id"] == "9"
        one(await bob.say("UNSUBSCRIBE", **WORK), "UNSUBSCRIBE_ACK")
        await create(ann, "10")
        assert bob.reader.take() == []
        assert one(await bob.say("UNSUBSCRIBE", **WORK), "ERROR")["code"] == "NOT_SUBSCRIBED"


async def test_what_the_authoriser_does_not_decide_is_told_when_it_answers_again(autojump_clock):
    decider = Decider("editor")
    async with desk(authoriser=decider) as found:
        ann, bob = await found.client("ann"), await found.client("bob")
        one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")
        for ident in ("8", "9"):
            await ann.subscribe(ident)
        decider.decides = AuthoriserError("unreachable", "away")
        document = EVENT | {"title": "Standup", "calendar_id": "work"}
        for ident in ("8", "9"):
            created = {"op": "add", "path": "", "value": document}
            await ann.say("OP", resource_id=ident, version=0, operation=created)
        await trio.sleep(10)
        for ident, changed in (
            ("8", {"op": "remove", "path": "/calendar_id"}),
            ("9", {"op": "replace", "path": "/title", "value": "Retro"}),
        ):
            await ann.say("OP", resource_id=ident, version=1, operation=changed)
        await trio.sleep(10)
        assert bob.reader.take() == []
        decider.decides = "editor"
        await trio.sleep(10)
        told = sorted((kind, payload["item"]["title"]) for kind, payload in bob.reader.take())
        assert told == [("CHILD_CHANGED", "Retro"), ("CHILD_REMOVED", "Standup")]


async def test_what_is_told_of_a_calendars_children_bears_the_calendars_time(autojump_clock):
    async with desk() as found:
        ann, bob = await found.client("ann"), await found.client("bob")
        room = await found.hub.open("calendar:work")
        ahead_ms = room.history.stamp(room.wall_ms() + 3_600_000)
        await bob.say("SUBSCRIBE", **WORK)
        await create(ann)
        await ann.say("OP", resource_id="9", version=1, operation={"op": "remove", "path": "/calendar_id"})
        await trio.sleep(0.1)
        told = [(message["type"], message["timestamp"]) for message in bob.reader.messages]
        assert told == [("CHILD_CHANGED", ahead_ms), ("CHILD_REMOVED", ahead_ms)]


async def test_of_many_children_the_first_come_and_where_a_list_goes_on(autojump_clock, monkeypatch):
    monkeypatch.setattr(children, "ITEMS_MAX", 2)
    async with desk() as found:
        ann = await found.client("ann")
        for ident, hour in (("13", "11"), ("11", "09"), ("12", "10"), ("14", "")):
            await create(ann, ident)
            if hour:
                add = {"op": "add", "path": "/start_time", "value": f"2030-07-01T{hour}:00:00+02:00"}
                await ann.say("OP", resource_id=ident, version=1, operation=add)
        await trio.sleep(0.1)
        ann.reader.take()
        whole = one(await ann.say("SUBSCRIBE", **WORK), "CHILDREN")
        assert (len(whole["items"]), "next" in whole) == (4, False)  # nothing lists the rest here
        found.endpoint.context.has_lists = True
        payload = one(await ann.say("SUBSCRIBE", **WORK), "CHILDREN")
        assert [item["resource_id"] for item in payload["items"]] == ["11", "12"]
        assert payload["next"] == f"{instant_ms('2030-07-01T08:00:00Z')}~12"
        assert Cursor.read(payload["next"]) == Cursor(1909123200000, "12")
        monkeypatch.setattr(children, "ITEMS_MAX", 3)
        assert one(await ann.say("SUBSCRIBE", **WORK), "CHILDREN")["next"].endswith("~13")


async def with_children(found, number):
    """So many events in the calendar's index, without their events."""
    shown = {"version": 1, "title": "T" * 300, "start_time": None, "end_time": None}
    items = {str(ident): shown for ident in range(number)}
    room = await found.hub.open("children:work")
    await commit(room, "gateway", "children", [{"op": "add", "path": "", "value": items}], 0.0)
    return room


async def rounds_of(client):
    """How often others run until a calendar is subscribed."""
    rounds = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(client.say, "SUBSCRIBE", **WORK))
        while not client.session.children:
            await trio.lowlevel.checkpoint()
            rounds += 1
    return rounds


async def test_others_run_while_the_first_of_many_children_are_found(autojump_clock, monkeypatch):
    monkeypatch.setattr(timeslice, "TURN_S", 0.0)
    async with desk() as found:
        found.endpoint.context.has_lists = True
        bob = await found.client("bob")
        await with_children(found, 2500)
        assert await rounds_of(bob) > 2500


async def test_others_run_while_it_is_looked_up_what_the_authoriser_decided_of_children(
    autojump_clock, monkeypatch
):
    async with desk(authoriser=Decider("editor")) as found:
        bob = await found.client("bob")
        await with_children(found, 2500)
        one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")
        one(await bob.say("UNSUBSCRIBE", **WORK), "UNSUBSCRIBE_ACK")
        monkeypatch.setattr(timeslice, "TURN_S", 0.0)
        assert await rounds_of(bob) > 2 * 2500, "for what is asked, and for what is shown"


async def test_of_many_children_the_authoriser_is_asked_in_parts(autojump_clock):
    config = CONFIG.with_(authoriser={"waiting_max": 1000})
    async with desk(config, Decider("editor")) as found:
        bob = await found.client("bob")
        await with_children(found, 2500)
        assert len(one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")["items"]) == 2500


async def test_children_whose_decisions_run_out_while_they_are_found_are_not_left_out(autojump_clock):
    config = CONFIG.with_(authoriser={"cache_s": 60.0})
    async with desk(config, Decider("editor")) as found:
        bob = await found.client("bob")
        await with_children(found, 3000)
        one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")
        await trio.sleep(59.1)
        found.worker.look_s = 0.0001
        refused = one(await bob.say("SUBSCRIBE", **WORK), "ERROR")
        assert (refused["code"], refused["resource_id"]) == ("UNAVAILABLE", "work")
        assert len(one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")["items"]) == 3000


async def test_what_becomes_of_children_while_they_are_found_is_told_after_them(autojump_clock, monkeypatch):
    monkeypatch.setattr(timeslice, "TURN_S", 0.0)
    async with desk() as found:
        bob, said = await found.client("bob"), []
        room = await with_children(found, 100)

        async def subscribe():
            said.extend(await bob.say("SUBSCRIBE", **WORK))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscribe)
            await trio.lowlevel.checkpoint()
            patch = [
                {"op": "remove", "path": "/3"},
                {"op": "replace", "path": "/4/title", "value": "New"},
            ]
            await commit(room, "gateway", "children", patch, 0.0)
            assert not bob.session.children, "they are being found"
        assert [kind for kind, _ in said] == ["CHILDREN", "CHILD_CHANGED", "CHILD_REMOVED"]
        assert len(said[0][1]["items"]) == 100
        assert said[1][1]["item"]["title"] == "New" and said[2][1]["item"]["resource_id"] == "3"


async def test_what_is_revoked_while_children_are_found_is_not_shown(autojump_clock, monkeypatch):
    monkeypatch.setattr(timeslice, "TURN_S", 0.0)
    async with desk() as found:
        bob, said = await found.client("bob"), []
        await with_children(found, 100)

        async def subscribe():
            said.extend(await bob.say("SUBSCRIBE", **WORK))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscribe)
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            assert not bob.session.children, "they are being found"
            left = parse_grants({"calendar:*": "viewer", "event:99": "viewer"})
            bob.session.regranted(bob.session.identity._replace(grants=left))
        assert [item["resource_id"] for item in one(said, "CHILDREN")["items"]] == ["99"]


async def test_the_answer_with_children_counts_by_its_bytes(autojump_clock):
    async with desk(CONFIG.with_(limits={"reads_per_minute": 60, "reads_burst": 5})) as found:
        bob = await found.client("bob")
        await with_children(found, 1000)
        one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")
        assert one(await bob.say("SUBSCRIBE", **WORK), "ERROR")["code"] == "RATE_LIMITED"


async def test_only_what_is_granted_is_shown(autojump_clock):
    async with desk() as found:
        ann, eve = await found.client("ann"), await found.client("eve:viewer")
        assert one(await eve.say("SUBSCRIBE", **WORK), "ERROR")["code"] == "FORBIDDEN"
        await create(ann)
        assert len(one(await ann.say("SUBSCRIBE", **WORK), "CHILDREN")["items"]) == 1
        one(await ann.say("AUTH", token="ann:nobody"), "AUTH_ACK")
        assert ann.session.children == {}


@pytest.mark.parametrize(
    "payload", [{"resource": "event", "resource_id": "1", "children": True}, WORK | {"children": 1}]
)
async def test_only_a_calendar_has_children(autojump_clock, payload):
    async with desk() as found:
        client = await found.client("ann")
        assert one(await client.say("SUBSCRIBE", **payload), "ERROR")["code"] == "INVALID_MESSAGE"


async def test_calendars_count_among_the_subscriptions_and_go_with_the_connection(autojump_clock):
    async with desk(CONFIG.with_(limits={"subscriptions_max": 1})) as found:
        client = await found.client("ann")
        one(await client.say("SUBSCRIBE", **WORK), "CHILDREN")
        home = WORK | {"resource_id": "home"}
        assert one(await client.say("SUBSCRIBE", **home), "ERROR")["code"] == "TOO_LARGE"
        assert one(await client.subscribe(), "ERROR")["code"] == "TOO_LARGE"
        one(await client.say("SUBSCRIBE", **WORK), "CHILDREN")  # it is subscribed already
        client.leave()
        assert found.hub.children._watched == {}


async def test_an_index_that_cannot_be_opened_is_unavailable(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        one(await client.say("SUBSCRIBE", **WORK), "CHILDREN")
        home = WORK | {"resource_id": "home"}
        found.worker.log.away = True
        assert one(await client.say("SUBSCRIBE", **home), "ERROR")["code"] == "UNAVAILABLE"
        found.worker.log.away = False
        assert (client.reader.closed_with, list(client.session.children)) == (None, ["work"])
        one(await client.say("SUBSCRIBE", **home), "CHILDREN")


class Slow:
    """A log that opens nothing until it may."""

    def __init__(self, found) -> None:
        self.go = trio.Event()
        self._open = found.worker.log.open
        found.worker.log.open = self.open

    async def open(self, resource):
        await self.go.wait()
        return await self._open(resource)


async def test_who_leaves_while_an_index_is_opened_leaves_nothing(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        Slow(found)
        with trio.move_on_after(1):
            await client.say("SUBSCRIBE", **WORK)
        client.leave()
        assert found.hub.children._watched == {}


async def test_a_calendar_that_is_revoked_while_its_index_is_opened_is_forbidden(autojump_clock):
    async with desk() as found, trio.open_nursery() as nursery:
        client = await found.client("ann")
        slow, said = Slow(found), []

        async def subscribe():
            said.extend(await client.say("SUBSCRIBE", **WORK))

        nursery.start_soon(subscribe)
        await trio.testing.wait_all_tasks_blocked()
        client.session.regranted(Office().verify("ann:nobody", 0))
        slow.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert one(said, "ERROR")["code"] == "FORBIDDEN"
        assert found.hub.children._watched == client.session.children == {}


async def test_what_is_subscribed_goes_on_where_asking_for_it_again_fails(autojump_clock):
    async with desk() as found:
        ann, bob = await found.client("ann"), await found.client("bob")
        one(await bob.say("SUBSCRIBE", **WORK), "CHILDREN")
        found.hub.children.watch, watch = unavailable, found.hub.children.watch
        assert one(await bob.say("SUBSCRIBE", **WORK), "ERROR")["code"] == "UNAVAILABLE"
        found.hub.children.watch = watch
        await create(ann)
        assert one(bob.reader.take(), "CHILD_CHANGED")["item"]["resource_id"] == "9"


async def unavailable(calendar, tell):
    raise Refusal("UNAVAILABLE", "away")


async def test_an_index_cannot_be_named_by_a_client(autojump_clock):
    async with desk() as found:
        client = await found.client("ann:admin")
        said = await client.say("SUBSCRIBE", resource="children", resource_id="work")
        assert one(said, "ERROR")["code"] == "INVALID_MESSAGE"
