"""Presence by node lease: entries of all nodes, lost nodes, nodes that come back, moved leases."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import redis
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.bus.known_leases import KnownLeases
from gateway.bus.own_entries import REMOVED_KEPT_S, OwnEntries
from gateway.bus.redis_presence import RedisPresence
from gateway.redislink import keys
from gateway.redislink.address import Address
from tests.proxy import tcp_proxy
from tests.redis.leases import Leases, node
from tests.redis.parts import client, fresh, settings
from tests.servers import redis_server
from tests.waiting import PATIENCE_S, until, until_equal

QUICK = {"node_lease_s": 0.6, "node_heartbeat_s": 0.1, "node_check_s": 0.1}
LONG = {**QUICK, "node_lease_s": 30.0}  # who has it isn't lost because the machine is slow
# With `run_fast`.
FAST = {"node_check_s": 1.0, "connect_timeout_s": 60.0, "command_timeout_s": 600.0}
ROOM = "event:42"


async def present(presence: RedisPresence, resource: str = ROOM) -> dict[str, bytes]:
    return {member.session: member.entry for member in (await presence.members([resource]))[resource]}


async def until_present(
    presence: RedisPresence, wanted: dict[str, bytes], resource: str = ROOM, within_s: float = PATIENCE_S
) -> None:
    await until_equal(partial(present, presence, resource), wanted, within_s)


@pytest.mark.parametrize("cluster", [False, True])
async def test_entries_of_all_nodes_are_seen_by_each_until_they_are_removed(cluster: bool) -> None:
    config = fresh("any", cluster=cluster, **LONG)
    async with node(config, "a") as (a, _), node(config, "b") as (b, leases):
        a.put(ROOM, "s1", b"one")
        a.put(ROOM, "s1", b"one, moved")
        a.put("event:7", "s1", b"elsewhere")
        b.put(ROOM, "s2", b"two\nlines")
        await until_present(a, {"s1": b"one, moved", "s2": b"two\nlines"})
        assert {member.session: member.node for member in (await b.members([ROOM]))[ROOM]} == {
            "s1": a.node,
            "s2": b.node,
        }
        a.remove(ROOM, "s1")
        a.remove(ROOM, "never there")
        await until_present(b, {"s2": b"two\nlines"})
        assert await present(b, "event:7") == {"s1": b"elsewhere"}
        assert a.node not in leases.lost


async def test_a_node_that_leaves_in_order_is_gone_at_once() -> None:
    config = fresh("any", **QUICK)
    async with node(config, "b") as (b, leases):
        async with node(config.with_(redis=LONG), "a") as (a, _):
            a.put(ROOM, "s1", b"one")
            await until_present(b, {"s1": b"one"})
            await trio.sleep(1.2)
        await until(lambda: a.node in leases.lost)  # long before its lease ends
        assert await present(b) == {}


async def test_a_node_that_is_cut_off_is_lost_within_its_lease_and_registers_again() -> None:
    lease_s = 10.0  # longer than this machine may stop a node for
    leased = {**QUICK, "node_lease_s": lease_s}
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy:
            through_proxy = settings(f"redis://127.0.0.1:{proxy.port}?name=one", **leased)
            direct = settings(f"{server.url}?name=one", **leased)
            async with node(through_proxy, "a") as (a, leases_a), node(direct, "b") as (b, leases_b):
                a.put(ROOM, "s1", b"one")
                await until_present(b, {"s1": b"one"})
                before = a.node
                await trio.sleep(lease_s)
                proxy.cut()
                await until(lambda: before in leases_b.lost, within_s=30)
                assert await present(b) == {}
                proxy.heal()
                await until_present(b, {"s1": b"one"})
                assert leases_a.lapses == 1
                assert a.node != before
                # A heartbeat that was on its way when the network was cut may let it be lost twice.
                assert set(leases_b.lost) == {before}


def run_fast(clock: MockClock) -> None:
    """Nodes wait ten times as fast as their leases end, by the clock of the server."""
    clock.autojump_threshold = math.inf
    clock.rate = 10


class Witness(Leases):
    """It keeps as which incarnation another node went on by the time that it was lost."""

    def __init__(self, other: RedisPresence) -> None:
        super().__init__()
        self._other = other
        self.then: list[str] = []

    def on_node_lost(self, node: str) -> None:
        super().on_node_lost(node)
        self.then.append(self._other.node)


def all_leases_end(client: redis.Redis, node: str, clock: MockClock) -> None:
    client.delete(keys.leases(0))


def one_ends_while_the_server_is_away(client: redis.Redis, node: str, clock: MockClock) -> None:
    client.zrem(keys.leases(0), node)
    clock.jump(6.5)


@pytest.mark.parametrize(
    ("away", "heartbeat_s"), [(all_leases_end, 6.0), (one_ends_while_the_server_is_away, 8.5)]
)
async def test_a_server_that_was_away_makes_no_node_lost_before_it_could_come_back(
    autojump_clock: MockClock, away: Callable[[redis.Redis, str, MockClock], None], heartbeat_s: float
) -> None:
    run_fast(autojump_clock)
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as client:
        config = settings(server.url, **FAST)
        rarely = config.with_(redis={"node_heartbeat_s": heartbeat_s})
        async with node(rarely, "a") as (a, _), node(config, "b") as (b, _):
            witness = Witness(a)
            b.attach(witness)
            await until(lambda: not a._trusting() and not b._trusting(), within_s=600)
            before = a.node
            away(client, before, autojump_clock)
            await until(lambda: before in witness.lost, within_s=600)
            assert witness.then[0] != before


async def test_a_node_that_one_server_alone_misses_is_not_lost_until_no_other_has_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bus.redis_presence.LOOKS_COUNTED", 600)  # however slow the machine is
    run_fast(autojump_clock)
    names = [f"event:{number}" for number in range(20)]
    well = next(name for name in names if keys.partition_of(name, 256) % 2 == 1)
    with redis_server() as one, redis_server() as two, redis.Redis("127.0.0.1", one.port) as client:
        async with tcp_proxy(one.port) as proxy:
            through_proxy = settings(f"redis://127.0.0.1:{proxy.port}?name=a", f"{two.url}?name=b", **FAST)
            direct = settings(f"{one.url}?name=a", f"{two.url}?name=b", **FAST)
            async with node(direct, "b") as (b, leases):
                async with node(through_proxy, "a") as (a, _):
                    a.put(well, "s1", b"one")
                    await until_present(b, {"s1": b"one"}, well, within_s=600)
                    await until(lambda: not b._trusting(), within_s=600)
                    proxy.cut()
                    await trio.sleep(2 * a._config.node_heartbeat_s)  # a beat may have been on its way
                    client.zrem(keys.leases(0), a.node)
                    seen = b._known._alive
                    await until(lambda: any(a.node not in seen[at] for at in seen), within_s=600)
                    await trio.sleep(5 * b._config.node_check_s)
                    assert leases.lost == []
                    assert await present(b, well) == {"s1": b"one"}
                await until(lambda: leases.lost == [a.node], within_s=600)


async def test_a_node_that_died_is_lost_though_the_last_server_that_had_it_died_with_it(
    autojump_clock: MockClock,
) -> None:
    one, two = Address("one", 1), Address("two", 2)
    known = KnownLeases(6.0)
    for at in (one, two):
        assert known.look(at, {"a", "b"}, set(), True) == {"a", "b"}
    await trio.sleep(5)
    assert known.look(one, {"b"}, set(), True) == set()
    assert known.lost(set()) == set(), "the other one may have it still"
    await trio.sleep(2)
    assert known.look(one, {"b"}, set(), True) == set()
    assert known.lost(set()) == {"a"}
    assert known.lost(set()) == set(), "told once"
    assert known.look(one, {"a", "b"}, set(), True) == {"a"}
    assert known.look(one, {"b"}, set(), True) == known.lost({"a"}) - {"a"} == set()


async def test_an_entry_that_is_written_again_while_its_node_is_looked_for_stays(
    autojump_clock: MockClock,
) -> None:
    run_fast(autojump_clock)
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as client:
        async with node(settings(server.url, **FAST), "b") as (b, _), trio.open_nursery() as nursery:
            await until(lambda: not b._trusting(), within_s=600)
            place = keys.presence(ROOM, 256)
            client.hset(place, mapping={"s1": b"gone#1\nold", "s2": b"gone#1\nold"})
            [looking] = b._looking.values()
            async with looking:
                nursery.start_soon(b.members, [ROOM])
                # the usual look, too
                await until(lambda: looking.statistics().tasks_waiting == 2, within_s=600)
                client.hset(place, "s1", b"gone#2\nnew")
            await until(lambda: not client.hexists(place, "s2"), within_s=600)
            assert client.hgetall(place) == {b"s1": b"gone#2\nnew"}


async def test_who_counted_on_trust_alone_is_told_as_lost_once_absence_proves_it(
    autojump_clock: MockClock,
) -> None:
    autojump_clock.autojump_threshold = math.inf  # it stands still: the node goes on trusting
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as client:
        client.hset(keys.presence(ROOM, 256), "s1", b"gone#1\nold")
        async with node(settings(server.url, **FAST), "b") as (b, leases):
            assert await present(b) == {"s1": b"old"}
            run_fast(autojump_clock)
            await until(lambda: leases.lost == ["gone#1"], within_s=600)
            await until_present(b, {}, within_s=600)


async def test_a_node_that_was_told_as_lost_is_found_when_it_takes_its_lease_anew_and_its_members_with_it(
    autojump_clock: MockClock,
) -> None:
    """It is still trusting, as after partitions that moved, when others aren't any more."""
    run_fast(autojump_clock)
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as client:
        config = settings(server.url, **FAST)
        trusting = config.with_(redis={"node_lease_s": 3600.0})
        async with node(trusting, "a") as (a, _), node(config, "b") as (b, leases):
            name = a.node
            a.put(ROOM, "s1", b"one")
            await until_present(b, {"s1": b"one"}, within_s=600)

            async def dropped() -> bool:
                client.zrem(keys.leases(0), name)
                return name in leases.lost and await present(b) == {}

            await until(dropped, within_s=600)
            [looking] = b._looking.values()
            async with looking:  # whoever took its lease between a look and the dropping takes it once more
                leases.found.clear()
                client.zrem(keys.leases(0), name)
            await until(lambda: leases.found == [name], within_s=600)
            await until_present(b, {"s1": b"one"}, within_s=600)
            assert a.node == name


