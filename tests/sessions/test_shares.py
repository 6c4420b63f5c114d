"""What one client may cost the others: work, bytes, reads and CPU, by counting, never by the clock."""

from __future__ import annotations

import gc
import logging
import time

import orjson
import pytest
import trio

from gateway.admission.rates import PAUSE_S
from gateway.hub.heavy import BEYOND_PAUSES
from gateway.sessions import session as sessions
from gateway.sessions.account import BYTE_S, MESSAGE_S
from gateway.sessions.charges import spend_bytes
from gateway.sessions.cpu_queue import TURN_PAUSES, TURN_S
from gateway.sessions.endpoint import CPU_MUCH_S
from gateway.sessions.metered import Metered
from tests.held import Held
from tests.rooms.parts import CONFIG
from tests.sessions.parts import desk, desk_with, one

UNITS = CONFIG.limits.edit_work_max
# What a step may hold the loop for: an edit's whole budget, with room for the pure kernel's slowness.
HELD_MAX_S = 0.5


def texts(count, member="description"):
    return [{"op": "text", "path": f"/{member}", "value": [n, "y", {"d": 1}]} for n in range(count)]


async def crowd(found, editors, changes, operations):
    """A long text, and others' changes of many operations each since version 2."""
    [first, *others] = [await found.client(f"u{n}", subscribed=True) for n in range(editors)]
    await first.edit({"op": "replace", "path": "/description", "value": "x" * 20_000}, 1)
    for n in range(changes):
        author = others[n % len(others)]
        await author.edit(texts(operations), found.room().version)
    return first


async def test_an_edit_on_an_old_base_is_paid_for_over_the_whole_way(autojump_clock):
    """What it meets is in the window, or read from the log: one budget for both."""
    config = CONFIG.with_(limits={"window_versions_max": 20})
    async with desk(config) as found:
        ann = await crowd(found, 3, 40, 400)
        said = await ann.edit(texts(1000), 2)
        error = one(said, "ERROR")
        assert error["code"] == "CONFLICT" and "resume" in error["message"]
        said = await ann.edit({"op": "replace", "path": "/title", "value": "x"}, 2)  # it meets none of them
        assert one(said, "OP_ACK")["version"] == 43


async def test_an_undo_replays_a_slice_at_a_time_and_is_bounded(autojump_clock, monkeypatch):
    config = CONFIG.with_(limits={"edit_work_max": 1_000_000})
    async with desk_with("ann", "bob", config=config) as (found, ann, bob):
        await ann.edit({"op": "replace", "path": "/description", "value": "x" * 1_000}, 1)
        for _ in range(12):
            await ann.edit(texts(100), found.room().version)
            await bob.edit(texts(100), found.room().version)
        held, work = (
            Held(),
            ann.session.receive(orjson.dumps({"type": "UNDO", "payload": {"resource_id": "1"}})),
        )
        await held.run(awaited(work))
        await ann.session.settled(0)
        assert held.longest_s < HELD_MAX_S
        [(kind, payload)] = [said for said in ann.reader.take() if said[0] in ("OP_ACK", "ERROR")]
        assert kind == "OP_ACK" or payload["code"] in ("TOO_LARGE", "NOTHING_TO_UNDO")


async def test_answers_are_bounded_in_bytes_in_both_forms(autojump_clock):
    config = CONFIG.with_(limits={"changes_bytes_max": 20_000})
    async with desk_with("ann", config=config) as (found, ann):
        for n in range(10):
            await ann.edit({"op": "replace", "path": "/description", "value": f"{n}" * 3_000}, n + 1)
        await ann.edit({"op": "text", "path": "/description", "value": ["y"]}, 11)
        for extended, part in ((True, "changes"), (False, "operations")):
            viewer = await found.client("vera:viewer", extended=extended, subscribed=True)
            few = {"resource_id": "1", "resource_type": "event", "last_version": 9}
            assert part in one(await viewer.say("SYNC_REQUEST", **few), "SYNC_RESPONSE")
            all_of_it = few | {"last_version": 1, "max_changes": 1000}
            answer = one(await viewer.say("SYNC_REQUEST", **all_of_it), "SYNC_RESPONSE")
            assert answer["state"]["description"].startswith("y9")
            assert part not in answer


