"""What the log's answers are unpacked to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import orjson
import trio

from gateway.log.redis import codec
from gateway.ports import Record
from gateway.runtime.timeslice import SLICE_S, Slices
from gateway.wire import announcement
from gateway.wire.announcement import Announcement


def stored(number: int) -> list[bytes]:
    """So many batches of a change each."""
    batches = []
    for version in range(1, number + 1):
        body = orjson.dumps({"version": version, "operations": []})
        record = Record(version, body, "ann", "c", version, "d", version, None)
        batches.append(announcement.encode(Announcement("event:1", 1, version - 1, f"n{version}", [record])))
    return batches


async def turns_during(payloads: Sequence[bytes], after: int) -> tuple[list[int], int]:
    """The versions after one, each batch of which takes a slice, and how often others ran meanwhile."""
    looks = count()
    slices, turns = Slices(lambda: next(looks) * SLICE_S), 0
    async with trio.open_nursery() as nursery:

        async def beside() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(beside)
        records = await codec.records_after("event:1", payloads, after, slices)
        nursery.cancel_scope.cancel()
    return [record.version for record in records], turns


async def test_others_run_while_changes_are_unpacked():
    versions, turns = await turns_during(stored(16), 0)
    assert versions == list(range(1, 17))
    assert turns >= 10


async def test_what_came_before_is_left_out():
    versions, _ = await turns_during(stored(5), 3)
    assert versions == [4, 5]
