"""Bases that left the window: rebuilt from the log once, shared, bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway import ot
from gateway.errors import LogDamaged, Refusal
from gateway.hub.catch_up import Lowered
from gateway.ports import Record, Snapshot
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from tests.doubles.log import MemoryLog
from tests.hub.parts import Cluster, Worker, cluster, one_room
from tests.rooms.parts import CONFIG, RESOURCE, Author, Reader, titled

HEAD = 150
MINE = [{"op": "text", "path": "/description", "value": [3, "!"]}]


class Asked:
    """What a worker's log was asked for, by the first version that is wanted."""

    def __init__(self, worker: Worker) -> None:
        self.snapshots: list[int] = []
        self.reads: list[int] = []
        self.go = trio.Event()
        self.go.set()
        self.held: trio.Event | None = None  # reads wait for it
        self._log = worker.log
        worker.log.snapshot = self.snapshot  # type: ignore[method-assign]
        worker.log.read = self.read  # type: ignore[method-assign]

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        self.snapshots.append(version)
        await self.go.wait()
        return await MemoryLog.snapshot(self._log, resource, version)

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        self.reads.append(after)
        if self.held is not None:
            await self.held.wait()
        return await MemoryLog.read(self._log, resource, after, limit)


async def long_ago(found: Cluster) -> tuple[Worker, Room, Asked]:
    """A worker, a room whose window has only its last ten changes, and what its log is asked from now on."""
    worker = await found.worker()
    room = await worker.open()
    for version in range(2, HEAD + 1):
        await worker.commit(room, Author("ann"), titled(str(version)))
    room.trim(10, 1 << 30)
    return worker, room, Asked(worker)


async def lowered(worker: Worker, room: Room, base: int) -> ot.Operations:
    """An edit's operations, on the head."""
    found = await worker.hub.catch_up.lower_at(room, base, MINE, ot.budget())
    assert found.base == room.version
    assert found.began.document["title"] == (str(base) if base > 1 else "T")
    assert len(found.began.window) == room.version - base
    return found.operations


def submit(room: Room, author: Author, client_id: str, patch: ot.Patch, lowered: Lowered) -> None:
    """Hand over an edit of bob's that was brought near."""
    submission = Submission(author, "bob", client_id, "op", lowered.base, patch, lowered.operations, 0.0, 10)
    submission.began = lowered.began
    room.submit(submission)


async def test_the_next_edit_that_is_as_far_behind_asks_the_log_nothing(autojump_clock):
    async with cluster() as found:
        worker, room, asked = await long_ago(found)
        await lowered(worker, room, 20)
        assert (asked.snapshots, worker.counters.bases_rebuilt) == ([20], 1)
        asked.reads.clear()
        for base in (20, 21, 100, HEAD - 11):
            await lowered(worker, room, base)
        assert (len(asked.snapshots), asked.reads) == (1, [])


async def test_what_came_since_is_taken_from_the_window_or_read_where_it_left_that_too(autojump_clock):
    async with cluster() as found:
        worker, room, asked = await long_ago(found)
        await lowered(worker, room, 20)
        asked.reads.clear()
        await worker.commit(room, Author("ann"), titled("more"))
        await lowered(worker, room, 20)
        assert asked.reads == []
        for title in "abc":
            await worker.commit(room, Author("ann"), titled(title))
        room.trim(1, 1 << 30)
        await lowered(worker, room, 20)
        assert (len(asked.snapshots), asked.reads) == (1, [HEAD + 1])


async def test_an_edit_from_far_behind_is_told_what_it_overwrote(autojump_clock):
    async with cluster() as found:
        worker, room, _ = await long_ago(found)
        reader = Reader()
        room.add(reader, True)
        bob = Author("bob", reader)
        for number, base in enumerate((20, HEAD - 11)):
            patch = titled(f"mine {number}")
            lowered = await worker.hub.catch_up.lower_at(room, base, patch, ot.budget())
            submit(room, bob, f"bob-{number}", patch, lowered)
            await worker.hub.idle()
            [(kind, payload)] = reader.take()
            [conflict] = payload["conflicts"]
            told = (kind, conflict["base"], conflict["theirs"], conflict["version"], conflict["user_id"])
            theirs = ("mine 0", "bob") if number else (str(HEAD), "ann")
            assert told == ("OP_ACK", str(base), theirs[0], HEAD + number, theirs[1])