async def test_reads_are_charged_by_number_and_by_bytes(autojump_clock):
    config = CONFIG.with_(limits={"reads_per_minute": 60, "reads_burst": 5})
    async with desk_with("vera:viewer", config=config) as (found, viewer):
        ask = {"resource_id": "1", "resource_type": "event", "last_version": 1}
        answers = [(await viewer.say("SYNC_REQUEST", **ask))[0] for _ in range(8)]
        assert [kind for kind, _ in answers].count("SYNC_RESPONSE") <= 5
        error = answers[-1][1]
        assert error["code"] == "RATE_LIMITED" and error["retry_after_ms"] > 0
        await trio.sleep(error["retry_after_ms"] / 1000 + 0.01)
        [(kind, _)] = await viewer.say("SYNC_REQUEST", **ask)
        assert kind == "SYNC_RESPONSE"
        spend_bytes(viewer.session.shared, "vera", 10 << 20)
        [(kind, error)] = await viewer.say("SYNC_REQUEST", **ask)
        assert kind == "ERROR" and error["retry_after_ms"] > 100_000
        other = await found.client("otto:viewer", subscribed=True)  # somebody else isn't held up
        assert one(await other.say("SYNC_REQUEST", **ask), "SYNC_RESPONSE")


async def test_a_refusal_that_holds_the_document_is_paid_for(autojump_clock):
    config = CONFIG.with_(limits={"reads_per_minute": 60, "reads_burst": 5})
    async with desk_with("ann", config=config) as (found, ann):
        await ann.edit({"op": "replace", "path": "/description", "value": "x" * 200_000}, 1)
        for _ in range(3):
            said = await ann.edit({"op": "test", "path": "/title", "value": "another"}, 2)
            assert one(said, "ERROR")["server_state"]["description"]
        assert ann.session.shared.reads.wait_s("ann", found.hub.now_s()) > 0


async def test_turning_visible_and_invisible_is_charged(autojump_clock):
    config = CONFIG.with_(limits={"reads_per_minute": 60, "reads_burst": 5})
    async with desk_with("ann", "vera:viewer", config=config) as (_, watcher, flasher):
        watcher.reader.take()
        for n in range(40):
            await flasher.say("PRESENCE_UPDATE", resource_id="1", visible=bool(n % 2))
        assert len(watcher.reader.take()) <= 5
        typing = await flasher.say("PRESENCE_UPDATE", resource_id="1", is_typing=True)
        assert typing == []  # what turns nothing isn't charged


async def test_turns_of_visibility_are_conflated_and_the_last_one_is_told(autojump_clock):
    config = CONFIG.with_(limits={"reads_per_minute": 0})
    async with desk_with("ann", "vera:viewer", config=config) as (found, watcher, flasher):
        await trio.sleep(0.1)
        watcher.reader.take()
        for n in range(41):
            await flasher.say("PRESENCE_UPDATE", resource_id="1", visible=bool(n % 2))
        assert watcher.reader.kinds() == ["PRESENCE_LEAVE"]
        await flasher.say("PRESENCE_UPDATE", resource_id="1", visible=True, cursor={"field": "title"})
        await trio.sleep(0.2)
        [(kind, _), *moved] = watcher.reader.take()
        assert kind == "PRESENCE_JOIN" and len(moved) <= 1
        await flasher.say("PRESENCE_UPDATE", resource_id="1", is_typing=True)
        await trio.sleep(0.2)
        assert watcher.reader.take()[-1][1]["cursor"] == {"field": "title"}
        await flasher.say("PRESENCE_UPDATE", resource_id="1", visible=False)
        await flasher.say("PRESENCE_UPDATE", resource_id="1", visible=True)  # as it was: nothing more
        await flasher.say("UNSUBSCRIBE", resource="event", resource_id="1")
        await trio.sleep(0.2)
        assert watcher.reader.kinds().count("PRESENCE_JOIN") == 0
        assert found.counters.presences == 1


