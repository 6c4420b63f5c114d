"""Clients that go, before their first subscription, to the worker where their resource is at home."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import jwt
import psutil
import pytest
import trio
from websockets.exceptions import InvalidStatus

from gateway.config import Config
from gateway.node import Node
from gateway.sessions.endpoint import CROWD
from gateway.transport.siblings import Place
from tests.cli.commands import Server
from tests.clients.transports import TRANSPORTS
from tests.clients.wire import Wire, wire
from tests.supervisor.node import metrics, node, on, restarted, workers
from tests.waiting import PATIENCE_S, unawaited, until, until_equal

pytestmark = pytest.mark.skipif("fast" not in TRANSPORTS, reason="needs the fast transport")

HOMES = Place(0, 2, "")


def resource_of(worker: int, first: int = 0) -> str:
    """The id of an event that is at home in this worker."""
    return next(str(n) for n in range(first, first + 1000) if HOMES.home(f"event:{n}") == worker)


def worker(server: Server, number: int) -> tuple[psutil.Process, str]:
    """The worker of this number, and the socket that it listens on."""
    return next(
        (process, each.laddr)
        for process in workers(server)
        for each in process.net_connections("unix")
        if each.laddr.endswith(f"/{number}") and "gateway-" in each.laddr
    )


def clients_of(process: psutil.Process) -> set[int]:
    """The ports of those who are connected to a worker."""
    return {each.raddr.port for each in process.net_connections("tcp") if each.raddr}


async def subscribed(connected: Wire, resource_id: str) -> dict:
    return await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": resource_id})


async def spread(server: Server) -> list[int]:
    """The connections of each worker."""
    counted = await metrics(server)
    return [int(counted.get(f"gateway_worker_connections/{number}", 0)) for number in "01"]


async def settles(server: Server, expected: list[int]) -> None:
    """Wait until the workers have so many connections."""
    await until_equal(partial(spread, server), expected, every_s=0.05)


def edit(resource_id: str, version: int, path: str, value: object) -> dict:
    return {
        "resource": "event",
        "resource_id": resource_id,
        "version": version,
        "client_id": "a",
        "operation": {"op": "add", "path": path, "value": value},
    }


@asynccontextmanager
async def clients(server: Server, bearer: str, count: int) -> AsyncIterator[list[Wire]]:
    """So many connections, to whichever worker."""
    connections: list[Wire] = []

    async def connect(*, task_status: trio.TaskStatus[None]) -> None:
        async with wire(server.url, bearer) as connected:
            await connected.take("AUTH_ACK")
            connections.append(connected)
            task_status.started()
            await trio.sleep_forever()

    async with unawaited() as nursery:
        for _ in range(count):
            await nursery.start(connect)
        yield connections


async def all_subscribe(connections: list[Wire], resource_id: str) -> None:
    async with trio.open_nursery() as nursery:
        for connected in connections:
            nursery.start_soon(partial(subscribed, connected, resource_id))


async def test_editors_of_one_resource_meet_in_its_worker_and_keep_their_sessions(tmp_path):
    async with node(tmp_path) as server, unawaited() as nursery:
        ann = await on(nursery, server, server.token("ann"), "n1.0")
        bob = await on(nursery, server, server.token("bob"), "n1.1")
        before = await bob.ask("AUTH", {"client_id": "b"})
        resource_id = resource_of(0)
        for connected in (ann, bob):
            await subscribed(connected, resource_id)
        await settles(server, [2, 0])
        joined = await ann.take("PRESENCE_JOIN")
        assert (joined["user_id"], joined["client_id"]) == ("bob", "b")
        await ann.ask("OP", edit(resource_id, 0, "", {"title": "Lunch"}))
        assert (await bob.take("OP_BROADCAST"))["operation"]["value"] == {"title": "Lunch"}
        after = await bob.ask("AUTH", {"token": server.token("bob")})
        assert (before.pop("node"), after.pop("node")) == ("n1.1", "n1.0")
        assert after == before
        counted = await metrics(server)
        assert counted["websocket_connections_handed_over_total"] == 1
        assert counted["websocket_connections_total"] == 2


async def test_a_client_moves_before_its_first_subscription_and_never_again(tmp_path):
    here, there = resource_of(0), resource_of(1)
    async with node(tmp_path) as server, clients(server, server.token(), 1) as [ann]:
        await subscribed(ann, here)
        await settles(server, [1, 0])
        await ann.ask("UNSUBSCRIBE", {"resource": "event", "resource_id": here})
        await subscribed(ann, there)
        await settles(server, [1, 0])
        await ann.ask("OP", edit(there, 0, "", {"title": "Lunch"}))


async def test_the_older_of_two_connections_gives_way_wherever_they_meet(tmp_path):
    async with node(tmp_path) as server, unawaited() as nursery:
        bearer = server.token()
        old = await on(nursery, server, bearer, "n1.1")
        await old.ask("AUTH", {"client_id": "tab"})
        new = await on(nursery, server, bearer, "n1.0")
        await new.ask("AUTH", {"client_id": "tab"})
        assert await old.closed() == 4409, "at the other worker, without a common resource"
        await subscribed(new, resource_of(0))
        assert await new.ask("PING") == {}
        newest = await on(nursery, server, bearer, "n1.1")
        await newest.ask("AUTH", {"client_id": "tab"})
        await subscribed(newest, resource_of(0))
        assert await new.closed() == 4409
        assert await newest.ask("PING") == {}


@pytest.mark.parametrize("features", [{"enabled": False}, {"kill_switch": True}])
async def test_who_may_not_come_in_isn_t_handed_in(tmp_path, features):
    """New workers with other settings beside old ones, as after SIGHUP."""
    folder, secret = tmp_path / "sockets", "s" * 64
    folder.mkdir()
    async with unawaited() as nursery:
        nodes = []
        for number, settings in enumerate(({}, features)):
            data = tmp_path / str(number)
            data.mkdir()
            (data / "jwt-secret").write_text(secret)
            (data / "jwt-secret").chmod(0o600)
            server = {"data_dir": str(data), "port": 0, "admin_port": 0, "node": f"n.{number}"}
            config = Config().with_(server=server, features=settings)
            nodes.append(Node(config, admin=False, place=Place(number, 2, str(folder))))
        [(host, port)] = (await nursery.start(nodes[0].run)).websocket
        await nursery.start(nodes[1].run)
        claims = {"sub": "ann", "exp": int(time.time()) + 60, "grants": {"event:*": "editor"}}
        async with wire(f"ws://{host}:{port}/realtime", jwt.encode(claims, secret, "HS256")) as ann:
            await ann.send("SUBSCRIBE", {"resource": "event", "resource_id": resource_of(1)})
            assert await ann.closed() == 4403
            assert not ann.of_type("SUBSCRIBE_ACK")
        assert nodes[0].metrics.connections_handed_over == 1
        assert not list(nodes[1].hub.rooms)


async def test_what_a_client_sends_without_waiting_is_answered_in_order_wherever_it_goes(tmp_path):
    async with node(tmp_path) as server, clients(server, server.token(), 30) as connections:
        for number, connected in enumerate(connections):
            resource_id = resource_of(number % 2, 20 * number)
            await connected.send("AUTH", {"client_id": f"c{number}"})
            await connected.send("SUBSCRIBE", {"resource": "event", "resource_id": resource_id})
            await connected.send("OP", edit(resource_id, 0, "", {"n": number}) | {"client_id": f"c{number}"})
            await connected.send("PING")
        for connected in connections:
            for kind in ("OP_ACK", "PONG"):  # an OP doesn't hold up what comes after it
                await connected.take(kind)
            kinds = [message["type"] for message in connected.seen if "PRESENCE" not in message["type"]]
            assert kinds[:3] == ["AUTH_ACK", "AUTH_ACK", "SUBSCRIBE_ACK"]
            assert sorted(kinds[3:]) == ["OP_ACK", "PONG"]
        assert (await metrics(server))["websocket_connections_handed_over_total"] > 0
        await settles(server, [15, 15])


async def test_a_crowd_of_readers_is_spread_and_hears_the_same(tmp_path):
    resource_id = resource_of(0)
    share = ("--set", "limits.user_cpu_share=1")  # one user is the whole crowd
    async with node(tmp_path, *share) as server, AsyncExitStack() as stack:
        bearer = server.token()
        connections: list[Wire] = []
        while min(await spread(server)) < 2 * CROWD:  # the kernel chooses who gets them
            connections += await stack.enter_async_context(clients(server, bearer, CROWD))
        await subscribed(connections[0], resource_id)
        await all_subscribe(connections[1:], resource_id)
        at_home, elsewhere = await spread(server)
        assert at_home >= CROWD
        assert elsewhere > CROWD / 2
        assert at_home + elsewhere == len(connections)
        author, *others = connections
        await author.ask("OP", edit(resource_id, 0, "", {"title": "News"}))
        for connected in others:
            assert (await connected.take("OP_BROADCAST"))["version"] == 1


async def test_a_full_worker_takes_no_more_and_everyone_is_served(tmp_path):
    most = 12
    async with (
        node(tmp_path, "--set", f"server.connections_max={most}") as server,
        clients(server, server.token(), most) as connections,
    ):
        await all_subscribe(connections, resource_of(0))
        await settles(server, [most, 0])
        async with clients(server, server.token(), 5) as more:  # all of them to the empty one
            await all_subscribe(more, resource_of(0))
            await settles(server, [most, 5])
            await more[0].ask("OP", edit(resource_of(0), 0, "", {"title": "Lunch"}))
            assert (await connections[0].take("OP_BROADCAST"))["version"] == 1


async def test_who_comes_to_a_full_worker_is_let_in_by_the_other_until_both_are_full(tmp_path):
    most = 12
    async with node(tmp_path, "--set", f"server.connections_max={most}") as server:
        bearer = server.token()
        async with clients(server, bearer, 2 * most):
            await settles(server, [most, most])
            for _ in range(5):
                with pytest.raises(InvalidStatus) as refused:
                    async with wire(server.url, bearer):
                        raise AssertionError("both are full")
                assert refused.value.response.status_code == 503
                assert int(refused.value.response.headers["Retry-After-Ms"]) >= 5000
            async with httpx.AsyncClient(
                headers={"Authorization": f"Bearer {bearer}"}, timeout=PATIENCE_S
            ) as client:
                place = f"{server.http}/v1/resources/event/1"
                assert (await client.get(place)).status_code == 404, "requests are answered"


async def test_where_the_home_is_away_a_client_stays_and_goes_there_when_it_is_back(tmp_path):
    async with node(tmp_path) as server, unawaited() as nursery:
        bearer = server.token()
        staying = await on(nursery, server, bearer, "n1.1")
        going = await on(nursery, server, bearer, "n1.1")
        os.kill(server.command.process.pid, signal.SIGSTOP)  # so that nobody replaces the worker meanwhile
        home, listening = worker(server, 0)
        home.kill()
        await until(lambda: listening not in Path("/proc/net/unix").read_text(), "it has ended")
        await subscribed(staying, resource_of(0))
        os.kill(server.command.process.pid, signal.SIGCONT)
        await restarted(server)
        await settles(server, [0, 2])
        await subscribed(going, resource_of(0))
        await settles(server, [1, 1])
        await going.ask("OP", edit(resource_of(0), 0, "", {"title": "Lunch"}))
        assert (await staying.take("OP_BROADCAST"))["version"] == 1


async def test_a_client_on_its_way_to_a_worker_that_drains_is_sent_away_in_order(tmp_path):
    async with node(tmp_path) as server, unawaited() as nursery:
        ann = await on(nursery, server, server.token(), "n1.1")
        (home, _), (other, _) = worker(server, 0), worker(server, 1)
        port = ann.ws.local_address[1]
        home.suspend()
        assert port in clients_of(other)
        await ann.send("SUBSCRIBE", {"resource": "event", "resource_id": resource_of(0)})
        await until(lambda: port not in clients_of(other), "she is on her way")
        home.send_signal(signal.SIGTERM)
        home.resume()
        assert (await ann.take("GOAWAY"))["reconnect_after_ms"] > 0
        assert await ann.closed() == 1001


async def test_the_operator_can_have_every_client_stay(tmp_path):
    words = ("--set", "server.hand_over=false")
    async with node(tmp_path, *words) as server, clients(server, server.token(), 20) as connections:
        before = await spread(server)
        await all_subscribe(connections, resource_of(0))
        assert await spread(server) == before
        assert (await metrics(server))["websocket_connections_handed_over_total"] == 0