async def test_who_came_last_is_named_of_an_edit_from_far_behind_and_of_one_appended_with_it(autojump_clock):
    async with cluster() as found:
        worker, room, _ = await long_ago(found)
        reader = Reader()
        room.add(reader, True)
        bob = Author("bob", reader)
        patch = titled("mine")
        lowered = await worker.hub.catch_up.lower_at(room, 20, patch, ot.budget())
        await worker.commit(room, Author("eve"), titled("newer"))
        reader.take()
        submit(room, bob, "bob-1", patch, lowered)
        operations = ot.lower(room.document, titled("with it"))
        room.submit(
            Submission(bob, "bob", "bob-2", "op", room.version, titled("with it"), operations, 0.0, 10)
        )
        await worker.hub.idle()
        conflicts = [payload["conflicts"] for kind, payload in reader.take() if kind == "OP_ACK"]
        named = [(one["theirs"], one["version"], one["user_id"]) for (one,) in conflicts]
        assert named == [("newer", HEAD + 1, "eve"), ("mine", HEAD + 2, "bob")]
        assert all(one["timestamp"] > 0 for (one,) in conflicts)


async def test_what_an_edit_from_far_behind_overwrote_is_told_though_the_past_was_cut(autojump_clock):
    async with one_room() as (worker, room):
        for version in range(2, HEAD + 1):
            theirs = [{"op": "add", "path": "/location", "value": "there"}]
            who, patch = ("eve", theirs) if version == 50 else ("ann", titled(str(version)))
            await worker.commit(room, Author(who), patch)
        room.trim(10, 1 << 30)
        reader = Reader()
        room.add(reader, True)
        patch = [{"op": "add", "path": "/location", "value": "here"}]
        lowered = await worker.hub.catch_up.lower_at(room, 20, patch, ot.budget())
        (await worker.hub.catch_up.pasts.after(room, 20)).drop_before(128)
        submit(room, Author("bob", reader), "bob-1", patch, lowered)
        await worker.hub.idle()
        [(_, payload)] = reader.take()
        [conflict] = payload["conflicts"]
        assert (conflict["theirs"], conflict["version"], conflict["user_id"]) == ("there", 50, "eve")


async def test_how_far_behind_an_edit_may_be_is_what_the_limit_is_now(autojump_clock):
    config = CONFIG.copied()
    async with cluster(config) as found:
        worker, room, _ = await long_ago(found)
        await lowered(worker, room, 20)
        pasts = worker.hub.catch_up.pasts
        pasts.bound()
        assert (await pasts.after(room, 20)).start <= 20
        config.limits.take("rebase_versions_max", 22)
        pasts.bound()
        assert (await pasts.after(room, HEAD - 20)).start == 128


async def test_what_is_known_of_long_ago_is_read_on_though_the_head_is_far_beyond_it(autojump_clock):
    config = CONFIG.copied()
    config.limits.take("rebase_versions_max", 22)
    async with cluster(config) as found:
        worker, room, asked = await long_ago(found)
        pasts = worker.hub.catch_up.pasts
        await lowered(worker, room, HEAD - 20)
        for version in range(HEAD + 1, 2 * HEAD + 1):
            await worker.commit(room, Author("ann"), titled(str(version)))
        room.trim(10, 1 << 30)
        asked.snapshots.clear()
        pasts.bound()
        for base in range(2 * HEAD - 20, 2 * HEAD - 10):
            await lowered(worker, room, base)
        assert asked.snapshots == [], "it was read on"


async def test_a_past_may_become_too_old_while_it_is_read_on(autojump_clock):
    config = CONFIG.copied()
    config.limits.take("rebase_versions_max", 70)
    async with cluster(config) as found, trio.open_nursery() as nursery:
        worker, room, asked = await long_ago(found)
        await lowered(worker, room, HEAD - 20)
        for version in range(HEAD + 1, HEAD + 61):
            await worker.commit(room, Author("ann"), titled(str(version)))
        room.trim(10, 1 << 30)
        asked.held = held = trio.Event()
        nursery.start_soon(lowered, worker, room, HEAD + 45)
        await wait_all_tasks_blocked()
        config.limits.take("rebase_versions_max", 1)
        worker.hub.catch_up.pasts.bound()
        asked.held = None
        held.set()


def cut(found: Cluster, upto: int) -> None:
    """Old history goes, as far as a version."""
    document = f'{{"title":"{upto}","description":"abc","tags":[]}}'
    found.history.trim(RESOURCE, Snapshot(upto, document.encode()))


