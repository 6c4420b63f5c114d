"""Group commit: what goes together, and what follows from the log's answer."""

from __future__ import annotations

import pytest
import trio.testing

from gateway.errors import LogUnavailable
from gateway.ports import Absent, Failed, Forked, Pacing
from gateway.rooms.room import BATCH_CHANGES_MAX
from tests.hub.parts import cluster, quiet, workers
from tests.rooms.parts import CONFIG, Author, titled


async def test_an_idle_room_commits_one_edit_at_once(autojump_clock):
    async with workers(1) as [worker]:
        room, ann = await worker.open(), Author("ann")
        await worker.commit(room, ann, titled("a"))
        assert (ann.versions, room.version) == ([2], 2)
        assert [len(batch.records) for batch in worker.log.appends[-1]] == [1]


async def test_edits_that_come_while_an_append_is_under_way_are_the_next_batch(autojump_clock):
    async with workers(1) as [worker]:
        room, ann = await worker.open(), Author("ann")
        worker.log.appends.clear()
        worker.log.hold()
        for number in range(4):
            worker.submit(room, ann, titled(f"{number}"))
            await quiet()
        worker.log.go.set()
        await worker.hub.idle()
        assert [len(batch.records) for [batch] in worker.log.appends] == [1, 3]
        assert ann.versions == [2, 3, 4, 5]


async def test_rooms_share_a_round_trip_up_to_a_bound(autojump_clock):
    async with workers(1) as [worker]:
        bound = worker.log.pacing.changes
        many = bound // BATCH_CHANGES_MAX + 2
        rooms = [await worker.open(f"event:{number}") for number in range(many)]
        worker.log.appends.clear()
        ann = Author("ann")
        for room in rooms:
            for number in range(BATCH_CHANGES_MAX):
                worker.submit(room, ann, titled(f"{number}"))
        await worker.hub.idle()
        first = worker.log.appends[0]
        assert sum(len(batch.records) for batch in first) >= bound
        assert len(first) < many
        assert len(ann.versions) == many * BATCH_CHANGES_MAX


async def test_appends_overlap_as_far_as_the_log_says(autojump_clock):
    async with cluster() as found:
        worker = await found.worker(Pacing(at_once=2, changes=2))
        rooms = [await worker.open(f"event:{number}") for number in range(5)]
        worker.log.appends.clear()
        worker.log.hold()
        ann = Author("ann")
        for number in range(2):
            for room in rooms:
                worker.submit(room, ann, titled(f"{number}"))
                await quiet()
        appended = [[batch.resource for batch in batches] for batches in worker.log.appends]
        assert appended == [["event:0"], ["event:1"]]  # the first ones came alone
        worker.log.go.set()
        await worker.hub.idle()
        assert [room.document["title"] for room in rooms] == ["1"] * 5
        assert sorted(ann.versions) == [2] * 5 + [3] * 5
        assert max(len(batches) for batches in worker.log.appends) == 2  # of a change or two each


@pytest.mark.parametrize("moves_cursors", [False, True])
@pytest.mark.parametrize(("documents", "append_interval_s"), [(20, 0.040), (200, 0.010)])
async def test_slow_appends_wait_where_edits_of_one_document_go_together(
    autojump_clock, documents, append_interval_s, moves_cursors
):
    """1,000 edits a second to a log whose appends take 10 ms, four of which are waited for at the most.

    A cursor that moves before each of them is no change.
    """
    async with cluster() as found:
        worker = await found.worker(Pacing(0.010, appends=4))
        rooms = [await worker.open(f"event:{number}") for number in range(documents)]
        append = worker.log.append

        async def slow(batches):
            await trio.sleep(0.010)
            return await append(batches)

        worker.log.append = slow
        ann = Author("ann")
        for number in range(3000):
            if number == 1000:
                worker.log.appends.clear()
            room = rooms[number % documents]
            if moves_cursors:
                room.stamp_ms()
            worker.submit(room, ann, titled(f"{number}"))
            await trio.sleep(0.001)
        assert 2.0 / len(worker.log.appends) == pytest.approx(append_interval_s, rel=0.15)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(LogUnavailable("away", "none"), "none"), (RuntimeError("a bug"), "unknown")],
)
async def test_a_log_that_raises_refuses_the_batch_with_what_is_known_of_it(autojump_clock, error, outcome):
    async with workers(1) as [worker]:
        room, ann = await worker.open(), Author("ann")
        worker.log.answers = [error]
        await worker.commit(room, ann, titled("a"))
        [refusal] = ann.refusals
        assert (refusal.code, refusal.details["outcome"]) == ("UNAVAILABLE", outcome)
        assert worker.counters.internal_errors == (outcome == "unknown")
        await worker.commit(room, ann, titled("b"))
        assert ann.versions == [2]


