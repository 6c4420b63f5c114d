"""What the bus brings: applied where it follows, held while an append is under way, else looked up."""

from __future__ import annotations

import trio

from gateway.hub.listener import HELD_MAX
from gateway.wire.announcement import Announcement, encode
from tests.hub.parts import one_room, quiet, workers
from tests.rooms.parts import RESOURCE, START_MS, Author, Reader, record, titled


async def test_what_another_worker_commits_is_told_here(autojump_clock):
    async with workers(2) as [worker, other]:
        room, theirs = await worker.open(), await other.open()
        reader = Reader()
        room.add(reader, True)
        await other.commit(theirs, Author("bob"), titled("b"))
        await quiet()
        assert reader.kinds() == ["OP_BROADCAST"]
        assert worker.counters.bus_received == 1


async def test_a_gap_is_filled_from_the_log(autojump_clock):
    async with workers(2) as [worker, other]:
        room, theirs = await worker.open(), await other.open()
        post = worker.bus.post
        worker.bus.post = lambda resource, payload: None
        await other.commit(theirs, Author("bob"), titled("lost"))
        worker.bus.post = post
        await other.commit(theirs, Author("bob"), titled("heard"))
        await quiet()
        assert (room.version, room.document["title"]) == (3, "heard")


async def test_a_gap_while_a_room_is_opened_is_filled_from_the_log(autojump_clock):
    async with workers(2) as [worker, other], trio.open_nursery() as nursery:
        theirs = await other.open()
        worker.log.hold_opens()
        nursery.start_soon(worker.hub.open, RESOURCE)
        await quiet()
        worker.bus.post = lambda resource, payload: None
        await other.commit(theirs, Author("bob"), titled("lost"))
        worker.hub.listener.on_gap(RESOURCE)
        worker.log.opens.set()
        await quiet()
        assert worker.hub.get(RESOURCE).version == theirs.version


async def test_of_too_many_messages_while_a_room_is_opened_the_log_is_asked(autojump_clock):
    async with workers(2) as [worker, other], trio.open_nursery() as nursery:
        theirs = await other.open()
        worker.log.hold_opens()
        nursery.start_soon(worker.hub.open, RESOURCE)
        await quiet()
        for number in range(HELD_MAX + 1):
            await other.commit(theirs, Author("bob"), titled(f"{number}"))
            await quiet()
            assert len(worker.hub.listener._missed[RESOURCE]) <= HELD_MAX
        worker.log.opens.set()
        await quiet()
        assert worker.hub.get(RESOURCE).version == theirs.version


async def test_an_announcement_that_contradicts_what_is_known_is_looked_up(autojump_clock):
    async with one_room() as (worker, room):
        await worker.commit(room, Author("ann"), titled("a"))
        forged = Announcement(RESOURCE, START_MS, 1, "nonce", [record(2, titled("another"))])
        worker.hub.listener.on_message(RESOURCE, encode(forged, ""))
        await quiet()
        assert room.document["title"] == "a", "the log says so"


async def test_announcements_wait_for_the_append_under_way(autojump_clock):
    async with workers(2) as [worker, other]:
        room, theirs = await worker.open(), await other.open()
        ann = Author("ann")
        worker.log.hold()
        worker.submit(room, ann, titled("mine"))
        await quiet()
        await other.commit(theirs, Author("bob"), titled("theirs"))
        await quiet()
        assert room.version == 1
        worker.log.go.set()
        await worker.hub.idle()
        assert (room.version, ann.versions) == (3, [3])


async def test_too_many_waiting_announcements_are_dropped_and_the_log_is_asked(autojump_clock):
    async with one_room() as (worker, room):
        worker.log.hold()
        worker.submit(room, Author("ann"), titled("mine"))
        await quiet()
        far = Announcement(RESOURCE, START_MS, 8, "nonce", [record(9, titled("far"))])
        for _ in range(HELD_MAX + 1):
            worker.hub.listener.on_message(RESOURCE, encode(far, ""))
        worker.log.go.set()
        await worker.hub.idle()
        await quiet()
        assert (room.version, room.document["title"]) == (2, "mine")


async def test_a_gap_of_the_bus_has_the_room_compared_with_the_log(autojump_clock):
    async with workers(2) as [worker, other]:
        room, theirs = await worker.open(), await other.open()
        worker.bus.post = lambda resource, payload: None
        await other.commit(theirs, Author("bob"), titled("lost"))
        worker.hub.listener.on_gap(RESOURCE)
        await quiet()
        assert (room.version, worker.counters.bus_gaps) == (2, 1)
