"""What rooms bring back of a history that the log lost, case by case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from gateway.hub.recovery import former_of
from gateway.ports import Batch, ClientKey, Record, Reserved, Submitted
from gateway.wire.announcement import encode
from tests.hub.recovered import ROOM, Cluster
from tests.simulation.cluster import EPOCH_START_MS, NotingListener
from tests.waiting import unawaited, until

FIRST = [{"op": "add", "path": "", "value": {"title": "T", "description": "abc", "tags": []}}]


def text(*components: Any) -> list[dict[str, Any]]:
    return [{"op": "text", "path": "/description", "value": list(components)}]


def tag(value: str) -> list[dict[str, Any]]:
    return [{"op": "add", "path": "/tags/-", "value": value}]


def change(
    version: int,
    patch: list[dict[str, Any]],
    seq: int | None = None,
    undoes: int | None = None,
    by: str = "ann",
) -> Record:
    stamp = EPOCH_START_MS + version
    names = {"client_id": f"{by}'s", "user_id": by, "op_id": f"{by}-{version}"}
    fields = {"version": version, "operations": patch, **names, "timestamp": stamp}
    fields |= {} if seq is None else {"seq": seq}
    fields |= {} if undoes is None else {"undoes": undoes}
    return Record(version, orjson.dumps(fields), by, f"{by}'s", seq, f"digest-{seq}", stamp, undoes)


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    async with unawaited() as nursery:
        yield Cluster(nursery)


def fields(record: Record, *names: str) -> list[Any]:
    body = orjson.loads(record.body)
    return [body.get(name) for name in names]


async def test_a_lost_end_comes_back_with_its_authors_in_a_new_epoch():
    async with cluster() as found:
        found.append(change(1, FIRST, 1))
        found.append(change(2, tag("a"), 2))
        found.append(change(3, tag("b"), 3), change(4, text("x"), by="bob"))
        hub, room = await found.room()
        before, epoch = room.document, room.epoch
        found.history.lose_end(ROOM, 1)
        await hub.catch_up.now(room)
        assert room.epoch > epoch
        assert room.document == found.document == before
        assert [former_of(record) for record in found.records] == [None, (epoch, 2), (epoch, 3), (epoch, 4)]
        assert found.records[2].fields()[2:] == change(3, tag("b"), 3).fields()[2:], (
            "author, seq, digest and time are the same"
        )
        assert fields(found.records[3], "user_id", "op_id") == ["bob", "bob-4"]
        assert found.counted == (3, 0, 0)
        [resends] = await hub.log.recent([ClientKey(ROOM, "ann", "ann's")], 0)
        assert resends[0] == Submitted(3, 3, "digest-3"), "a resend is answered with where it is now"


async def test_what_comes_back_waits_while_the_head_is_reserved_for_another_node(autojump_clock):
    async with cluster() as found:
        found.append(change(1, FIRST, 1))
        found.append(change(2, tag("a"), 2))
        hub, room = await found.room()
        append, appends = hub.log.append, []

        async def reserved(batches):
            appends.append(trio.current_time())
            return [Reserved(0.1)] if len(appends) == 1 else await append(batches)

        hub.log.append = reserved
        found.history.lose_end(ROOM, 1)
        await hub.catch_up.now(room)
        assert len(appends) == 2 and appends[1] - appends[0] >= 0.1
        assert found.counted == (1, 0, 0)


async def test_what_others_wrote_meanwhile_stays_and_lost_edits_are_carried_past_it():
    async with cluster() as found:
        found.append(change(1, FIRST))
        found.append(change(2, text(3, "def"), 1))
        found.append(change(3, text(6, "ghi"), 2))
        hub, room = await found.room()
        found.history.lose_end(ROOM, 1)
        found.append(change(2, text("__"), by="bob"))
        await hub.catch_up.now(room)
        assert room.document["description"] == "__abcdefghi"
        assert [fields(record, "operations") for record in found.records[2:]] == [
            [text(5, "def")],
            [text(8, "ghi")],
        ]


async def test_several_rooms_bring_a_change_back_once_and_each_adds_what_only_it_knows():
    async with cluster() as found:
        found.append(change(1, FIRST))
        found.append(change(2, tag("a")))
        shorter, room = await found.room()
        found.append(change(3, tag("b")))
        longer, other = await found.room()
        found.history.lose_all(ROOM)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shorter.catch_up.now, room)
            nursery.start_soon(longer.catch_up.now, other)
        await shorter.catch_up.now(room)
        assert found.document["tags"] == room.document["tags"] == other.document["tags"] == ["a", "b"]
        assert len(found.records) == 3
        assert found.counted == (3, 0, 0)


async def test_an_edit_that_its_author_sent_again_is_not_brought_back_too():
    async with cluster() as found:
        found.append(change(1, FIRST))
        found.append(change(2, tag("a"), 1))
        found.append(change(3, tag("b"), 2))
        hub, room = await found.room()
        found.history.lose_end(ROOM, 1)
        found.append(change(2, tag("a"), 1))
        await hub.catch_up.now(room)
        assert room.document["tags"] == ["a", "b"]
        assert [record.seq for record in found.records] == [None, 1, 2]


async def test_changes_that_left_the_window_come_back_folded_into_one():
    async with cluster() as found:
        found.append(change(1, FIRST))
        for version in range(2, 8):
            found.append(change(version, tag(f"{version}"), version))
        hub, room = await found.room(2)
        epoch = room.epoch
        found.history.archived[ROOM] = 3
        found.history.lose_all(ROOM)
        await hub.catch_up.now(room)
        assert found.document["tags"] == ["2", "3", "4", "5", "6", "7"]
        folded = found.records[3]
        assert (folded.user_id, folded.client_id, former_of(folded)) == ("gateway", "", (epoch, 5))
        assert [record.seq for record in found.records] == [None, 2, 3, None, 6, 7]
        assert found.counted == (3, 2, 0)


async def test_without_anything_left_the_rooms_state_is_the_first_change():
    async with cluster() as found:
        found.append(change(1, FIRST), change(2, tag("a")))
        hub, room = await found.room(0)
        found.history.lose_all(ROOM)
        await hub.catch_up.now(room)
        assert (len(found.records), found.document["tags"], room.version) == (1, ["a"], 1)
        assert found.counted == (1, 2, 0)


async def test_where_nobody_can_tell_what_was_lost_the_log_wins_and_it_is_counted():
    async with cluster() as found:
        found.append(change(1, FIRST))
        found.append(change(2, tag("lost")))
        hub, room = await found.room(0)
        found.history.lose_end(ROOM, 1)
        found.append(change(2, tag("kept"), by="bob"))
        await hub.catch_up.now(room)
        assert room.document == found.document
        assert room.document["tags"] == ["kept"]
        assert found.counted == (0, 0, 1)


async def test_a_room_that_missed_an_epoch_does_not_undo_what_that_one_had():
    async with cluster() as found:
        found.append(change(1, FIRST))
        for version in range(2, 6):
            found.append(change(version, tag(f"lost {version}")))
        hub, room = await found.room(0)
        found.history.archived[ROOM] = 1
        found.history.lose_all(ROOM)
        found.append(change(2, tag("kept"), by="bob"))
        found.history.archived[ROOM] = 2
        found.history.lose_all(ROOM)
        await hub.catch_up.now(room)
        assert room.document == found.document
        assert room.document["tags"] == ["kept"], "its author was told that it is in the log"
        assert found.counted == (0, 0, 3), "where they part isn't known: at least so many are lost"


async def test_what_was_purged_stays_purged():
    async with cluster() as found:
        found.append(change(1, FIRST))
        hub, room = await found.room()
        found.history.purge(ROOM)
        await hub.catch_up.now(room)
        assert (room.version, room.document, found.records) == (0, None, [])
        assert found.counted == (0, 0, 0)


async def test_an_undo_still_names_what_it_undoes():
    async with cluster() as found:
        found.append(change(1, FIRST))
        found.append(change(2, tag("a"), 1))
        found.append(change(3, [{"op": "remove", "path": "/tags/0"}], 2, undoes=2))
        hub, room = await found.room()
        found.history.lose_end(ROOM, 1)
        found.append(change(2, text("x"), by="bob"))
        await hub.catch_up.now(room)
        assert [record.undoes for record in found.records] == [None, None, None, 3]
        assert fields(found.records[3], "undoes") == [3]


async def test_an_announcement_on_another_history_is_noticed_at_once():
    async with cluster() as found:
        found.append(change(1, FIRST))
        found.append(change(2, tag("lost")))
        hub, room = await found.room()
        found.history.lose_end(ROOM, 1)
        other, elsewhere = await found.room()
        epoch = room.epoch
        batch = Batch(ROOM, elsewhere.epoch, 1, "theirs", [change(2, tag("kept"), by="bob")])
        await other.log.append([batch])
        listener = NotingListener(hub.listener, hub.log._chains)
        listener.on_message(ROOM, encode(batch, "nonce"))
        await until(lambda: room.epoch != epoch)
        assert sorted(room.document["tags"]) == ["kept", "lost"]