async def test_an_edit_on_a_version_that_is_kept_is_merged_though_older_ones_go_while_it_is_read(
    autojump_clock,
):
    async with cluster() as found:
        worker, room, asked = await long_ago(found)

        async def cut_behind(resource: str, version: int) -> Snapshot:
            snapshot = await asked.snapshot(resource, version)
            cut(found, max(asked.snapshots) - 10)
            return snapshot

        worker.log.snapshot = cut_behind  # type: ignore[method-assign]
        await lowered(worker, room, 70)
        with pytest.raises(Refusal) as caught:
            await worker.hub.catch_up.lower_at(room, 20, MINE, ot.budget())
        assert caught.value.code == "VERSION_TOO_OLD"


async def test_an_edit_on_a_version_that_is_kept_is_merged_though_what_follows_the_known_past_went(
    autojump_clock,
):
    async with cluster() as found:
        worker, room, _ = await long_ago(found)
        await lowered(worker, room, 20)
        for version in range(HEAD + 1, 2 * HEAD + 1):
            await worker.commit(room, Author("ann"), titled(str(version)))
        room.trim(10, 1 << 30)
        cut(found, 2 * HEAD - 50)
        await lowered(worker, room, 2 * HEAD - 40)


async def test_what_was_read_and_does_not_fit_is_damage_of_the_log_and_no_fault_of_an_edit(autojump_clock):
    async with cluster() as found:
        worker, room, _ = await long_ago(found)
        found.history.save_snapshot(RESOURCE, room.epoch, Snapshot(15, b"null"))
        with pytest.raises(LogDamaged, match="version 16 of event:1 isn't what was written"):
            await worker.hub.catch_up.lower_at(room, 20, MINE, ot.budget())


