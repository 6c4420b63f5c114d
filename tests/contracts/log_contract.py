"""What every adapter of the port `OpLog` does. A test module subclasses `LogContract` and makes one.

class TestMemoryLog(LogContract):
    @asynccontextmanager
    async def log(self):
        yield MemoryLog()
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from itertools import count

import orjson
import trio

from gateway.ports import (
    Batch,
    ClientKey,
    Committed,
    Duplicates,
    Failed,
    Forked,
    Opening,
    OpLog,
    Outcome,
    OwnChange,
    Record,
    Snapshot,
    Stale,
    Submitted,
)

ROOM = "event:42"
NOW_MS = 1_790_000_000_000
_nonces = count(1)


def nonce() -> str:
    return f"nonce-{next(_nonces)}"


def record(
    version: int,
    *,
    user: str = "ann",
    client: str = "tab-1",
    seq: int | None = None,
    value: object = "x",
    timestamp: int = NOW_MS,
    undoes: int | None = None,
) -> Record:
    """A change that sets the title; odd white space in its body shows whether bytes are kept."""
    fields = {"op_id": "o", "user_id": user, "client_id": client, "timestamp": timestamp}
    fields |= {name: told for name, told in (("seq", seq), ("undoes", undoes)) if told is not None}
    operations, others = orjson.dumps([{"value": value}]), orjson.dumps(fields)[1:]
    body = b'{"version": %d,  "operations" : %s,%s' % (version, operations, others)
    return Record(version, body, user, client, seq, f"digest of {value!r}", timestamp, undoes)


def batch(opening: Opening | Batch, *records: Record, base: int | None = None, resource: str = ROOM) -> Batch:
    """A batch that continues an opening (or a batch before it) with these records, or with one."""
    if isinstance(opening, Batch):
        resource, head = opening.resource, opening.base + len(opening.records)
    else:
        head = opening.version
    base = head if base is None else base
    return Batch(resource, opening.epoch, base, nonce(), records or (record(base + 1),))


def filled(opening: Opening, number: int, resource: str = ROOM) -> Batch:
    """A batch of `number` changes of one client, without seq."""
    return batch(opening, *(record(version) for version in range(1, number + 1)), resource=resource)


async def append(log: OpLog, *batches: Batch) -> Sequence[Outcome]:
    """The outcomes in order, whatever the lanes are."""
    outcomes: dict[int, Outcome] = {}
    for lane in {log.lane(item.resource) for item in batches}:
        places = [place for place, item in enumerate(batches) if log.lane(item.resource) == lane]
        found = await log.append([batches[place] for place in places])
        outcomes.update(zip(places, found, strict=True))
    return [outcomes[place] for place in range(len(batches))]


async def committed(log: OpLog, *batches: Batch) -> None:
    assert await append(log, *batches) == [Committed()] * len(batches)


async def history(log: OpLog, resource: str = ROOM) -> list[Record]:
    """All records of a resource, read in steps of 7."""
    records: list[Record] = []
    while step := await log.read(resource, len(records), 7):
        records += step
    return records


class LogContract:
    """See the module's docstring. `log` gives a fresh, empty log."""

    def log(self) -> AbstractAsyncContextManager[OpLog]:
        raise NotImplementedError

    # ------------------------------------------------------------------------------ opening, reading

    async def test_a_resource_that_was_never_written_has_version_0_and_the_standing_epoch(self) -> None:
        async with self.log() as log:
            opening = await log.open(ROOM)
            assert opening.snapshot == Snapshot(0, b"null")
            assert list(opening.records) == []
            assert opening.epoch > 0
            assert (await log.open(ROOM)).epoch == opening.epoch
            assert list(await log.read(ROOM, 0, 10)) == []
            assert await log.snapshot(ROOM, 5) == Snapshot(0, b"null")

    async def test_what_is_appended_is_read_again_byte_for_byte(self) -> None:
        async with self.log() as log:
            values = [
                "plain",
                'quote " backslash \\ slash / new\nline',
                "naïve 日本 😀 \u2028",
                "\x00\x7f",
                -0.0,
                1e300,
            ]
            records = [
                record(n, seq=n, value=value, undoes=n - 1 or None) for n, value in enumerate(values, 1)
            ]
            await committed(log, batch(await log.open(ROOM), *records))
            assert list((await log.open(ROOM)).records) == records
            assert list(await log.read(ROOM, 0, 100)) == records

    async def test_a_big_body_is_kept(self) -> None:
        async with self.log() as log:
            big = record(1, value="x" * (1 << 20))
            await committed(log, batch(await log.open(ROOM), big, record(2)))
            assert list(await log.read(ROOM, 0, 2)) == [big, record(2)]

    async def test_resources_with_odd_names_are_kept_apart(self) -> None:
        async with self.log() as log:
            names = [
                "event:é",
                "event:e\u0301",
                "event:日本:{p1}",
                "event:'; --",
                'event:"\\',
                "event:a b",
                "EVENT:a b",
            ]
            for n, name in enumerate(names):
                await committed(log, batch(await log.open(name), record(1, value=n), resource=name))
            for n, name in enumerate(names):
                assert list((await log.open(name)).records) == [record(1, value=n)]

    async def test_read_gives_at_most_limit_records_after_a_version(self) -> None:
        async with self.log() as log:
            await committed(log, filled(await log.open(ROOM), 20))
            assert [found.version for found in await log.read(ROOM, 5, 3)] == [6, 7, 8]
            assert [found.version for found in await log.read(ROOM, 18, 10)] == [19, 20]
            assert list(await log.read(ROOM, 20, 10)) == []
            assert list(await log.read(ROOM, 25, 10)) == []
            assert list(await log.read(ROOM, 3, 0)) == []

    async def test_a_long_history_is_read_and_opened_whole(self) -> None:
        async with self.log() as log:
            opening = await log.open(ROOM)
            last = filled(opening, 700)
            await committed(log, last)
            for _ in range(3):
                head = last.base + len(last.records)
                last = batch(last, *(record(head + n) for n in range(1, 701)))
                await committed(log, last)
            assert [found.version for found in (await log.open(ROOM)).records] == list(range(1, 2801))
            assert [found.version for found in await log.read(ROOM, 1, 2700)] == list(range(2, 2702))

    # ------------------------------------------------------------------------------------- appending

    async def test_batches_of_many_resources_commit_together(self) -> None:
        async with self.log() as log:
            names = [f"event:{n}" for n in range(50)]
            batches = [filled(await log.open(name), 1 + n % 4, name) for n, name in enumerate(names)]
            await committed(log, *batches)
            await committed(log, *(batch(before) for before in batches))
            for n, name in enumerate(names):
                versions = [found.version for found in await history(log, name)]
                assert versions == list(range(1, 3 + n % 4))

    async def test_no_batches_have_no_outcomes(self) -> None:
        async with self.log() as log:
            assert list(await log.append([])) == []

    async def test_a_batch_behind_the_head_gets_what_it_misses(self) -> None:
        async with self.log() as log:
            opening = await log.open(ROOM)
            first = batch(opening, record(1), record(2), record(3))
            await committed(log, first)
            (outcome,) = await append(log, batch(opening, record(2, value="mine"), base=1))
            assert isinstance(outcome, Stale)
            assert list(outcome.records) == [record(2), record(3)]
            assert len(await history(log)) == 3

    async def test_each_batch_of_one_append_has_its_own_outcome(self) -> None:
        async with self.log() as log:
            names = ["event:a", "event:b", "event:c", "event:d"]
            openings = {name: await log.open(name) for name in names}
            await committed(log, batch(openings["event:b"], record(1, seq=7), resource="event:b"))
            outcomes = await append(
                log,
                batch(openings["event:a"], resource="event:a"),
                batch(openings["event:b"], record(2), record(3, seq=7), base=1, resource="event:b"),
                batch(openings["event:c"], resource="event:c")._replace(epoch=1),
                batch(openings["event:d"], resource="event:d"),
            )
            assert outcomes[0] == outcomes[3] == Committed()
            assert outcomes[1] == Duplicates({1: (1, record(1).digest)})
            assert outcomes[2] == Forked(openings["event:c"].epoch)
            lengths = [len(await history(log, name)) for name in names]
            assert lengths == [1, 1, 0, 1]

    async def test_a_batch_sent_again_is_committed_once(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1, seq=1), record(2))
            await committed(log, first)
            await committed(log, first)
            second = batch(first, record(3), record(4, seq=2))
            await committed(log, second)
            await committed(log, second)
            assert [found.version for found in await history(log)] == [1, 2, 3, 4]

    async def test_a_batch_sent_again_is_found_with_others_and_after_others(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1), record(2))
            other = batch(await log.open("event:7"), resource="event:7")
            await committed(log, first)
            await committed(log, first, other)
            assert len(await history(log)) == 2
            assert len(await history(log, "event:7")) == 1

    async def test_the_same_changes_under_another_nonce_are_not_the_same_batch(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1))
            await committed(log, first)
            (outcome,) = await append(log, first._replace(nonce=nonce()))
            assert outcome == Stale([record(1)])

    async def test_a_stored_submission_is_a_duplicate_with_its_version_and_digest(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1, seq=1, value="a"), record(2, seq=2, value="b"))
            await committed(log, first)
            again = batch(
                first, record(3, seq=3), record(4, seq=2, value="other"), record(5, seq=1, value="a")
            )
            (outcome,) = await append(log, again)
            digests = record(1, value="a").digest, record(2, value="b").digest
            assert outcome == Duplicates({1: (2, digests[1]), 2: (1, digests[0])})
            assert len(await history(log)) == 2
            await committed(log, batch(first, record(3, seq=3)))

    async def test_seqs_of_other_clients_users_and_resources_are_others(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1, seq=1))
            await committed(log, first)
            others = record(2, seq=1, client="tab-2"), record(3, seq=1, user="bob"), record(4, seq=-1)
            await committed(log, batch(first, *others))
            await committed(log, batch(await log.open("event:7"), record(1, seq=1), resource="event:7"))

    async def test_changes_without_seq_are_never_duplicates(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1), record(2))
            await committed(log, first)
            await committed(log, batch(first, record(3), record(4)))

    async def test_a_batch_that_holds_a_submission_twice_is_refused(self) -> None:
        async with self.log() as log:
            opening = await log.open(ROOM)
            (outcome,) = await append(log, batch(opening, record(1, seq=1), record(2, seq=1)))
            assert isinstance(outcome, Failed)
            assert outcome.outcome == "none"
            await committed(log, batch(opening, record(1, seq=1)))

    async def test_a_batch_without_records_or_with_a_gap_is_refused(self) -> None:
        async with self.log() as log:
            opening = await log.open(ROOM)
            empty = Batch(ROOM, opening.epoch, 0, nonce(), ())
            for unsound in (empty, batch(opening, record(2)), batch(opening, record(1), record(3))):
                (outcome,) = await append(log, unsound)
                assert isinstance(outcome, Failed)
                assert outcome.outcome == "none"
            assert await history(log) == []

    async def test_racing_writers_get_every_version_once(self) -> None:
        async with self.log() as log:
            async with trio.open_nursery() as nursery:
                for writer in range(5):
                    nursery.start_soon(self._race, log, f"writer-{writer}", 12)
            records = await history(log)
            assert [found.version for found in records] == list(range(1, 61))
            for writer in range(5):
                seqs = [found.seq for found in records if found.client_id == f"writer-{writer}"]
                assert seqs == list(range(1, 13))

    async def _race(self, log: OpLog, client: str, number: int) -> None:
        opening = await log.open(ROOM)
        version, seq = opening.snapshot.version + len(opening.records), 1
        while seq <= number:
            mine = record(version + 1, client=client, seq=seq)
            (outcome,) = await append(log, Batch(ROOM, opening.epoch, version, nonce(), (mine,)))
            if isinstance(outcome, Committed):
                version, seq = version + 1, seq + 1
            else:
                assert isinstance(outcome, Stale), outcome
                assert [found.version for found in outcome.records][:1] == [version + 1]
                version += len(outcome.records)

    async def test_cancelled_appends_are_there_whole_or_not_at_all(self) -> None:
        async with self.log() as log:
            rng = random.Random(5)
            opening = await log.open(ROOM)
            version, cancelled = 0, 0
            for _ in range(60):
                attempt = Batch(
                    ROOM, opening.epoch, version, nonce(), [record(version + n) for n in (1, 2, 3)]
                )
                with trio.move_on_after(rng.choice((0, 1e-5, 1e-4, 3e-4, 1))) as scope:
                    (outcome,) = await append(log, attempt)
                    assert outcome == Committed()
                if scope.cancelled_caught:
                    cancelled += 1
                    (outcome,) = await append(log, attempt)
                    assert outcome == Committed()
                version += 3
                assert [found.version for found in await log.read(ROOM, version - 3, 9)] == [
                    version - 2,
                    version - 1,
                    version,
                ]
            assert cancelled
            assert [found.version for found in await history(log)] == list(range(1, version + 1))

    # ------------------------------------------------------------------------------ epochs and forks

    async def test_a_batch_of_another_epoch_learns_the_present_one(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM))
            await committed(log, first)
            assert await append(log, batch(first)._replace(epoch=first.epoch - 1)) == [Forked(first.epoch)]
            assert len(await history(log)) == 1

    async def test_a_base_above_the_head_makes_a_new_epoch(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1), record(2))
            await committed(log, first)
            (outcome,) = await append(log, batch(first, base=5))
            assert isinstance(outcome, Forked)
            opening = await log.open(ROOM)
            assert opening.epoch == outcome.epoch > first.epoch
            assert [found.version for found in opening.records] == [1, 2]
            assert await append(log, batch(first)) == [Forked(opening.epoch)]
            assert await append(log, first) == [Committed()], "the new epoch follows it"
            await committed(log, batch(opening))

    async def test_purge_erases_and_starts_a_later_epoch(self) -> None:
        async with self.log() as log:
            first = batch(await log.open(ROOM), record(1, seq=1))
            await committed(log, first)
            await log.save_snapshot(ROOM, first.epoch, Snapshot(1, b'{"secret":1}'))
            epoch = await log.purge(ROOM)
            assert epoch > first.epoch
            opening = await log.open(ROOM)
            assert opening.purged == epoch, "what rooms still hold was erased on purpose"
            assert (opening.epoch, opening.snapshot, list(opening.records)) == (
                epoch,
                Snapshot(0, b"null"),
                [],
            )
            assert await log.snapshot(ROOM, 9) == Snapshot(0, b"null")
            assert await append(log, batch(first)) == [Forked(epoch)]
            key = ClientKey(ROOM, "ann", "tab-1")
            assert [list(found) for found in await log.recent([key], 0)] == [[]]
            assert list(await log.own_changes(key, 5)) == []
            await committed(log, batch(opening, record(1, seq=1)))

    async def test_purging_twice_or_what_was_never_written_gives_ever_later_epochs(self) -> None:
        async with self.log() as log:
            other = (await log.open("event:7")).epoch
            epochs = [(await log.open(ROOM)).epoch, await log.purge(ROOM), await log.purge(ROOM)]
            assert epochs[0] < epochs[1] < epochs[2]
            assert (await log.open(ROOM)).epoch == epochs[2]
            assert (await log.open("event:7")).epoch == other

    # ------------------------------------------------------------------------------------- snapshots

    async def test_a_room_opens_from_the_newest_snapshot(self) -> None:
        async with self.log() as log:
            first = filled(await log.open(ROOM), 10)
            await committed(log, first)
            for version in (3, 8):
                await log.save_snapshot(ROOM, first.epoch, Snapshot(version, b'{"at": %d}' % version))
            opening = await log.open(ROOM)
            assert opening.snapshot == Snapshot(8, b'{"at": 8}')
            assert [found.version for found in opening.records] == [9, 10]
            await log.save_snapshot(ROOM, first.epoch, Snapshot(10, b"null"))
            opening = await log.open(ROOM)
            assert (opening.snapshot, list(opening.records)) == (Snapshot(10, b"null"), [])

    async def test_snapshot_gives_the_newest_at_or_below_a_version(self) -> None:
        async with self.log() as log:
            first = filled(await log.open(ROOM), 10)
            await committed(log, first)
            for version in (8, 3):
                await log.save_snapshot(ROOM, first.epoch, Snapshot(version, b"%d" % version))
            found = {version: (await log.snapshot(ROOM, version)).version for version in (0, 2, 3, 7, 8, 99)}
            assert found == {0: 0, 2: 0, 3: 3, 7: 3, 8: 8, 99: 8}

    async def test_a_snapshot_of_another_epoch_or_beyond_the_head_is_ignored(self) -> None:
        async with self.log() as log:
            first = filled(await log.open(ROOM), 4)
            await committed(log, first)
            await log.save_snapshot(ROOM, first.epoch - 1, Snapshot(2, b"2"))
            await log.save_snapshot(ROOM, first.epoch, Snapshot(5, b"5"))
            await log.save_snapshot("event:never", first.epoch, Snapshot(1, b"1"))
            assert await log.snapshot(ROOM, 9) == Snapshot(0, b"null")
            assert (await log.open("event:never")).snapshot == Snapshot(0, b"null")

    # --------------------------------------------------------------------------- a client's own history

    async def test_recent_gives_the_newest_16_submissions_with_a_seq_newest_first(self) -> None:
        async with self.log() as log:
            changes = [record(n, seq=n if n % 3 else None, value=n) for n in range(1, 41)]
            last = batch(await log.open(ROOM), *changes)
            await committed(log, last, batch(await log.open("event:7"), record(1, seq=1), resource="event:7"))
            await committed(
                log, batch(last, record(41, client="tab-2", seq=5), record(42, user="bob", seq=6))
            )
            keys = [
                ClientKey(ROOM, "ann", "tab-1"),
                ClientKey("event:7", "ann", "tab-1"),
                ClientKey(ROOM, "ann", "tab-3"),
                ClientKey("event:never", "ann", "tab-1"),
                ClientKey(ROOM, "bob", "tab-1"),
            ]
            found = [list(item) for item in await self._recent(log, keys, 0)]
            own = [n for n in range(40, 0, -1) if n % 3][:16]
            assert found[0] == [Submitted(n, n, record(1, value=n).digest) for n in own]
            assert found[1] == [Submitted(1, 1, record(1).digest)]
            assert found[2:] == [[], [], [Submitted(6, 42, record(1).digest)]]

    async def _recent(
        self, log: OpLog, keys: Sequence[ClientKey], since: int
    ) -> Sequence[Sequence[Submitted]]:
        """One call a lane, as the core makes them."""
        found: dict[ClientKey, Sequence[Submitted]] = {}
        for lane in {log.lane(key.resource) for key in keys}:
            mine = [key for key in keys if log.lane(key.resource) == lane]
            found.update(zip(mine, await log.recent(mine, since), strict=True))
        return [found[key] for key in keys]

    async def test_recent_leaves_out_what_is_older_than_since(self) -> None:
        async with self.log() as log:
            changes = [record(n, seq=n, timestamp=NOW_MS + n) for n in range(1, 6)]
            await committed(log, batch(await log.open(ROOM), *changes))
            (found,) = await log.recent([ClientKey(ROOM, "ann", "tab-1")], NOW_MS + 4)
            assert [submitted.seq for submitted in found] == [5, 4]

    async def test_own_changes_gives_the_newest_of_one_client_with_what_they_undo(self) -> None:
        async with self.log() as log:
            changes = [
                record(1, seq=1),
                record(2, client="tab-2"),
                record(3),
                record(4, user="bob"),
                record(5, seq=2, undoes=3),
            ]
            await committed(log, batch(await log.open(ROOM), *changes))
            key = ClientKey(ROOM, "ann", "tab-1")
            every = [OwnChange(5, 3), OwnChange(3, None), OwnChange(1, None)]
            assert list(await log.own_changes(key, 10)) == every
            assert list(await log.own_changes(key, 2)) == every[:2]
            assert list(await log.own_changes(ClientKey(ROOM, "cy", "tab-1"), 2)) == []
            assert list(await log.own_changes(ClientKey("event:7", "ann", "tab-1"), 2)) == []
