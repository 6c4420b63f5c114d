"""Who may come in, and how everyone is sent away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from gateway.admission import Revocation, Revocations
from gateway.errors import Refusal
from gateway.http.early import Early
from gateway.http.places import Places
from gateway.http.server import HttpServer
from gateway.ports import HttpService, Rejection, UpgradeRequest
from gateway.sessions.handoff import SessionState
from gateway.sessions.session import ClientSession
from tests.http.streams import connected
from tests.rooms.parts import Reader, titled
from tests.sessions.parts import CONFIG, Office, desk, desk_with


def request(target: str = "/realtime", **headers: str) -> UpgradeRequest:
    return UpgradeRequest(target, headers, "in memory")


def state_of(user: str) -> SessionState:
    return SessionState("abc", 1, True, Office().verify(user, 0), f"{user}-client", False)


async def test_there_is_one_place_to_connect_to(autojump_clock):
    async with desk() as found:
        rejection = found.endpoint.admit(request("/elsewhere"))
        assert isinstance(rejection, Rejection) and rejection.status == 404
        assert not isinstance(found.endpoint.admit(request("/realtime?x=1")), Rejection)


async def test_a_full_node_says_when_to_try_again(autojump_clock):
    async with desk() as found:
        found.counters.connections = 100
        rejection = found.endpoint.admit(request())
        assert isinstance(rejection, Rejection) and rejection.status == 503
        assert int(rejection.headers["Retry-After"]) > 0
        assert not found.endpoint.welcomes("event:1", "elsewhere", state_of("ann"))


async def test_in_a_storm_who_resumes_comes_in_before_the_new_ones(autojump_clock):
    async with desk() as found:
        answers = [found.endpoint.admit(request()) for _ in range(2000)]
        put_off = [answer for answer in answers if isinstance(answer, Rejection)]
        assert 0 < len(put_off) < 2000
        assert not isinstance(found.endpoint.admit(request("/realtime?a=b&resume=1")), Rejection)
        assert put_off[0].status == 503
        waits_ms = [int(answer.headers["Retry-After-Ms"]) for answer in put_off]
        assert waits_ms == sorted(waits_ms), "a queue"
        assert int(put_off[-1].headers["Retry-After"]) == -(-waits_ms[-1] // 1000)
        assert found.counters.connections_deferred == {"new": len(put_off)}
        await trio.sleep(waits_ms[0] / 1000)
        assert not isinstance(found.endpoint.admit(request()), Rejection)


async def test_everyone_is_told_to_go_when_what_was_on_its_way_is_committed(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob), trio.open_nursery() as nursery:
        for client in (ann, bob):
            client.reader.take()
        found.worker.log.hold()
        await ann.say("OP", resource_id="1", version=1, operation=titled("a")[0])
        nursery.start_soon(found.endpoint.drain)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(found.endpoint.admit(request()), Rejection)
        assert (ann.reader.closed_with, bob.reader.closed_with) == (None, None)
        found.worker.log.go.set()
        await trio.testing.wait_all_tasks_blocked()
        told = dict(ann.reader.take())
        assert list(told) == ["GOAWAY", "OP_ACK"]
        assert (ann.reader.closed_with, bob.reader.closed_with) == (1001, 1001)
        ann.leave()
        bob.leave()


async def test_a_drain_does_not_wait_for_ever(autojump_clock):
    async with desk_with("ann", config=CONFIG.with_(timeouts={"drain_grace_s": 3.0})) as (found, ann):
        found.worker.log.hold()
        await ann.say("OP", resource_id="1", version=1, operation=titled("a")[0])
        began_s = trio.current_time()
        await found.endpoint.drain()
        assert trio.current_time() - began_s == 3.0


async def test_everyone_is_told_to_go_though_there_is_always_an_edit_on_its_way(autojump_clock):
    async with desk(CONFIG.with_(timeouts={"drain_grace_s": 3.0})) as found, trio.open_nursery() as nursery:
        ann, bob = await found.client("ann", subscribed=True), await found.client("bob", subscribed=True)
        found.worker.log.hold()
        await ann.say("OP", resource_id="1", version=1, operation=titled("a")[0])
        nursery.start_soon(found.endpoint.drain)
        await trio.sleep(2.0)
        assert (ann.reader.closed_with, bob.reader.closed_with) == (1001, 1001)
        ann.leave()
        bob.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks != set(), "what ann sent isn't committed yet"
        found.worker.log.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks == set()
        assert found.room().version == 2


async def test_a_session_of_another_worker_goes_on_as_it_was(autojump_clock):
    async with desk() as found:
        identity = Office().verify("ann", 0)
        state = SessionState("abc", 1, True, identity, "ann-client", False)
        session = found.endpoint.adopt(state, Reader())
        assert isinstance(session, ClientSession)
        assert (session.id, session.client_id, session.extended) == ("abc", "ann-client", True)


async def test_a_session_that_was_replaced_on_its_way_is_closed(autojump_clock):
    async with desk() as found:
        newer = await found.client("ann")
        reader = Reader()
        identity = Office().verify("ann", 0)
        state = SessionState("abc", newer.session.opened_ms - 1, True, identity, "ann-client", False)
        found.endpoint.adopt(state, reader)
        assert (reader.closed_with, newer.reader.closed_with) == (4409, None)


async def test_a_session_whose_token_was_revoked_on_its_way_is_closed(autojump_clock, monkeypatch):
    def revoked(*_: Any) -> None:
        raise Refusal("UNAUTHENTICATED", "The token was revoked.")

    async with desk() as found:
        monkeypatch.setattr(Office, "reviewed", revoked)
        reader = Reader()
        found.endpoint.adopt(state_of("ann"), reader)
        assert reader.closed_with == 4401


async def test_a_session_that_an_operator_ended_on_its_way_is_closed(autojump_clock):
    async with desk() as found:
        found.endpoint.disconnect(Revocations([Revocation("connections", "ann", 10.0)]))
        closed_with = []
        for opened_ms in (9_000, 11_000):
            reader = Reader()
            identity = Office().verify("ann", 0)
            found.endpoint.adopt(
                SessionState(f"s-{opened_ms}", opened_ms, True, identity, None, False), reader
            )
            closed_with.append(reader.closed_with)
        assert closed_with == [4410, None]


@pytest.mark.parametrize("most", ["connections_per_user_max", "connections_per_address_max"])
async def test_who_has_as_many_connections_here_as_he_may_stays_in_the_other_worker(autojump_clock, most):
    async with desk(CONFIG.with_(limits={most: 1})) as found:
        here, elsewhere = Reader.remote, "192.0.2.1:5"
        assert found.endpoint.welcomes("event:1", here, state_of("ann"))
        await found.client("ann")
        assert found.endpoint.welcomes("event:1", elsewhere, state_of("bob"))
        by_user = most == "connections_per_user_max"
        assert found.endpoint.welcomes("event:1", elsewhere, state_of("ann")) != by_user
        assert found.endpoint.welcomes("event:1", here, state_of("bob")) == by_user


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that nobody asks anything."""


