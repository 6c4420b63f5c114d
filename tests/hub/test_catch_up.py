"""Bringing rooms to the log's head, and what left their windows from the log."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
import trio

from gateway import ot
from gateway.config import Config
from gateway.errors import LogDamaged, LogTrimmed, LogUnavailable, Refusal
from gateway.hub.portions import PORTION_BYTES, PORTION_CHANGES
from gateway.hub.retries import PAUSE_S
from gateway.ports import Absent, Snapshot
from tests.hub.parts import cluster, one_room, quiet, workers
from tests.rooms.parts import CONFIG, EVENT, RESOURCE, START_MS, Author, Reader, titled


async def behind(found, *titles):
    """A worker whose room misses these changes, and the room."""
    worker, other = await found.worker(), await found.worker()
    room, theirs = await worker.open(), await other.open()
    worker.bus.post = lambda resource, payload: None  # announcements don't come
    for title in titles:
        await other.commit(theirs, Author("bob"), titled(title))
    return worker, room


def room_reader(room):
    reader = Reader()
    room.add(reader, True)
    return reader


async def test_a_room_gets_what_it_missed(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a", "b")
        reader = room_reader(room)
        await worker.hub.catch_up.now(room)
        assert room.document["title"] == "b"
        assert [payload["version"] for _, payload in reader.take()] == [2, 3]


async def test_a_room_takes_what_it_missed_by_portions(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found, *map(str, range(100)))
        nursery.start_soon(worker.hub.catch_up.now, room)
        versions = await versions_upto(room, 101)
        assert max(after - before for before, after in pairwise(versions)) <= 2 * PORTION_CHANGES


async def test_of_large_changes_a_portion_has_few(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found, *(f"{number}{'x' * (PORTION_BYTES // 3)}" for number in range(12)))
        nursery.start_soon(worker.hub.catch_up.now, room)
        versions = await versions_upto(room, 13)
        assert max(after - before for before, after in pairwise(versions)) <= 2 * 3


async def test_an_edit_between_two_portions_is_committed_once(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found, *map(str, range(400)))
        reader, author = room_reader(room), Author("ann")
        nursery.start_soon(worker.hub.catch_up.now, room)
        await versions_upto(room, 1 + PORTION_CHANGES)
        worker.log.hold()
        worker.submit(room, author, titled("mine"))
        while not room.appending:
            await trio.lowlevel.checkpoint()
        version = room.version
        assert version < 401
        await trio.testing.wait_all_tasks_blocked()
        assert room.version == version, "nothing is taken while an append is under way"
        worker.log.go.set()
        versions = await versions_upto(room, 402)
        assert max(after - before for before, after in pairwise(versions)) <= 2 * PORTION_CHANGES
        await quiet()
        assert (author.versions, room.version) == ([402], 402)
        assert [payload["version"] for _, payload in reader.take()] == list(range(2, 403))


async def test_an_edit_in_a_room_that_missed_many_changes_has_it_take_them_by_portions(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, *map(str, range(400)))
        reader, author = room_reader(room), Author("ann")
        worker.submit(room, author, titled("mine"))
        versions = await versions_upto(room, 402)
        assert max(after - before for before, after in pairwise(versions)) <= 2 * PORTION_CHANGES
        await quiet()
        assert (author.versions, worker.counters.batches_stale) == ([402], 1)
        assert [payload["version"] for _, payload in reader.take()] == list(range(2, 403))


async def test_a_room_that_takes_much_by_portions_keeps_no_other_waiting(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, *map(str, range(400)))
        other = await worker.open("event:other")
        author, others = Author("ann"), Author("cem")
        worker.log.hold()
        worker.submit(room, author, titled("mine"))
        worker.submit(other, others, titled("theirs"))
        worker.log.go.set()
        while not others.versions:
            await trio.lowlevel.checkpoint()
        assert room.version < 401
        await quiet()
        assert (author.versions, others.versions) == ([402], [2])


async def test_a_room_that_others_change_all_the_time_takes_much_and_still_commits(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found)
        theirs = await (other := await found.worker()).open()
        author = Author("ann")

        async def go_on():
            while True:
                for title in map(str, range(2 * PORTION_CHANGES)):
                    other.submit(theirs, Author("bob"), titled(title))
                await trio.sleep(0.01)

        nursery.start_soon(go_on)
        await trio.sleep(0.1)
        worker.submit(room, author, titled("mine"))
        with trio.fail_after(60):
            await worker.hub.idle()
        nursery.cancel_scope.cancel()
        assert author.versions and worker.counters.batches_stale


async def versions_upto(room, version):
    """The versions that the room has after each step, until it has this one: between two, others do two."""
    versions = [room.version]
    while room.version < version:
        await trio.lowlevel.checkpoint()
        versions.append(room.version)
    return versions


async def test_a_snapshot_beyond_the_head_hides_no_change(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, *"abcdef")
        snapshot_at_head(found, b'{"title":"f"}')
        reader = room_reader(room)
        await worker.hub.catch_up.now(room)
        assert [payload["version"] for _, payload in reader.take()] == [2, 3, 4, 5, 6, 7]


async def test_what_a_snapshot_is_beyond_is_read_at_once_with_what_it_follows(autojump_clock, monkeypatch):
    async with cluster() as found:
        worker, room = await behind(found, *"abcdef")
        snapshot_at_head(found, b'{"title":"f"}')
        read, asked = worker.log.read, []

        async def counted(resource, after, limit):
            asked.append((after, limit))
            return await read(resource, after, limit)

        monkeypatch.setattr(worker.log, "read", counted)
        await worker.hub.catch_up.now(room)
        assert (room.version, asked) == (7, [(0, 7)])


async def made_anew(found):
    """The resource is purged, and begins another history: the room of a worker that has it."""
    found.history.purge(RESOURCE)
    return await (await found.worker()).open()


def snapshot_at_head(found, document):
    """The log has this as its newest snapshot."""
    epoch, head = found.history.head(RESOURCE)
    found.history.save_snapshot(RESOURCE, epoch, Snapshot(head, document))


def trimmed(found):
    """The log keeps the document of the head, and no change that led there."""
    version = found.history.head(RESOURCE)[1]
    title = orjson.loads(found.history.open(RESOURCE).records[-1].body)["operations"][0]["value"]
    found.history.trim(RESOURCE, Snapshot(version, orjson.dumps({**EVENT, "title": title})))


async def test_a_room_left_behind_what_the_log_keeps_takes_its_state(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, *"abcdef")
        trimmed(found)
        reader = room_reader(room)
        await worker.hub.catch_up.now(room)
        [(kind, told)] = reader.take()
        assert (kind, told["current_version"], told["epoch"]) == ("SYNC_RESPONSE", 7, room.epoch)
        assert told["state"] == room.document == {**EVENT, "title": "f"}
        assert (worker.counters.changes_lost, worker.counters.changes_rescued) == (0, 0)
        await worker.commit(room, ann := Author("ann"), titled("on"))
        assert ann.versions == [8]


async def test_an_edit_of_a_room_left_behind_is_too_old(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, *"abcdef")
        trimmed(found)
        await worker.commit(room, ann := Author("ann"), titled("late"))
        [refusal] = ann.refusals
        assert (refusal.code, refusal.details["version"]) == ("VERSION_TOO_OLD", 7)
        assert "(epoch)" not in refusal.message


async def caught_up_beside_an_append(worker, room, author, nursery):
    """The room is told to catch up while an edit of its own is at the log, and waits for that."""
    worker.log.hold()
    worker.submit(room, author, titled("mine"))
    await quiet()
    nursery.start_soon(worker.hub.catch_up.now, room)
    await quiet()
    assert room.version == 1
    worker.log.go.set()
    await worker.hub.idle()


async def test_a_room_left_behind_goes_on_when_its_own_append_is_answered(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found, *"abcdef")
        trimmed(found)
        await caught_up_beside_an_append(worker, room, ann := Author("ann"), nursery)
        assert (room.version, [refusal.code for refusal in ann.refusals]) == (7, ["VERSION_TOO_OLD"])


async def test_a_room_further_behind_than_an_edit_may_be_takes_the_state(autojump_clock):
    async with cluster(CONFIG.with_(limits={"rebase_versions_max": 4})) as found:
        worker, room = await behind(found, *"abcdef")
        snapshot_at_head(found, orjson.dumps(EVENT))
        reader = room_reader(room)
        await worker.hub.catch_up.now(room)
        assert [(kind, told["current_version"]) for kind, told in reader.take()] == [("SYNC_RESPONSE", 7)]


async def left_behind_with_a_lost_end(found):
    """A worker far behind, and its room, whose newest change the log lost before others went on."""
    worker = await found.worker()
    room = await worker.open()
    worker.bus.post = lambda resource, payload: None
    await worker.commit(room, Author("ann"), [{"op": "add", "path": "/location", "value": "Room 4"}])
    found.history.lose_end(RESOURCE, room.version - 1)
    other = await found.worker()
    theirs = await other.open()
    for title in "abcdef":
        await other.commit(theirs, Author("bob"), titled(title))
    return worker, room


@pytest.mark.parametrize("has_snapshot", [False, True])
@pytest.mark.parametrize("changes_max", [4, 1000])
async def test_what_the_log_lost_comes_back_from_a_room_that_is_behind(
    autojump_clock, changes_max, has_snapshot
):
    async with cluster(CONFIG.with_(limits={"rebase_versions_max": changes_max})) as found:
        worker, room = await left_behind_with_a_lost_end(found)
        if has_snapshot:
            epoch, head = found.history.head(RESOURCE)
            now = Snapshot(head, orjson.dumps({**EVENT, "title": "f"}))
            found.history.save_snapshot(RESOURCE, epoch, now)
        await worker.hub.catch_up.now(room)
        assert (room.document["title"], room.document["location"]) == ("f", "Room 4")
        counters = worker.counters
        assert (counters.changes_rescued, counters.changes_lost, counters.states_unproven) == (1, 0, 0)


async def test_where_the_log_can_not_tell_what_a_room_had_that_is_counted_and_told(autojump_clock, caplog):
    async with cluster() as found:
        worker, room = await left_behind_with_a_lost_end(found)
        known = room.version
        trimmed(found)
        await worker.hub.catch_up.now(room)
        assert (room.document["title"], "location" in room.document) == ("f", False)
        counters = worker.counters
        assert (counters.changes_rescued, counters.changes_lost, counters.states_unproven) == (0, 0, 1)
        assert f"whether that has version {known} of here can't be told" in caplog.text


async def test_it_waits_for_the_append_under_way_whose_author_gets_the_acknowledgement(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found, "theirs")
        mine = room_reader(room)
        await caught_up_beside_an_append(worker, room, ann := Author("ann", mine), nursery)
        assert mine.kinds() == ["OP_BROADCAST", "OP_ACK"]
        assert (ann.versions, room.version) == ([3], 3)


async def test_changes_of_a_history_that_was_left_while_they_were_read_are_not_received(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found, *"abcdef")
        snapshot_at_head(found, b'{"title":"f"}')
        read, come = worker.log.read, trio.Event()

        async def late(*args):
            records = await read(*args)
            await come.wait()
            return records

        worker.log.read = late
        nursery.start_soon(worker.hub.catch_up.now, room)
        await quiet()
        theirs = await made_anew(found)
        await worker.hub.catch_up.now(room)
        assert (room.epoch, room.version) == (theirs.epoch, 1)
        come.set()
        await quiet()
        assert (room.epoch, room.version, room.document) == (theirs.epoch, 1, EVENT)


async def test_a_room_does_not_go_back_to_a_history_that_was_erased_after_it_was_read(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room = await behind(found)
        await made_anew(found)
        opened, asked, come = worker.log.open, list[str](), trio.Event()

        async def second_late(resource):
            opening = await opened(resource)
            asked.append(resource)
            if len(asked) == 2:
                await come.wait()
            return opening

        worker.log.open = second_late
        nursery.start_soon(worker.hub.catch_up.now, room)
        await quiet()
        theirs = await made_anew(found)
        await worker.hub.catch_up.now(room)
        assert (room.epoch, room.version) == (theirs.epoch, 1)
        come.set()
        await quiet()
        assert (room.epoch, room.version) == (theirs.epoch, 1)


async def test_soon_tries_until_the_log_answers(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a")
        worker.log.away = True
        worker.hub.catch_up.soon(RESOURCE)
        worker.hub.catch_up.soon(RESOURCE)
        await trio.sleep(2.5 * PAUSE_S)
        assert (room.version, worker.counters.log_errors) == (1, 3)
        worker.log.away = False
        await trio.sleep(PAUSE_S)
        assert room.version == 2


async def test_whoever_asks_whether_a_room_reached_the_head_is_told_at_once_that_the_log_is_away(
    autojump_clock,
):
    async with cluster() as found:
        worker, room = await behind(found, "a")
        worker.log.away = True
        began_s = trio.current_time()
        assert [await worker.hub.catch_up.reached(room) for _ in range(3)] == [False] * 3
        assert worker.counters.log_errors == 1  # it is asked for by what tries again alone
        assert await worker.hub.at_head(RESOURCE) is None
        assert trio.current_time() == began_s
        worker.log.away = False
        await trio.sleep(2 * PAUSE_S)
        assert room.version == 2
        assert await worker.hub.catch_up.reached(room)


async def test_a_damaged_room_that_is_open_counts_as_at_the_head(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a")
        worker.log.failing[RESOURCE] = LogDamaged(RESOURCE)
        assert await worker.hub.at_head(RESOURCE) is room
        assert await worker.hub.at_head(RESOURCE) is room
        assert room.version == 1


async def test_a_room_that_is_closed_while_it_is_brought_to_the_head_is_not_there(autojump_clock):
    async with workers(1) as [worker], trio.open_nursery() as nursery:
        await worker.open()
        answers = []

        async def ask():
            answers.append(await worker.hub.at_head(RESOURCE))

        worker.log.hold_opens()
        nursery.start_soon(ask)
        await trio.sleep(3 * CONFIG.timeouts.room_idle_s)
        worker.log.opens.set()
        await quiet()
        assert answers == [None]
        assert (await worker.hub.at_head(RESOURCE)).version == 1


async def test_what_is_announced_while_the_log_is_read_is_not_missed(autojump_clock):
    async with workers(2) as [worker, other]:
        room, theirs = await worker.open(), await other.open()
        post, worker.bus.post = worker.bus.post, lambda resource, payload: None  # one is lost on its way
        await other.commit(theirs, Author("bob"), titled("lost"))
        worker.bus.post = post
        worker.log.hold_opens()
        for title in ("tells of the loss", "comes while the log is read"):
            await other.commit(theirs, Author("bob"), titled(title))
            await quiet()
        worker.log.opens.set()
        await quiet()
        assert (room.version, room.document) == (theirs.version, theirs.document)


async def test_a_room_whose_catch_up_is_given_up_half_done_still_gets_what_it_missed(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a", "b")
        worker.log.hold_opens()
        with trio.move_on_after(1):
            await worker.hub.catch_up.now(room)
        worker.log.opens.set()
        await quiet()
        assert room.document["title"] == "b"


async def test_a_room_whose_catch_up_the_log_left_half_done_still_gets_what_it_missed(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a", "b")
        worker.log.away = True
        with pytest.raises(LogUnavailable):
            await worker.hub.catch_up.now(room)
        worker.log.away = False
        await trio.sleep(2 * PAUSE_S)
        assert room.document["title"] == "b"


async def test_a_damaged_resource_is_not_asked_for_again_and_again(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a")
        room_reader(room)
        worker.log.opened.clear()
        worker.log.failing[RESOURCE] = LogDamaged(RESOURCE)
        with pytest.raises(LogDamaged):
            await worker.hub.catch_up.now(room)
        worker.hub.catch_up.soon(RESOURCE)
        await trio.sleep(600)
        assert worker.log.opened == [RESOURCE, RESOURCE]


async def test_an_edit_of_what_the_log_holds_no_more_and_cannot_open_is_refused(autojump_clock, caplog):
    async with one_room() as (worker, room):
        worker.log.away = True
        worker.log.appends.clear()
        worker.log.answers.append([Absent()])
        await worker.commit(room, ann := Author("ann"), titled("a"))
        [refusal] = ann.refusals
        assert (refusal.code, refusal.details["outcome"]) == ("UNAVAILABLE", "none")
        assert refusal.details["retry_after_ms"] > 0
        assert (refusal.details["resource_id"], len(worker.log.appends)) == (room.id, 1)
        assert "a call of the log failed: away" in caplog.messages
        worker.log.away = False
        await worker.commit(room, ann, titled("a"))
        assert ann.versions == [2]


async def test_now_says_that_the_log_is_away(autojump_clock):
    async with cluster() as found:
        worker, room = await behind(found, "a")
        worker.log.away = True
        with pytest.raises(LogUnavailable):
            await worker.hub.catch_up.now(room)


async def test_changes_come_from_the_log_and_from_the_window_without_a_seam(autojump_clock):
    async with one_room() as (worker, room):
        for title in "abcdef":
            await worker.commit(room, Author("ann"), titled(title))
        room.trim(2, 1 << 30)
        bodies = [body async for body in worker.hub.catch_up.bodies_after(room, 2)]
        entries = [entry async for entry in worker.hub.catch_up.entries_after(room, 2)]
        assert [entry.record.version for entry in entries] == [3, 4, 5, 6, 7]
        assert [entry.record.body for entry in entries] == list(bodies)
        assert [entry.before["title"] for entry in entries] == list("abcde")
        assert [body async for body in worker.hub.catch_up.bodies_after(room, 7)] == []


async def test_a_patch_on_a_base_that_left_the_window_is_carried_up_to_the_head(autojump_clock):
    async with one_room() as (worker, room):
        for word in ("x", "y", "z"):
            patch = [{"op": "text", "path": "/description", "value": [word]}]
            await worker.commit(room, Author("ann"), patch)
        room.trim(1, 1 << 30)
        patch = [{"op": "text", "path": "/description", "value": [3, "!"]}]
        lowered = await worker.hub.catch_up.lower_at(room, 1, patch, ot.budget())
        assert lowered.base == room.version == 4
        assert lowered.began.document["description"] == "abc"
        assert [orjson.loads(body)["version"] for body in lowered.began.bodies] == [2, 3, 4]
        after = ot.apply(room.document, lowered.operations)
        assert after["description"] == "zyxabc!"


async def test_a_base_that_the_log_has_no_more_is_too_old(autojump_clock):
    async with one_room() as (worker, room):
        await worker.commit(room, Author("ann"), titled("a"))
        room.trim(0, 0)

        async def trimmed(resource, version):
            raise LogTrimmed(resource, 1)

        worker.log.snapshot = trimmed
        with pytest.raises(Refusal) as caught:
            await worker.hub.catch_up.lower_at(room, 1, titled("b"), ot.budget())
        assert (caught.value.code, caught.value.details["version"]) == ("VERSION_TOO_OLD", 2)


async def test_a_clients_submissions_are_learned_with_what_came_meanwhile(autojump_clock):
    async with cluster() as found:
        first = await found.worker()
        room = await first.open()
        who = Author("ann")
        first.submit(room, who, titled("a"))
        await first.hub.idle()
        second = await found.worker()
        again = await second.hub.open(RESOURCE)
        assert again.history.memory_of("ann", "ann-client") is None
        await second.hub.catch_up.recall(again, "ann", "ann-client")
        assert again.history.memory_of("ann", "ann-client") == {}, "she sent no seq"


async def test_a_room_that_is_opened_anew_knows_resends_for_as_long_as_is_set(autojump_clock):
    async with cluster(CONFIG.with_(log={"seq_kept_h": 1.0})) as found:
        worker = await found.worker()
        room = await worker.open()
        worker.submit(room, Author("ann"), titled("a"), seq=1)
        await worker.hub.idle()
        for later_ms, knows in ((3_599_000, True), (3_601_000, False)):
            other = await found.worker()
            other.ahead_ms = later_ms
            theirs = await other.open()
            await other.hub.catch_up.recall(theirs, "ann", "ann-client")
            assert (theirs.history.submitted("ann", "ann-client", 1) is not None) == knows


def test_resends_are_known_for_a_day():
    assert Config().log.submitted_since_ms(START_MS) == START_MS - 24 * 3_600_000


async def test_a_room_whose_newest_change_is_damaged_in_the_log_goes_on_past_it(autojump_clock, monkeypatch):
    async with cluster() as found:
        worker, room = await behind(found, *"abcdef")
        snapshot_at_head(found, orjson.dumps({**EVENT, "title": "f"}))
        had, read = room.version, worker.log.read

        async def damaged(resource, after, limit):
            if after < had:
                raise LogDamaged(f"change {had} of {resource}")
            return await read(resource, after, limit)

        monkeypatch.setattr(worker.log, "read", damaged)
        await worker.hub.catch_up.now(room)
        assert (room.version, room.document["title"]) == (7, "f")