async def test_edits_that_come_together_share_one_rebuilding(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room, asked = await long_ago(found)
        asked.go = trio.Event()
        for _ in range(5):
            nursery.start_soon(lowered, worker, room, 20)
        await trio.sleep(1)
        asked.go.set()
        await trio.sleep(1)
        assert (asked.snapshots, worker.counters.bases_rebuilt) == ([20], 1)


async def test_a_room_that_moved_on_meanwhile_is_read_on_not_anew(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room, asked = await long_ago(found)
        done = trio.Event()

        async def edit() -> None:
            await lowered(worker, room, 20)
            done.set()

        asked.held = trio.Event()
        nursery.start_soon(edit)
        await wait_all_tasks_blocked()
        upto, held = room.history.start, asked.held
        assert len(asked.reads) == 1, "it is being built"
        for title in "abcdef":
            await worker.commit(room, Author("ann"), titled(title))
        room.trim(2, 1 << 30)
        assert room.history.start > upto, "the window moved on"
        asked.held = None
        held.set()
        await done.wait()
        assert (asked.snapshots, worker.counters.bases_rebuilt) == ([20], 1)
        assert asked.reads == sorted(set(asked.reads)), "each change was read once"
        assert upto in asked.reads


async def test_who_is_known_does_not_wait_for_a_rebuilding(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room, asked = await long_ago(found)
        await lowered(worker, room, 100)
        asked.go = trio.Event()
        nursery.start_soon(lowered, worker, room, 20)
        await trio.sleep(1)
        await lowered(worker, room, 120)
        asked.go.set()


async def test_who_is_further_behind_reads_only_what_came_before(autojump_clock):
    async with cluster() as found:
        worker, room, asked = await long_ago(found)
        epoch, _ = found.history.head(RESOURCE)
        for version in (30, 90):
            document = f'{{"title":"{version}","description":"abc","tags":[]}}'
            found.history.save_snapshot(RESOURCE, epoch, Snapshot(version, document.encode()))
        await lowered(worker, room, 100)
        asked.reads.clear()
        await lowered(worker, room, 40)
        assert asked.snapshots == [100, 40]
        assert asked.reads[0] == 30
        assert max(asked.reads) < 90
        await lowered(worker, room, 100)
        assert len(asked.snapshots) == 2


async def test_what_was_used_least_lately_goes_first(autojump_clock):
    config = CONFIG.with_(limits={"pasts_bytes_max": 1 << 20})
    async with cluster(config) as found:
        worker, room, asked = await long_ago(found)
        other = await worker.open("event:2")
        for version in range(2, HEAD + 1):
            await worker.commit(other, Author("ann"), titled(str(version) + "x" * 3100))
        other.trim(10, 1 << 30)
        await worker.hub.catch_up.lower_at(other, 20, MINE, ot.budget())
        await lowered(worker, room, 20)
        worker.hub.catch_up.pasts.bound()
        assert worker.counters.past_bytes < 1 << 20
        asked.snapshots.clear()
        await lowered(worker, room, 20)
        assert asked.snapshots == []
        await worker.hub.catch_up.lower_at(other, 20, MINE, ot.budget())
        assert asked.snapshots == [20]


async def test_what_is_more_than_may_be_kept_is_too_old(autojump_clock):
    config = CONFIG.with_(limits={"pasts_bytes_max": 1 << 20})
    async with cluster(config) as found:
        worker, room, _ = await long_ago(found)
        for version in range(HEAD + 1, 2 * HEAD):
            await worker.commit(room, Author("ann"), titled(str(version) + "x" * 5000))
        room.trim(10, 1 << 30)
        with pytest.raises(Refusal, match="too much to merge") as caught:
            await worker.hub.catch_up.lower_at(room, 20, MINE, ot.budget())
        assert caught.value.code == "VERSION_TOO_OLD"
        await worker.hub.catch_up.lower_at(room, 2 * HEAD - 30, MINE, ot.budget())


async def test_another_history_needs_another_past(autojump_clock):
    async with cluster() as found:
        worker, room, asked = await long_ago(found)
        await lowered(worker, room, 20)
        await worker.hub.purge(RESOURCE)
        await worker.open()
        for version in range(room.version + 1, 40):
            await worker.commit(room, Author("ann"), titled(str(version)))
        room.trim(5, 1 << 30)
        asked.snapshots.clear()
        document = (await worker.hub.catch_up.lower_at(room, 25, MINE, ot.budget())).began.document
        assert (document["title"], asked.snapshots) == ("25", [25])


async def test_what_was_read_of_a_history_that_is_replaced_meanwhile_is_none_of_the_next(autojump_clock):
    async with cluster() as found, trio.open_nursery() as nursery:
        worker, room, asked = await long_ago(found)
        former = Snapshot(20, b'{"title":"20","description":"","tags":[]}')
        found.history.save_snapshot(RESOURCE, room.epoch, former)
        refusals, go = [], trio.Event()

        async def late(resource: str, version: int) -> Snapshot:
            snapshot = await asked.snapshot(resource, version)
            await go.wait()
            return snapshot

        async def edit() -> None:
            with pytest.raises(Refusal) as caught:
                await worker.hub.catch_up.lower_at(room, 20, MINE, ot.budget())
            refusals.append(caught.value.code)

        worker.log.snapshot = late  # type: ignore[method-assign]
        nursery.start_soon(edit)
        await wait_all_tasks_blocked()
        await worker.hub.purge(RESOURCE)
        await worker.open()
        for version in range(room.version + 1, 40):
            await worker.commit(room, Author("ann"), MINE if version == 30 else titled(str(version)))
        room.trim(5, 1 << 30)
        go.set()
        await wait_all_tasks_blocked()
        assert refusals == ["VERSION_TOO_OLD"]
        document = (await worker.hub.catch_up.lower_at(room, 25, MINE, ot.budget())).began.document
        assert document == {"title": "25", "description": "abc", "tags": []}


async def test_an_edit_whose_way_left_it_too_little_is_sent_again_on_the_head(autojump_clock):
    patch = [{"op": "add", "path": "/tags/0", "value": "x"}] * 100
    async with cluster() as found:
        worker, room, _ = await long_ago(found)
        budget = ot.budget()
        lowered = await worker.hub.catch_up.lower_at(room, 20, patch, budget)
        bob = Author("bob")
        submission = Submission(bob, "bob", "c", "op", lowered.base, patch, lowered.operations, 0.0, 10)
        submission.began, submission.units, submission.merged = lowered.began, 1_000, budget.merged
        room.submit(submission)
        await worker.hub.idle()
        assert [refusal.code for refusal in bob.refusals] == ["CONFLICT"]


async def test_an_idle_room_keeps_no_past(autojump_clock):
    async with cluster() as found:
        worker, room, _ = await long_ago(found)
        with room.watched(lambda: None):
            await lowered(worker, room, 20)
            worker.hub.catch_up.pasts.bound()
            assert worker.counters.past_bytes > 0
            await trio.sleep(CONFIG.timeouts.room_idle_s + 2)
            assert worker.counters.past_bytes == 0
