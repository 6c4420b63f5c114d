"""Presence across nodes: real hubs and gates of several nodes in one process, on Trio's mock clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest
import trio

from gateway.admission import Features
from gateway.config import Config
from gateway.hub.hub import Hub
from gateway.hub.remote_presence import GRACE_S, RETRY_PAUSE_S
from gateway.rooms.roster import UPDATE
from gateway.runtime.metrics import Counters
from gateway.sessions import claims
from gateway.sessions.endpoint import Endpoint
from tests.doubles.bus import MeetingPlace
from tests.doubles.leases import LeaseTable, MemoryLeases
from tests.simulation.cluster import CONFIG, EPOCH_START_MS, RULES, Node, Passport, Weather
from tests.simulation.history import FragileHistory
from tests.simulation.network import Group, Link
from tests.waiting import unawaited, until

ROOM = "event:42"
LOST_WITHIN_S = 15.0


class Cluster:
    """Nodes with a bus and a log that behave, unless a test makes them not."""

    def __init__(self, nursery: trio.Nursery, config: Config) -> None:
        self.nursery = nursery
        self.config = config
        self.history = FragileHistory(EPOCH_START_MS)
        self.bus = MeetingPlace()
        self.leases = LeaseTable()
        self.weather = Weather(random.Random(0))
        self.weather.bus_loss = self.weather.bus_delay_s = 0.0
        self.weather.reply_loss = self.weather.log_delay_s = 0.0

    async def node(self, name: str) -> Node:
        shared = (self.history, self.bus, self.leases)
        node = Node(name, *shared, self.weather, Group, self.config)
        await self.nursery.start(node.run)
        return node

    async def client(self, node: Node, name: str, **subscribe: Any) -> Client:
        """Connected and subscribed, its PRESENCE_STATE received."""
        client = Client(name, Link(random.Random(0), node.counters))
        self.nursery.start_soon(client.link.run, node)
        self.nursery.start_soon(client.listen)
        client.say("AUTH", token=name, client_id=f"client-{name}", user_id=name)
        client.say("SUBSCRIBE", resource="event", resource_id="42", **subscribe)
        await client.until(lambda: "PRESENCE_STATE" in client.heard)
        return client


class Client:
    """Keeps whom it sees, by user, and the kinds of messages that it got."""

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self.link = link
        self.heard: list[str] = []
        self.seen: dict[str, Any] = {}
        self.count = 0

    def say(self, kind: str, **payload: Any) -> None:
        self.link.say(orjson.dumps({"type": kind, "payload": payload}))

    def move(self, position: int) -> None:
        self.say("PRESENCE_UPDATE", resource_id="42", cursor={"field": "title", "position": position})

    async def listen(self) -> None:
        try:
            while True:
                message = orjson.loads(await self.link.receive())
                self.heard.append(message["type"])
                self._note(message["type"], message["payload"])
        except trio.EndOfChannel:
            pass

    def _note(self, kind: str, payload: Any) -> None:
        if kind == "PRESENCE_STATE":
            self.seen = {entry["user_id"]: entry for entry in payload["presences"]}
            self.count = payload["count"]
        elif kind in ("PRESENCE_JOIN", "PRESENCE_UPDATE"):
            self.seen[payload["user_id"]] = payload
        elif kind == "PRESENCE_LEAVE":
            del self.seen[payload["user_id"]]

    async def until(self, condition: Any, timeout_s: float = 1.0) -> None:
        await until(condition, within_s=timeout_s, every_s=0.005)

    async def sees(self, *names: str, timeout_s: float = 1.0) -> None:
        await self.until(lambda: sorted(self.seen) == sorted(names), timeout_s)


@asynccontextmanager
async def cluster(config: Config = CONFIG) -> AsyncIterator[Cluster]:
    async with unawaited() as nursery:
        yield Cluster(nursery, config)


@asynccontextmanager
async def two_nodes(config: Config = CONFIG) -> AsyncIterator[tuple[Cluster, Node, Node, Client]]:
    """Ann is at the first of them."""
    async with cluster(config) as world:
        one, two = await world.node("one"), await world.node("two")
        yield world, one, two, await world.client(one, "ann")


async def test_members_of_all_nodes_are_listed_and_their_news_told_everywhere(autojump_clock):
    async with two_nodes() as (world, _, two, ann):
        bob = await world.client(two, "bob")
        await bob.sees("ann", "bob")
        await ann.sees("ann", "bob")
        assert ann.heard[-1] == "PRESENCE_JOIN"
        assert ann.seen["bob"]["client_id"] == "client-bob"
        assert ann.seen["bob"]["user"]["name"] == "bob"
        bob.move(3)
        await ann.until(lambda: ann.seen["bob"]["cursor"].get("position") == 3)
        assert ann.heard[-1] == "PRESENCE_UPDATE"
        bob.link.cut()
        await ann.sees("ann")
        assert ann.heard[-1] == "PRESENCE_LEAVE"


async def test_a_node_that_opens_a_room_later_knows_who_is_there_and_where_they_are(autojump_clock):
    async with cluster() as world:
        one = await world.node("one")
        ann = await world.client(one, "ann")
        ann.move(5)
        await trio.sleep(1)
        bob = await world.client(await world.node("two"), "bob")
        assert bob.seen["ann"]["cursor"] == {"field": "title", "position": 5, "version": 0}


async def test_an_invisible_member_stays_invisible_on_other_nodes_and_can_appear(autojump_clock):
    async with cluster() as world:
        ann = await world.client(await world.node("one"), "ann")
        bob = await world.client(await world.node("two"), "bob", visible=False)
        await trio.sleep(1)
        assert sorted(ann.seen) == ["ann"]
        bob.say("PRESENCE_UPDATE", resource_id="42", visible=True)
        await ann.sees("ann", "bob")
        bob.say("PRESENCE_UPDATE", resource_id="42", visible=False)
        await ann.sees("ann")
        bob.say("PRESENCE_UPDATE", resource_id="42", visible=True)
        await ann.sees("ann", "bob")


async def test_the_members_of_a_crashed_node_are_gone_within_15_seconds_and_nobody_elses(autojump_clock):
    async with cluster() as world:
        one, two, three = [await world.node(name) for name in ("one", "two", "three")]
        ann = await world.client(one, "ann")
        await world.client(two, "bob")
        await world.client(three, "cem")
        await ann.sees("ann", "bob", "cem")
        await trio.sleep(20)  # leases last when they are renewed
        assert sorted(ann.seen) == ["ann", "bob", "cem"]
        # A crash as others see it: no farewell, only silence.
        stored = dict(world.leases.members[ROOM])
        world.weather.bus_loss = 1.0
        two.crash()
        await trio.sleep(0.1)
        world.weather.bus_loss = 0.0
        crashed_s = trio.current_time()
        world.leases.members[ROOM] = stored
        await ann.sees("ann", "cem", timeout_s=LOST_WITHIN_S)
        assert trio.current_time() - crashed_s > 5, "the lease wasn't waited for"
        dan = await world.client(one, "dan")
        await dan.sees("ann", "cem", "dan")


async def test_a_node_whose_lease_lapsed_registers_again_and_its_members_return(autojump_clock):
    async with two_nodes() as (world, _, two, ann):
        bob = await world.client(two, "bob")
        await ann.sees("ann", "bob")
        await trio.sleep(5)
        del world.leases.leases["two#1"]  # as if it had been frozen
        await ann.until(lambda: "PRESENCE_LEAVE" in ann.heard, CONFIG.redis.node_check_s + 0.1)
        await ann.sees("ann", "bob", timeout_s=CONFIG.redis.node_heartbeat_s + 0.1)
        bob.move(1)
        await ann.until(lambda: ann.seen["bob"]["cursor"].get("position") == 1)


async def test_a_node_that_was_told_as_lost_though_it_lives_is_listed_and_heard_again(autojump_clock):
    """It takes its lease anew, under the name that it had: it was late to hear of moved partitions."""
    async with two_nodes(CONFIG.with_(redis={"node_heartbeat_s": 8.5})) as (world, _, two, ann):
        bob = await world.client(two, "bob")
        await ann.sees("ann", "bob")
        await trio.sleep(2.5)
        lease_s = world.leases.leases.pop("two#1")
        await ann.sees("ann", timeout_s=CONFIG.redis.node_check_s + 0.1)
        world.leases.leases["two#1"] = lease_s
        await ann.sees("ann", "bob", timeout_s=CONFIG.redis.node_check_s + 0.1)
        bob.move(1)
        await ann.until(lambda: ann.seen["bob"]["cursor"].get("position") == 1)


async def test_news_that_the_bus_lost_are_made_up_for(autojump_clock):
    async with two_nodes() as (world, _, two, ann):
        bob = await world.client(two, "bob")
        await ann.sees("ann", "bob")
        world.weather.bus_loss = 1.0
        bob.link.cut()
        cem = await world.client(two, "cem")
        cem.move(7)
        await trio.sleep(1)
        assert sorted(ann.seen) == ["ann", "bob"]
        world.weather.bus_loss = 0.0
        await ann.sees("ann", "cem", timeout_s=CONFIG.presence.reconcile_s * 2 + 5)
        assert ann.seen["cem"]["cursor"]["position"] == 7


async def test_a_gap_of_the_bus_brings_the_members_at_once(autojump_clock):
    async with two_nodes() as (world, one, two, ann):
        world.weather.bus_loss = 1.0
        await world.client(two, "bob")
        await trio.sleep(0.5)
        assert sorted(ann.seen) == ["ann"]
        one.hub.listener.on_gap(ROOM)
        await ann.sees("ann", "bob")


async def test_who_moved_just_before_a_leave_that_was_lost_is_gone_after_the_grace(autojump_clock):
    async with two_nodes() as (world, one, two, ann):
        bob = await world.client(two, "bob")
        bob.move(1)
        await ann.sees("ann", "bob")
        world.weather.bus_loss = 1.0
        bob.link.cut()
        await trio.sleep(0.1)
        world.weather.bus_loss = 0.0
        one.hub.listener.on_gap(ROOM)
        await trio.sleep(0.1)
        assert sorted(ann.seen) == ["ann", "bob"], "the storage may be behind what was heard"
        await ann.sees("ann", timeout_s=2 * GRACE_S + 0.5)


@pytest.mark.parametrize("how", ["leaves", "is lost with his node"])
async def test_news_that_come_late_dont_bring_back_who_has_left(autojump_clock, how):
    async with two_nodes() as (world, one, two, ann):
        held: list[bytes] = []
        post = one.bus.post
        one.bus.post = lambda resource, payload: (held.append(payload), post(resource, payload))
        bob = await world.client(two, "bob")
        bob.move(1)
        bob.move(2)
        await trio.sleep(0.5)
        before, stored = list(held), dict(world.leases.members[ROOM])
        if how == "leaves":
            bob.link.cut()
        else:
            world.weather.bus_loss = 1.0
            two.crash()
            await trio.sleep(0.1)
            world.weather.bus_loss = 0.0
            world.leases.members[ROOM] = stored
        await ann.sees("ann", timeout_s=LOST_WITHIN_S)
        for payload in before:
            post(ROOM, payload)
        await trio.sleep(0.5)
        assert len(before) >= 2 and sorted(ann.seen) == ["ann"]


async def test_what_is_no_presence_harms_nobody(autojump_clock, caplog):
    async with two_nodes() as (world, one, two, ann):
        for payload in (b"", b"nonsense", b"[]", b'["PRESENCE_JOIN","x",1,"s",{}]', b"7"):
            one.hub.listener.on_message(ROOM, payload)
        await world.client(two, "bob")
        await ann.sees("ann", "bob")
        assert len([record for record in caplog.records if "no presence" in record.message]) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cursor", 5),
        ("cursor", {"version": 3}),
        ("cursor", {"field": "title", "position": "3"}),
        ("number", "7"),
        ("is_typing", 1),
        ("user", [["bob"], "bob", ""]),
        ("client_id", {}),
        ("color", []),
        ("seen", None),
        ("session", ["s"]),
        ("node", ["n"]),
    ],
)
async def test_a_presence_that_is_not_as_it_should_be_harms_nobody(autojump_clock, caplog, name, value):
    """From the bus or the leases; what made it is a node of another release, or a fault."""
    entry = {"number": 7, "client_id": "c", "user": ["bob", "bob", ""], "cursor": {"field": "title"}}
    entry |= {"is_typing": False, "seen": 1, "active": 1, "session": "s", "node": "n", name: value}
    async with two_nodes() as (world, one, _, ann):
        news = [UPDATE, entry["node"], 7, entry["session"], entry]
        one.hub.listener.on_message(ROOM, orjson.dumps(news))
        MemoryLeases(world.leases, "two", CONFIG.redis).put(ROOM, "s", orjson.dumps(entry))
        one.hub.listener.on_gap(ROOM)
        await world.client(one, "cem")
        await ann.sees("ann", "cem", *(["bob"] if name in ("session", "node") else []))
        assert [record for record in caplog.records if "no presence" in record.message]


async def test_a_room_crowded_by_all_nodes_tells_those_who_are_active_with_the_count_of_all(autojump_clock):
    config = CONFIG.with_(presence={"members_max": 4})
    async with two_nodes(config) as (world, one, two, ann):
        others = [await world.client(two, f"u{number}") for number in range(6)]
        await ann.until(lambda: ann.count == 7, 3)
        await trio.sleep(2)
        sent = one.counters.bus_received
        for position in range(20):
            others[2].move(position)
            await trio.sleep(0.05)
        await ann.until(lambda: ann.seen.get("u2", {}).get("cursor", {}).get("position") == 19, 3)
        assert one.counters.bus_received - sent <= 4, "each move was told to the other node"
        assert list(ann.seen) == ["u2"]
        edit = {"op": "add", "path": "", "value": {"title": "x"}}
        others[3].say(
            "OP",
            resource_id="42",
            resource_type="event",
            operation=edit,
            version=0,
            client_id="client-u3",
        )
        await ann.until(lambda: sorted(ann.seen) == ["u2", "u3"], 3)


async def test_a_node_without_leases_keeps_presence_to_itself(autojump_clock):
    async with cluster() as world:
        alone = await world.node("alone")
        published: list[bytes] = []
        alone.bus.publish = lambda resource, payload: published.append(resource)
        clock = alone.hub.wall_ms, trio.current_time
        hub = Hub(CONFIG, alone.log, alone.bus, RULES, Counters(), Group, *clock)
        alone.gate = Endpoint("alone", CONFIG, hub, Counters(), Passport(), Features(CONFIG), 10)
        await world.nursery.start(hub.run)
        ann, bob = await world.client(alone, "ann"), await world.client(alone, "bob")
        bob.move(1)
        await ann.until(lambda: ann.seen["bob"]["cursor"].get("position") == 1)
        assert set(published) == {claims.TOPIC}


async def test_a_lost_node_is_told_while_the_server_of_many_rooms_is_away(autojump_clock):
    async with two_nodes() as (world, one, two, ann), AsyncExitStack() as opened:
        await world.client(two, "bob")
        await ann.sees("ann", "bob")
        for number in range(2000):
            room = await one.hub.open(f"event:{number}")
            opened.enter_context(room.kept())
        presence = one.hub._remote_presence
        members = presence._leases.members

        async def without(names):
            return {name: found for name, found in (await members(names)).items() if name == ROOM}

        presence._leases.members = without
        for number in range(2000):
            presence.reconcile_soon(f"event:{number}")
        await trio.sleep(0.1)
        presence.on_node_lost("two#1")
        await ann.sees("ann", timeout_s=2 * RETRY_PAUSE_S)


async def test_rooms_are_compared_many_at_once(autojump_clock):
    async with cluster(CONFIG.with_(presence={"reconcile_s": 10.0})) as world, AsyncExitStack() as opened:
        one = await world.node("one")
        for number in range(500):
            room = await one.hub.open(f"event:{number}")
            opened.enter_context(room.kept())
        asked: list[list[str]] = []
        leases = one.hub._remote_presence._leases
        members = leases.members

        async def noted(names):
            asked.append(names)
            return await members(names)

        leases.members = noted
        await trio.sleep(30)
        assert {name for names in asked for name in names} == {f"event:{number}" for number in range(500)}
        assert len(asked) <= 300, "a question is for the rooms of a tenth of a second"