async def ends(service: HttpService) -> None:
    """One of its connections is served, whose peer has left."""
    with connected() as (stream, peer):
        await peer.aclose()
        await service.serve(stream)


async def test_a_connection_over_http_counts_from_when_it_is_let_in(autojump_clock):
    async with desk(CONFIG.with_(limits={"connections_per_address_max": 2})) as found:
        found.endpoint.http_places = Places(HttpServer(nothing, 100), Early(found.endpoint.allows_origin))
        asked = UpgradeRequest("/api/v1/events/1", {}, "192.0.2.1:5")
        let_in = [found.endpoint.http(asked) for _ in range(3)]
        assert [isinstance(service, Rejection) for service in let_in] == [False, False, True]
        await ends(let_in[0])
        assert not isinstance(found.endpoint.http(asked), Rejection)


@pytest.mark.parametrize("proxied", [True, False])
async def test_no_more_connections_over_http_are_let_in_at_once_than_there_are_places(
    autojump_clock, proxied
):
    async with desk() as found:
        found.endpoint.http_places = Places(HttpServer(nothing, 2), Early(found.endpoint.allows_origin))
        asked = UpgradeRequest("/api/v1/events/1", {}, "192.0.2.1:5", proxied)
        let_in = [found.endpoint.http(asked) for _ in range(3)]
        assert [isinstance(service, Rejection) for service in let_in] == [False, False, True]
        await ends(let_in[1])
        assert not isinstance(found.endpoint.http(asked), Rejection)


async def test_what_a_test_compares_is_counted_from_0(autojump_clock):
    async with desk() as found:
        counters = found.counters
        compared = counters.variant_sessions, counters.variant_operations, counters.variant_errors
        assert not any(compared), "no test runs"
        found.endpoint.take_flags(replace(CONFIG.features, ab_test_variant="v2"))
        assert all(counted == {"v2": 0, "control": 0} for counted in compared)
        counters.variant_errors["v2"] += 1
        found.endpoint.take_flags(replace(CONFIG.features, ab_test_variant="v2", ab_test_percentage=10))
        assert counters.variant_errors == {"v2": 1, "control": 0}
