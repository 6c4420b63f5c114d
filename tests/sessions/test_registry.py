"""Who is connected, who speaks for which client, and whose liveness is checked when."""

from __future__ import annotations

import orjson
import pytest
import trio

from gateway.sessions import claims
from tests.hub.parts import deaf
from tests.rooms.parts import titled
from tests.sessions.parts import desk, desks


async def test_a_newer_connection_of_the_same_client_replaces_the_older(autojump_clock):
    async with desk() as found:
        older, newer = await found.client("ann"), await found.client("ann")
        registry = found.endpoint.registry
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)
        assert registry.speaker("ann", "ann-client") is newer.session
        older.leave()
        assert registry.speaker("ann", "ann-client") is newer.session
        newer.leave()
        assert registry.speaker("ann", "ann-client") is None


async def test_who_comes_after_the_clock_was_set_back_is_the_newer_one(autojump_clock):
    async with desk() as found:
        found.worker.ahead_ms = 30_000
        older = await found.client("ann")
        found.worker.ahead_ms = 0
        newer = await found.client("ann")
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)


async def test_the_same_client_id_of_another_user_is_another_client(autojump_clock):
    async with desk() as found:
        ann, bob = await found.client("ann"), await found.client(None)
        await bob.say("AUTH", token="bob", client_id="ann-client")
        assert (ann.reader.closed_with, bob.reader.closed_with) == (None, None)


async def test_one_can_wait_until_nobody_is_connected(autojump_clock):
    async with desk() as found, trio.open_nursery() as nursery:
        ann, bob = await found.client("ann"), await found.client("bob")
        nursery.start_soon(found.endpoint.registry.emptied)
        for client in (ann, bob):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            client.leave()


async def test_sessions_are_checked_when_they_are_due_and_not_before(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        checks = []
        registry = found.endpoint.registry
        due = client.session.due
        list(registry.sweep(due - 1))
        assert client.session.due == due
        list(registry.sweep(due))
        checks.append(client.session.due)
        assert checks != [due]
        client.leave()
        list(registry.sweep(1e9))


async def test_who_leaves_while_others_are_checked_is_checked_no_more(autojump_clock):
    async with desk() as found:
        clients = [await found.client(name) for name in ("ann", "bob", "cy")]
        registry = found.endpoint.registry
        sweep = registry.sweep(max(client.session.due for client in clients))
        next(sweep)
        for client in clients:
            client.leave()
        assert list(sweep) == []
        assert not registry.sessions


async def test_a_newer_connection_at_another_worker_replaces_the_older_one(autojump_clock):
    async with desks(2) as (one, two):
        older = await one.client("ann")
        await trio.sleep(1)
        newer = await two.client("ann")
        other = await two.client("bob")
        await trio.sleep(0.1)
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)
        assert other.reader.closed_with is None


async def test_the_older_connection_is_closed_too_when_it_claims_last(autojump_clock):
    async with desks(2) as (one, two):
        older = await one.client(None)
        await trio.sleep(1)
        newer = await two.client("ann")
        await older.say("AUTH", token="ann", client_id="ann-client")
        await trio.sleep(0.1)
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)


async def test_the_older_connection_at_the_same_worker_is_closed_too_when_it_claims_last(autojump_clock):
    async with desk() as found:
        older = await found.client(None, authorization="Bearer ann")
        await older.subscribe()
        await trio.sleep(1)
        newer = await found.client("ann", subscribed=True)
        await older.edit(titled("late")[0], 1, client_id="ann-client")
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)
        assert found.endpoint.registry.speaker("ann", "ann-client") is newer.session
        assert found.room().version == 1, "its edit is the newer connection's to send"
        older.leave()
        assert found.endpoint.registry.speaker("ann", "ann-client") is newer.session


async def test_who_comes_to_another_worker_after_the_clock_was_set_back_is_the_newer_one(autojump_clock):
    async with desks(2) as (one, two):
        one.worker.ahead_ms = 30_000
        older = await one.client("ann")
        await trio.sleep(0.1)
        one.worker.ahead_ms = 0
        newer = await two.client("ann")
        await trio.sleep(0.1)
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)


@pytest.mark.parametrize("who", [0, 1], ids=["the older", "the newer"])
async def test_a_claim_that_was_lost_in_a_gap_is_told_again(autojump_clock, who):
    async with desks(2) as workers:
        one, two = workers
        older = await one.client("ann")
        await trio.sleep(1)
        with deaf(one.worker.bus):
            newer = await two.client("ann")
            await trio.sleep(0.1)
        assert (older.reader.closed_with, newer.reader.closed_with) == (None, None)
        workers[who].hub.listener.on_gap(claims.TOPIC)
        await trio.sleep(claims.TOLD_AFTER_MAX_S + 0.1)
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)


async def test_claims_are_told_again_some_at_a_time_and_only_those_that_hold(autojump_clock, monkeypatch):
    monkeypatch.setattr(claims, "TOLD_AT_ONCE", 2)
    monkeypatch.setattr(claims, "TOLD_AFTER_MAX_S", 0.0)
    async with desks(2) as (one, two):
        clients = [await one.client(name) for name in ("ann", "bob", "cy", "di", "eve")]
        await trio.sleep(0.1)
        told = []
        monkeypatch.setattr(
            two.endpoint.context.claims,
            "heard",
            lambda payload: told.extend(claim[0] for claim in orjson.loads(payload)),
        )
        one.hub.listener.on_gap(claims.TOPIC)
        await trio.sleep(claims.TOLD_PAUSE_S / 2)
        assert told == ["ann", "bob"]
        clients[3].leave()
        await trio.sleep(1)
        assert told == ["ann", "bob", "cy", "eve"]


async def test_what_is_no_claim_harms_nobody(autojump_clock, caplog):
    async with desk() as found:
        client = await found.client("ann")
        for payload in (b"", b"7", b"[1]", b'[["ann","ann-client","x","y"]]'):
            found.hub.listener.on_message("~claims", payload)
        assert client.reader.closed_with is None
        assert len([record for record in caplog.records if "no claim" in record.message]) == 4