async def test_what_became_of_a_batch_without_an_answer_is_looked_up(autojump_clock):
    async with workers(2) as [worker, other]:
        room, ann = await worker.open(), Author("ann")
        theirs = await other.open()
        worker.bus.post = lambda resource, payload: None  # announcements don't come
        await other.commit(theirs, Author("bob"), titled("theirs"))
        worker.log.answers = [[Failed("no answer", "unknown", 100)]]
        await worker.commit(room, ann, titled("a"))
        await quiet()
        assert room.document["title"] == "theirs"


@pytest.mark.parametrize("outcome", [Absent(), Forked(0)])
async def test_a_history_that_is_not_the_logs_is_replaced_before_the_next_append(autojump_clock, outcome):
    async with workers(2) as [worker, other]:
        room, ann = await worker.open(), Author("ann")
        theirs = await other.open()
        worker.bus.post = lambda resource, payload: None
        await other.commit(theirs, Author("bob"), titled("theirs"))
        worker.log.answers = [[outcome]]
        await worker.commit(room, ann, titled("a"))
        assert room.version == 2 + len(ann.versions)
        await worker.commit(room, ann, titled("b"))
        assert (room.document["title"], ann.versions[-1]) == ("b", room.version)


async def test_idle_waits_for_what_is_on_its_way(autojump_clock):
    async with workers(1) as [worker], trio.open_nursery() as nursery:
        room, done = await worker.open(), trio.Event()

        async def wait() -> None:
            await worker.hub.idle()
            done.set()

        worker.log.hold()
        worker.submit(room, Author("ann"), titled("a"))
        nursery.start_soon(wait)
        await quiet()
        assert worker.hub.busy and not done.is_set()
        worker.log.go.set()
        await quiet()
        assert done.is_set()


async def test_edits_wait_while_a_lane_gathers(autojump_clock):
    async with cluster() as found:
        worker = await found.worker(Pacing(0.050))
        rooms = [await worker.open(f"event:{number}") for number in range(20)]
        ann = Author("ann")
        await trio.sleep(1)
        await worker.commit(rooms[0], ann, titled("alone"))
        assert worker.hub.edits_wait_s() == 0, "few came, so the next one is committed at once"
        for room in rooms:
            worker.submit(room, ann, titled("a"))
        await worker.hub.idle()
        wait_s = worker.hub.edits_wait_s()
        assert wait_s == pytest.approx(0.050)
        worker.submit(rooms[0], ann, titled("b"))
        await trio.sleep(wait_s - 0.001)
        assert rooms[0].document["title"] == "a"
        await trio.sleep(0.002)
        assert rooms[0].document["title"] == "b"


async def test_edits_that_fill_an_append_before_its_time_do_not_wait_for_it(autojump_clock):
    async with cluster() as found:
        worker = await found.worker(Pacing(0.050, full=3))
        for _ in range(3):
            for number in range(20):
                worker.submit(await worker.open(f"event:{number}"), Author("ann"), titled("a"))
            await worker.hub.idle()
            assert worker.hub.edits_wait_s() == 0


async def test_who_has_a_lane_that_does_not_gather_waits_for_none(autojump_clock):
    async with cluster() as found:
        worker = await found.worker(Pacing(0.050))
        worker.log.lane = lambda resource: int(resource.endswith("elsewhere"))
        rooms = [await worker.open(f"event:{number}") for number in range(20)]
        await trio.sleep(1)
        for room in rooms:
            worker.submit(room, Author("ann"), titled("a"))
        await worker.hub.idle()
        assert worker.hub.edits_wait_s() == pytest.approx(0.050)
        await worker.open("event:elsewhere")
        assert worker.hub.edits_wait_s() == 0


async def test_a_room_whose_lane_becomes_another_one_is_appended_there(autojump_clock):
    """As when a server is added: lanes are numbered by their servers."""
    async with cluster() as found:
        worker = await found.worker(Pacing(0.050))
        room, ann = await worker.open(), Author("ann")
        await worker.commit(room, ann, titled("a"))
        before = worker.hub._committer.lanes.of(room)
        worker.log.lane = lambda resource: 1
        assert worker.hub._committer.lanes.of(room) is not before
        await worker.commit(room, ann, titled("b"))
        assert room.document["title"] == "b"


async def test_bounds_that_a_running_node_takes_are_those_of_its_own_appends(autojump_clock):
    config = CONFIG.with_(limits={"window_versions_max": 20}, log={"snapshot_versions": 100})
    async with workers(1, config) as [worker]:
        room, ann = await worker.open(), Author("ann")
        for number in range(9):
            await worker.commit(room, ann, titled(f"{number}"))
        assert len(room.history.window) == room.version
        config.limits.take("window_versions_max", 3)
        config.log.take("snapshot_versions", 2)
        for number in range(2):
            await worker.commit(room, ann, titled(f"more {number}"))
        assert len(room.history.window) == 3
        assert room.history.snapshot_version == 11
