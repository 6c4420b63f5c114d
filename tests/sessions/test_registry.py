"""Who is connected, who speaks for which client, and whose liveness is checked when."""

from __future__ import annotations

import trio

from tests.sessions.parts import desk


async def test_a_newer_connection_of_the_same_client_replaces_the_older(autojump_clock):
    async with desk() as found:
        older, newer = await found.client("ann"), await found.client("ann")
        registry = found.endpoint._registry
        assert (older.reader.closed_with, newer.reader.closed_with) == (4409, None)
        assert registry.speaker("ann", "ann-client") is newer.session
        older.leave()
        assert registry.speaker("ann", "ann-client") is newer.session
        newer.leave()
        assert registry.speaker("ann", "ann-client") is None


async def test_the_same_client_id_of_another_user_is_another_client(autojump_clock):
    async with desk() as found:
        ann, bob = await found.client("ann"), await found.client(None)
        await bob.say("AUTH", token="bob", client_id="ann-client")
        assert (ann.reader.closed_with, bob.reader.closed_with) == (None, None)


async def test_one_can_wait_until_nobody_is_connected(autojump_clock):
    async with desk() as found, trio.open_nursery() as nursery:
        ann, bob = await found.client("ann"), await found.client("bob")
        nursery.start_soon(found.endpoint._registry.emptied)
        for client in (ann, bob):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            client.leave()


async def test_sessions_are_checked_when_they_are_due_and_not_before(autojump_clock):
    async with desk() as found:
        client = await found.client("ann")
        checks = []
        registry = found.endpoint._registry
        due = client.session.due
        registry.sweep(due - 1)
        assert client.session.due == due
        registry.sweep(due)
        checks.append(client.session.due)
        assert checks != [due]
        client.leave()
        registry.sweep(1e9)