async def test_an_entry_that_is_dropped_late_is_written_once_more_at_the_next_beat() -> None:
    """A node that took its lease anew as the same incarnation writes what was read before the drop."""
    slow = {**LONG, "node_heartbeat_s": 1000.0, "node_lease_s": 3600.0}
    config = fresh("any", **slow)
    async with node(config, "a") as (a, _), node(config, "b") as (b, _):
        place = keys.presence(ROOM, config.redis.partitions)
        with client() as server:

            def is_stored() -> bool:
                return bool(server.hexists(place, "s1"))

            a.put(ROOM, "s1", b"one")
            await until(is_stored)
            drop = b._drop_call(ROOM, (await b.members([ROOM]))[ROOM])
            server.zrem(keys.leases(0), a.node)
            server.hdel(place, "s1")
            await a._beat()
            await until(is_stored)
            await b._shards.calls([drop])
            assert not is_stored()
            await a._beat()
            await until(is_stored)
            assert await present(b) == {"s1": b"one"}


@pytest.mark.parametrize("is_moved", [True, False], ids=["partitions moved", "connected again"])
async def test_who_left_is_taken_out_again_where_a_server_may_have_lost_that(is_moved: bool) -> None:
    config = fresh("any", **LONG)
    async with node(config, "a") as (a, _), node(config, "b") as (b, _):
        a.put(ROOM, "s1", b"one")
        a.put(ROOM, "s2", b"two")
        await until_present(b, {"s1": b"one", "s2": b"two"})
        a.remove(ROOM, "s1")
        await until_present(b, {"s2": b"two"})
        await trio.sleep(3 * QUICK["node_heartbeat_s"])
        with client() as server:
            server.hset(keys.presence(ROOM, config.redis.partitions), "s1", a.node.encode() + b"\none")
            assert await present(b) == {"s1": b"one", "s2": b"two"}
            if is_moved:
                a._rerouted()
            else:
                server.client_kill_filter(_type="normal", skipme=True)
        await until_present(b, {"s2": b"two"})