async def test_a_user_over_his_share_of_cpu_waits_and_nobody_else_does(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        context = ann.session.shared
        context.cpu.spend("ann", CONFIG.limits.user_cpu_burst_s + 0.5, found.hub.now_s())
        began_s = trio.current_time()
        assert bob.session.receive(b'{"type": "PING", "payload": {}}') is None
        assert bob.reader.kinds() == ["PONG"]
        await ann.say("PING")
        assert trio.current_time() - began_s == pytest.approx(0.5 / CONFIG.limits.user_cpu_share, abs=1.1)
        assert found.counters.messages_waited == 1
        await trio.sleep(CONFIG.limits.user_cpu_burst_s / CONFIG.limits.user_cpu_share)
        assert ann.session.receive(b'{"type": "PING", "payload": {}}') is None  # it is paid


async def test_a_share_of_the_whole_core_is_no_limit(autojump_clock):
    async with desk_with("ann", config=CONFIG.with_(limits={"user_cpu_share": 1})) as (found, ann):
        ann.session.shared.cpu.spend("ann", 1000.0, found.hub.now_s())
        assert ann.session.receive(b'{"type": "PING", "payload": {}}') is None
        assert ann.reader.kinds() == ["PONG"]


async def awaited(work):
    await work


async def test_who_is_over_his_share_takes_turns_with_others_who_are_and_nobody_else_waits(autojump_clock):
    ping = b'{"type": "PING", "payload": {}}'
    async with desk() as found:
        heavy = [await found.client(f"u{n}", subscribed=True) for n in range(3)]
        ann = await found.client("ann", subscribed=True)
        shared = ann.session.shared
        for client in heavy:
            shared.cpu.spend(client.session.identity.user_id, 0.1, found.hub.now_s())
            client.reader.take()
        shared.cpu_queue.spent(0.5 / BEYOND_PAUSES)
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for client in heavy:
                work = client.session.receive(ping)
                assert work is not None
                nursery.start_soon(awaited, work)
            await trio.sleep(0.4)
            assert [client.reader.kinds() for client in heavy] == [[], [], []]
            assert ann.session.receive(ping) is None and ann.reader.kinds() == ["PONG"]
        assert [client.reader.kinds() for client in heavy] == [["PONG"]] * 3
        assert trio.current_time() - began_s == pytest.approx(0.5 + 2 * TURN_S * TURN_PAUSES)


async def test_who_goes_on_and_on_stays_in_the_queue_and_who_pauses_leaves_it(autojump_clock):
    ping = b'{"type": "PING", "payload": {}}'
    async with desk_with("ann") as (found, ann):
        shared = ann.session.shared
        shared.cpu.spend("ann", CPU_MUCH_S + 0.01, found.hub.now_s())
        began_s = trio.current_time()
        waited = 0
        while trio.current_time() - began_s < 10:
            work = ann.session.receive(ping)
            ann.session.account.worked(2_000_000)  # more than a turn, and less than his share
            if work is not None:
                waited += 1
                await work
            await trio.sleep(0.2)
        assert waited > 10 and shared.cpu.owed("ann", found.hub.now_s()) == 0
        assert shared.cpu.over("ann", found.hub.now_s())
        await trio.sleep(PAUSE_S)
        assert ann.session.receive(ping) is None


async def test_small_messages_of_who_is_over_his_share_are_handled_together(autojump_clock):
    """A turn is for as many as fit into a millisecond: one each would cost more than they do."""
    ping = b'{"type": "PING", "payload": {}}'
    async with desk_with("ann") as (found, ann):
        ann.session.shared.cpu.spend("ann", 0.1, found.hub.now_s())
        await ann.session.receive(ping)
        handled = 1
        while (work := ann.session.receive(ping)) is None:
            handled += 1
        await work
        assert handled == pytest.approx(TURN_S / (MESSAGE_S + BYTE_S * len(ping)), abs=2)


async def test_pings_and_pongs_of_the_socket_are_paid_for_as_small_messages_are(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        ann.session.shared.cpu.spend("ann", 0.1, found.hub.now_s())
        work = ann.session.receive_control()
        assert work is not None and bob.session.receive_control() is None
        await work
        handled = 0
        while (work := ann.session.receive_control()) is None:
            handled += 1
        work.close()
        assert handled == pytest.approx(TURN_S / MESSAGE_S, abs=2)


async def test_binary_messages_are_paid_for_by_their_bytes_too(autojump_clock):
    config = CONFIG.with_(limits={"invalid_messages_max": 1_000_000})
    async with desk_with("ann", "bob", config=config) as (found, ann, bob):
        ann.session.shared.cpu.spend("ann", 0.1, found.hub.now_s())
        work = ann.session.receive_binary(1000)
        assert work is not None and bob.session.receive_binary(1000) is None
        await work
        handled = 0
        while (work := ann.session.receive_binary(1000)) is None:
            handled += 1
        work.close()
        assert handled == pytest.approx(TURN_S / (MESSAGE_S + 1000 * BYTE_S), abs=2)


async def test_work_done_for_an_edit_elsewhere_is_its_users(autojump_clock):
    async with desk_with("ann") as (found, ann):
        ann.session.account.worked(10_000_000_000)
        assert ann.session.shared.cpu.wait_s("ann", found.hub.now_s()) > 100


async def test_who_leaves_before_he_pays_pays(autojump_clock):
    """A connection for each dear edit: the user's next one waits."""
    async with desk() as found:
        ann, again = await found.client("ann", subscribed=True), await found.client("ann")
        shared, now_s = ann.session.shared, found.hub.now_s()
        owed_s = shared.cpu.owed("ann", now_s)
        ann.session.inflated(0.0001)  # too little to be charged at once
        assert shared.cpu.owed("ann", now_s) == owed_s
        ann.session.closed()
        ann.session.account.worked(10_000_000_000)  # what it sent is staged after it left
        assert shared.cpu.owed("ann", now_s) == pytest.approx(owed_s + 10.0001, abs=0.01)
        work = again.session.receive(b'{"type": "PING", "payload": {}}')
        assert work is not None
        work.close()


async def test_a_message_that_holds_the_loop_is_logged_without_its_content(
    autojump_clock, caplog, monkeypatch
):
    monkeypatch.setattr(sessions, "SLOW_S", 0.0)
    async with desk_with("ann") as (found, ann):
        with caplog.at_level(logging.WARNING):
            await ann.edit({"op": "replace", "path": "/title", "value": "a secret"}, 1)
            await ann.say("SYNC_REQUEST", resource_id="1", last_version=1)
            ann.session.receive(b"not JSON")
    told = [record.getMessage() for record in caplog.records if "held the loop" in record.getMessage()]
    assert any("OP of" in line and ann.session.id in line and "user ann" in line for line in told)
    assert any("SYNC_REQUEST of" in line for line in told) and any(
        "unknown of 8 bytes" in line for line in told
    )
    assert "secret" not in caplog.text
    assert found.counters.messages_slow["OP"] == 1


async def test_a_batch_ends_when_it_has_been_enough_work(autojump_clock):
    """64 edits that cost nearly all they may would hold the loop for a second."""
    async with desk_with("ann") as (found, ann):
        await ann.edit({"op": "add", "path": "/note", "value": [0] * 100_000}, 1)
        room = found.room()
        for n in range(10):
            patch = [{"op": "add", "path": "/note/0", "value": n} for _ in range(8)]
            message = {"resource_id": "1", "version": 2, "operations": patch}
            ann.session.receive(orjson.dumps({"type": "OP", "id": f"{n}", "payload": message}))
        batch = room.prepare()
        assert batch is not None and 1 <= len(batch.records) < 10
        assert room.busy


async def test_metered_counts_each_step_and_passes_on_what_is_thrown(autojump_clock):
    steps = []

    async def work():
        with trio.move_on_after(1):
            await trio.sleep(5)
        await trio.lowlevel.checkpoint()
        raise ValueError("what it raises")

    with pytest.raises(ValueError, match="what it raises"):
        await Metered(work(), time.thread_time, steps.append)
    assert len(steps) >= 3


async def test_work_that_nobody_awaits_is_closed_without_a_word(autojump_clock, recwarn):
    """Its connection ended first. A coroutine that was never awaited would be a warning in the node's log."""
    async with desk_with("ann") as (_, ann):
        work = ann.session.receive(b'{"type": "UNDO", "payload": {"resource_id": "1"}}')
        assert work is not None
        work.close()
        del work
        gc.collect()
    assert [str(each.message) for each in recwarn] == []
