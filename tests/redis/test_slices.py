"""What the log in Redis has many changes to unpack for, it does in slices."""

from __future__ import annotations

from itertools import count

import pytest

from gateway.log.redis import log as log_module
from gateway.log.redis.log import RedisLog
from gateway.ports import Stale
from gateway.runtime.timeslice import SLICE_S, Slices
from tests.contracts.log_contract import ROOM, batch, committed, record
from tests.redis.parts import fresh, running
from tests.steps import steps_of_ours

# More than a few round trips take steps.
CHANGES = 100


@pytest.fixture
def slow_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of slices each change takes two to unpack."""
    looks = count()
    monkeypatch.setattr(log_module, "Slices", lambda now_s: Slices(lambda: next(looks) * 2 * SLICE_S))


@pytest.mark.usefixtures("slow_changes")
async def test_openings_and_refused_appends_are_unpacked_in_slices() -> None:
    config = fresh("any")
    async with running(config) as shards:
        log = RedisLog(shards, config)
        late = batch(await log.open(ROOM), record(1))
        await committed(log, late._replace(nonce="of another"))
        for base in range(1, CHANGES):
            await committed(log, late._replace(base=base, nonce=f"n{base}", records=[record(base + 1)]))
        with steps_of_ours() as opening:
            assert len((await log.open(ROOM)).records) == CHANGES
        assert opening.count >= CHANGES
        with steps_of_ours() as appending:
            [stale] = await log.append([late])
        assert isinstance(stale, Stale) and len(stale.records) == CHANGES
        assert appending.count >= CHANGES
