"""Presence by node lease: entries of all nodes, lost nodes, nodes that come back, moved leases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from gateway.bus.redis_presence import RedisPresence
from gateway.config import Config
from tests.proxy import tcp_proxy
from tests.redis.parts import eventually, fresh, running, settings
from tests.servers import redis_server

QUICK = {"node_lease_s": 0.6, "node_heartbeat_s": 0.1, "node_check_s": 0.1}
LONG = {**QUICK, "node_lease_s": 30.0}  # who has it isn't lost because the machine is slow
ROOM = "event:42"


class Leases:
    """A listener that keeps what it's told."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.lapses = 0

    def on_node_lost(self, node: str) -> None:
        self.lost.append(node)

    def on_lease_lapsed(self) -> None:
        self.lapses += 1


@asynccontextmanager
async def node(config: Config, name: str) -> AsyncIterator[tuple[RedisPresence, Leases]]:
    async with running(config) as shards, trio.open_nursery() as nursery:
        presence, leases = RedisPresence(shards, name), Leases()
        presence.attach(leases)
        await nursery.start(presence.run)
        yield presence, leases
        nursery.cancel_scope.cancel()


async def present(presence: RedisPresence, resource: str = ROOM) -> dict[str, bytes]:
    return {member.session: member.entry for member in await presence.members(resource)}


async def until_present(presence: RedisPresence, wanted: dict[str, bytes]) -> None:
    with trio.fail_after(10):
        while await present(presence) != wanted:  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.mark.parametrize("cluster", [False, True])
async def test_entries_of_all_nodes_are_seen_by_each_until_they_are_removed(cluster: bool) -> None:
    config = fresh("any", cluster=cluster, **QUICK)
    async with node(config.with_(redis=LONG), "a") as (a, _), node(config, "b") as (b, leases):
        a.put(ROOM, "s1", b"one")
        a.put(ROOM, "s1", b"one, moved")
        a.put("event:7", "s1", b"elsewhere")
        b.put(ROOM, "s2", b"two\nlines")
        await until_present(a, {"s1": b"one, moved", "s2": b"two\nlines"})
        assert {member.session: member.node for member in await b.members(ROOM)} == {
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
        await eventually(lambda: a.node in leases.lost)  # long before its lease ends
        assert await present(b) == {}


async def test_a_node_that_is_cut_off_is_lost_within_its_lease_and_registers_again() -> None:
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy:
            through_proxy = settings(f"redis://127.0.0.1:{proxy.port}?name=one", **QUICK)
            direct = settings(f"{server.url}?name=one", **QUICK)
            async with node(through_proxy, "a") as (a, leases_a), node(direct, "b") as (b, leases_b):
                a.put(ROOM, "s1", b"one")
                await until_present(b, {"s1": b"one"})
                before = a.node
                await trio.sleep(QUICK["node_lease_s"])
                proxy.cut()
                await eventually(lambda: before in leases_b.lost)
                assert await present(b) == {}
                proxy.heal()
                await until_present(b, {"s1": b"one"})
                assert leases_a.lapses == 1
                assert a.node != before
                # A heartbeat that was on its way when the network was cut may let it be lost twice.
                assert set(leases_b.lost) == {before}
