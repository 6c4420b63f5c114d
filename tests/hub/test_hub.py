"""Opening and evicting rooms, and what bounds them."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
import trio

from gateway.errors import LogUnavailable, Refusal
from gateway.hub.tidying import TIDY_INTERVAL_S, TIDY_ROOMS
from gateway.rooms.room import Room
from tests.hub.parts import cluster, one_room, quiet, workers
from tests.rooms.parts import CONFIG, RESOURCE, Author, Reader, titled
from tests.waiting import unawaited, until

IDLE = CONFIG.with_(timeouts={"room_idle_s": 5.0})


async def test_a_room_is_opened_once_however_many_want_it(autojump_clock):
    async with workers(1) as [worker]:
        opened = []

        async def open_it() -> None:
            opened.append(await worker.hub.open(RESOURCE))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(open_it)
        assert len(set(map(id, opened))) == 1
        assert (worker.counters.rooms_opened, worker.hub.get(RESOURCE)) == (1, opened[0])


async def test_a_room_that_cannot_be_opened_is_unavailable_and_can_be_later(autojump_clock):
    async with workers(1) as [worker]:
        worker.log.away = True
        with pytest.raises(Refusal) as caught:
            await worker.hub.open(RESOURCE)
        assert caught.value.code == "UNAVAILABLE"
        assert caught.value.details["outcome"] == "none"
        assert worker.hub.get(RESOURCE) is None
        worker.log.away = False
        assert (await worker.hub.open(RESOURCE)).version == 0


class Unanswered:
    """A log that answers no opening until it gives up."""

    def __init__(self, worker):
        self.asked = 0
        self.gives_up = trio.Event()
        worker.log.open = self.open

    async def open(self, resource):
        self.asked += 1
        await self.gives_up.wait()
        raise LogUnavailable("away", "none")


async def test_who_waits_for_a_room_that_cannot_be_opened_does_not_try_again(autojump_clock):
    async with workers(1) as [worker]:
        log, codes = Unanswered(worker), []

        async def open_it() -> None:
            with pytest.raises(Refusal) as caught:
                await worker.hub.open(RESOURCE)
            codes.append(caught.value.code)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(open_it)
            await quiet()
            log.gives_up.set()
        assert (codes, log.asked) == (["UNAVAILABLE"] * 3, 1)
        assert worker.counters.log_errors == 1


async def test_where_the_opener_of_a_room_leaves_another_who_waits_opens_it(autojump_clock):
    async with workers(1) as [worker]:
        read = worker.log.open
        Unanswered(worker)
        opened = []

        async def open_it() -> None:
            opened.append(await worker.hub.open(RESOURCE))

        async with trio.open_nursery() as waiting, unawaited() as nursery:
            nursery.start_soon(open_it)
            await quiet()
            waiting.start_soon(open_it)
            await quiet()
            worker.log.open = read
        assert opened == [worker.hub.get(RESOURCE)]


@pytest.mark.parametrize("leaves", [True, False])
async def test_of_a_room_that_was_not_opened_nothing_is_heard(autojump_clock, leaves):
    async with workers(1) as [worker]:
        log = Unanswered(worker)
        if not leaves:
            log.gives_up.set()
        with trio.move_on_after(1):
            with pytest.raises(Refusal):
                await worker.hub.open(RESOURCE)
        assert worker.bus._resources == set()


async def test_what_is_announced_while_a_room_opens_is_not_missed(autojump_clock):
    async with workers(2) as [worker, other]:
        theirs = await other.open()
        read = worker.log.open

        async def slow(resource):
            opening = await read(resource)
            await other.commit(theirs, Author("bob"), titled("late"))
            await quiet()
            return opening

        worker.log.open = slow
        room = await worker.hub.open(RESOURCE)
        worker.log.open = read
        await quiet()
        assert (room.version, room.document["title"]) == (2, "late")


async def test_an_idle_room_is_evicted_with_a_snapshot_of_its_head(autojump_clock):
    async with cluster(IDLE) as found:
        worker = await found.worker()
        room = await worker.open()
        await trio.sleep(8)
        assert worker.hub.get(RESOURCE) is None
        assert found.history.snapshot(RESOURCE, 1).version == room.version == 1
        assert (worker.counters.rooms, worker.counters.rooms_evicted) == (0, 1)
        assert (await worker.hub.open(RESOURCE)).document == room.document


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing that is in a cycle goes meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_nothing_is_left_of_a_room_that_was_evicted_and_nothing_has_to_be_collected(
    autojump_clock, uncollected
):
    async with workers(1, IDLE) as [worker]:
        for number in range(3):  # of the last one its append is held, until the next
            await worker.open(f"event:leaves-nothing-{number}")
            await trio.sleep(8)
        assert worker.counters.rooms_evicted == 3
        # By its type: to ask a weak proxy whose object is gone what it is raises.
        rooms = [thing for thing in gc.get_objects() if issubclass(type(thing), Room)]
        assert "event:leaves-nothing-0" not in [room.resource for room in rooms]


async def test_many_rooms_are_tidied_in_parts_so_that_nobody_waits_for_all(autojump_clock):
    async with workers(1, IDLE) as [worker]:
        for number in range(3 * TIDY_ROOMS):
            await worker.open(f"event:{number}")
        evicted: Counter[float] = Counter()
        leave = worker.bus.unsubscribe

        async def counted(resource):
            evicted[trio.current_time()] += 1
            await leave(resource)

        worker.bus.unsubscribe = counted
        await trio.sleep(IDLE.timeouts.room_idle_s + 2 * TIDY_INTERVAL_S)
        assert worker.counters.rooms == 0, "one pass takes them all"
        assert evicted.total() == 3 * TIDY_ROOMS
        assert max(evicted.values()) <= TIDY_ROOMS


async def test_a_room_with_subscribers_stays_and_gives_up_its_window(autojump_clock):
    async with one_room(IDLE) as (worker, room):
        room.add(Reader(), True)
        await trio.sleep(8)
        assert worker.hub.get(RESOURCE) is room
        assert room.history.start == room.version


async def test_a_room_that_is_wanted_while_it_is_evicted_opens_again(autojump_clock):
    async with cluster(IDLE) as found:
        worker = await found.worker()
        room = await worker.open()
        leave = worker.bus.unsubscribe

        async def slow(resource):
            await trio.sleep(1)
            await leave(resource)

        worker.bus.unsubscribe = slow
        await until(lambda: worker.hub.get(RESOURCE) is None, within_s=30, every_s=0.1)
        again = await worker.hub.open(RESOURCE)
        assert again is not room
        other = await found.worker()
        await other.commit(await other.open(), Author("bob"), titled("b"))
        await quiet()
        assert again.version == 2, "it listens"


async def test_a_room_that_is_opened_while_its_snapshot_is_saved_stays(autojump_clock):
    async with one_room(IDLE) as (worker, room):
        save, saving = worker.log.save_snapshot, trio.Event()

        async def slow(*arguments):
            saving.set()
            await trio.sleep(1)
            await save(*arguments)

        worker.log.save_snapshot = slow
        await saving.wait()
        assert await worker.hub.open(RESOURCE) is room
        await trio.sleep(1.5)
        assert worker.hub.get(RESOURCE) is room


async def test_nothing_else_waits_for_a_snapshot_that_the_log_does_not_take(autojump_clock):
    async with workers(1, IDLE) as [worker]:
        saving = trio.Event()

        async def hang(*arguments):
            saving.set()
            await trio.sleep_forever()

        worker.log.save_snapshot = hang
        await worker.open("event:idle")
        room = await worker.open()
        room.add(Reader(), True)
        await saving.wait()
        await worker.commit(room, Author("ann"), titled("a"))
        await trio.sleep(8)
        assert room.history.start == room.version, "it gave up its window"


async def test_a_room_is_kept_for_whoever_must_wait_before_using_it(autojump_clock):
    async with one_room(IDLE) as (worker, room):
        with room.kept():
            await trio.sleep(60)
            assert worker.hub.get(RESOURCE) is room
        await trio.sleep(60)
        assert worker.hub.get(RESOURCE) is None


async def test_the_windows_of_a_worker_are_bounded_the_idlest_give_theirs_up(autojump_clock):
    config = CONFIG.with_(limits={"windows_bytes_max": 20_000})
    async with workers(1, config) as [worker]:
        old, new = await worker.open("event:old"), await worker.open("event:new")
        for room in (old, new):
            for number in range(10):
                await worker.commit(room, Author("ann"), titled(f"{number}"))
            await trio.sleep(0.1)
        await trio.sleep(1)
        assert old.history.start == old.version
        assert new.history.start < new.version
        assert worker.counters.window_bytes == new.history.window.bytes <= 20_000


async def test_a_snapshot_is_saved_each_so_many_changes(autojump_clock):
    async with cluster(CONFIG.with_(log={"snapshot_versions": 3})) as found:
        worker = await found.worker()
        room = await worker.open()
        for title in "abc":
            await worker.commit(room, Author("ann"), titled(title))
        await quiet()
        assert found.history.snapshot(RESOURCE, 10).version == 3


async def test_a_purged_resource_goes_on_empty_in_a_new_epoch(autojump_clock):
    async with one_room() as (worker, room):
        reader, epoch = Reader(), room.epoch
        room.add(reader, True)
        assert await worker.hub.purge(RESOURCE) is room
        assert (room.version, room.document) == (0, None)
        assert room.epoch > epoch
        [(kind, payload)] = reader.take()
        assert (kind, payload["state"]) == ("SYNC_RESPONSE", None)


async def test_a_purge_whose_answer_is_lost_is_in_force_here_too(autojump_clock):
    async with one_room() as (worker, room):
        epoch, purge, noted = room.epoch, worker.log.purge, []
        worker.hub.settled.note = noted.append

        async def unanswered(resource):
            await purge(resource)
            raise LogUnavailable("away", "unknown")

        worker.log.purge = unanswered
        with pytest.raises(Refusal, match="can't be done now"):
            await worker.hub.purge(RESOURCE)
        await trio.sleep(1)
        assert (room.version, room.document) == (0, None)
        assert room.epoch > epoch
        assert noted == [room]


async def test_a_purged_resource_that_cannot_be_opened_again_is_not_told_as_if_it_was(autojump_clock):
    async with one_room() as (worker, room):
        reader, epoch = Reader(), room.epoch
        room.add(reader, True)
        worker.log.failing[RESOURCE] = LogUnavailable("away", "none")
        with pytest.raises(Refusal) as refused:
            await worker.hub.purge(RESOURCE)
        assert (refused.value.code, refused.value.details["outcome"]) == ("UNAVAILABLE", "unknown")
        assert room.epoch == epoch
        worker.log.failing.clear()
        await trio.sleep(2)
        assert (room.version, room.document) == (0, None)
        assert room.epoch > epoch
        [(kind, payload)] = reader.take()
        assert (kind, payload["state"]) == ("SYNC_RESPONSE", None)
