"""Writers that append as rooms do, whatever happens to the servers, and the judgement of what they did.

Each writer appends one change at a time to one resource. Like a client with `seq`, it sends a change again
when its outcome is unknown. At the end every acknowledged change must be in the log exactly once, in a
gapless history that all agree on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import trio

from gateway.ports import (
    Batch,
    Committed,
    Duplicates,
    Failed,
    OpLog,
    Record,
    Reserved,
    Stale,
)
from tests.waiting import PATIENCE_S, until

Fault = Callable[[], Awaitable[object]]

_nonces = count(1)
PAUSE_S = 0.01
PACE_S = 0.005
# What each writer gets acknowledged before and after the fault.
WARM_UP = 10


class Writer:
    """One client of one resource; `acknowledged` maps its seqs to versions."""

    def __init__(self, log: OpLog, resource: str, name: str) -> None:
        self.log = log
        self.resource = resource
        self.name = name
        self.acknowledged: dict[int, int] = {}
        self.unknown = 0
        self.refused = 0
        self.stale = 0
        self.longest_pause_s = 0.0
        self.pace_s = PACE_S

    async def run(self, stop: trio.Event) -> None:
        """Get one change after the other acknowledged."""
        epoch, version = await self._open()
        seq = 0
        while not stop.is_set():
            seq += 1
            started = trio.current_time()
            while seq not in self.acknowledged:
                epoch, version = await self._attempt(epoch, version, seq)
            self.longest_pause_s = max(self.longest_pause_s, trio.current_time() - started)
            await trio.sleep(self.pace_s)

    async def _attempt(self, epoch: int, version: int, seq: int) -> tuple[int, int]:
        body = b'{"by":"%s","seq":%d}' % (self.name.encode(), seq)
        record = Record(version + 1, body, "user", self.name, seq, f"{seq}", 1_790_000_000_000, None)
        batch = Batch(self.resource, epoch, version, f"{self.name}-{next(_nonces)}", [record])
        (outcome,) = await self.log.append([batch])
        match outcome:
            case Committed():
                self.acknowledged[seq] = version + 1
                return epoch, version + 1
            case Stale(records):
                self.stale += 1
                return epoch, records[-1].version if records else version
            case Reserved(seconds):
                await trio.sleep(seconds)
                return epoch, version
            case Duplicates(versions):
                self.acknowledged[seq] = versions[0][0]
                return epoch, version
            case Failed(outcome="unknown"):
                self.unknown += 1
            case Failed():
                self.refused += 1
        await trio.sleep(PAUSE_S)
        return await self._open()

    async def _open(self) -> tuple[int, int]:
        while True:
            try:
                opening = await self.log.open(self.resource)
                return opening.epoch, opening.version
            except Exception as error:
                if type(error).__name__ not in ("LogUnavailable", "LogTrimmed"):
                    raise
                await trio.sleep(PAUSE_S)


async def busy(logs: Sequence[OpLog], resources: Sequence[str], fault: Fault) -> Sequence[Writer]:
    """A writer on each resource through each log, at work before, during and after the fault."""
    writers = [
        Writer(log, resource, f"{resource}-{number}")
        for number, log in enumerate(logs)
        for resource in resources
    ]
    stop = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.run, stop)
            await _progress(writers)
            await fault()
            await _progress(writers)
            stop.set()
    return writers


async def _progress(writers: Sequence[Writer]) -> None:
    goals = {writer: len(writer.acknowledged) + WARM_UP for writer in writers}
    await until(
        lambda: all(len(writer.acknowledged) >= goal for writer, goal in goals.items()),
        f"{WARM_UP} more acknowledgements of each",
    )


async def judge(log: OpLog, writers: Sequence[Writer]) -> None:
    """Hold that nothing acknowledged is lost, nothing is there twice, and versions have no gap."""
    for resource in {writer.resource for writer in writers}:
        records: list[Record] = []
        while step := await log.read(resource, len(records), 500):
            records += step
        assert [record.version for record in records] == list(range(1, len(records) + 1))
        found = [(record.client_id, record.seq) for record in records]
        assert len(set(found)) == len(found), "a change is there twice"
        stored = {(record.client_id, record.seq): record.version for record in records}
        for writer in writers:
            if writer.resource == resource:
                for seq, version in writer.acknowledged.items():
                    assert stored.get((writer.name, seq)) == version, f"{writer.name} {seq} is lost"
