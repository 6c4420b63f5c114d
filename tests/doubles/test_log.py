"""The log in memory: the contract, and what it announces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.ports import Committed, Forked, OpLog, Stale
from gateway.wire.announcement import Announcement, decode
from tests.contracts.bus_contract import Inbox
from tests.contracts.log_contract import ROOM, LogContract, append, batch, committed, record
from tests.doubles.bus import MeetingPlace, MemoryBus
from tests.doubles.log import MemoryHistory, MemoryLog
from tests.waiting import unawaited


class TestMemoryLog(LogContract):
    @asynccontextmanager
    async def log(self) -> AsyncIterator[OpLog]:
        yield MemoryLog()


async def test_nodes_that_share_a_history_hear_what_the_others_append_purge_and_fork() -> None:
    place, history, inbox = MeetingPlace(), MemoryHistory(standing_epoch=9), Inbox()
    mine, theirs = MemoryBus(place), MemoryBus(place)
    writer, reader = MemoryLog(history, mine), MemoryLog(history, theirs)
    theirs.attach(inbox)
    async with unawaited() as nursery:
        await nursery.start(theirs.run)
        await theirs.subscribe(ROOM)
        first = batch(await writer.open(ROOM), record(1, seq=1), record(2))
        await committed(writer, first)
        (forked,) = await append(writer, batch(first, base=7))
        assert isinstance(forked, Forked)
        epoch = await writer.purge(ROOM)
        await inbox.until(3)
    heard = [decode(payload) for _, payload in inbox.messages]
    assert heard[0] == Announcement(ROOM, 9, 0, first.nonce, list(first.records))
    assert heard[1] == Announcement(ROOM, forked.epoch, 2, "", [])
    assert heard[2] == Announcement(ROOM, epoch, 0, "", [])
    assert (await reader.open(ROOM)).epoch == epoch


async def test_what_is_refused_is_not_announced() -> None:
    place, history, inbox = MeetingPlace(), MemoryHistory(), Inbox()
    mine, theirs = MemoryBus(place), MemoryBus(place)
    writer = MemoryLog(history, mine)
    theirs.attach(inbox)
    async with unawaited() as nursery:
        await nursery.start(theirs.run)
        await theirs.subscribe(ROOM)
        first = batch(await writer.open(ROOM), record(1, seq=1))
        await committed(writer, first)
        stale, refused, accepted = [
            (await append(writer, attempt))[0]
            for attempt in (batch(first, base=0), batch(first, record(2, seq=1)), batch(first, record(2)))
        ]
        await inbox.until(2)
    assert isinstance(stale, Stale) and not isinstance(refused, Committed) and accepted == Committed()
    assert [decode(payload).base for _, payload in inbox.messages] == [0, 1]