async def test_who_left_long_ago_is_forgotten(autojump_clock: MockClock) -> None:
    entries = OwnEntries()
    for number in range(1000):
        entries.put((ROOM, f"s{number}"), b"one")
        assert entries.remove((ROOM, f"s{number}"))
        await trio.sleep(1)
    assert not entries.remove((ROOM, "s999"))
    assert len(entries.places()) <= REMOVED_KEPT_S + 2


async def test_of_several_resources_those_are_told_whose_server_answers() -> None:
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, **LONG, command_timeout_s=2.0)
        names = [f"event:{number}" for number in range(20)]
        well = [name for name in names if keys.partition_of(name, 256) % 2 == 1]
        async with node(config, "a") as (a, _):
            for name in names:
                a.put(name, "s1", name.encode())
            for name in names:
                await until_present(a, {"s1": name.encode()}, name)
            one.pause()
            found = await a.members(names)
            one.resume()
        assert {name: member.entry.decode() for name, (member,) in found.items()} == {
            name: name for name in well
        }
        assert 0 < len(well) < len(names)


async def test_a_server_that_hangs_holds_up_what_is_written_to_no_other() -> None:
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, **LONG, command_timeout_s=600.0)
        names = [f"event:{number}" for number in range(20)]
        hung = next(name for name in names if keys.partition_of(name, 256) % 2 == 0)
        well = next(name for name in names if keys.partition_of(name, 256) % 2 == 1)
        async with node(config, "a") as (a, _), node(config, "b") as (b, _):
            one.pause()
            a.put(hung, "s1", b"one")
            await wait_all_tasks_blocked()
            a.put(well, "s2", b"two")
            await until_present(b, {"s2": b"two"}, well)
            one.resume()
            await until_present(b, {"s1": b"one"}, hung)
