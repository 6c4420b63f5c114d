"""The control that shows how fast the machine is at a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from benchmarks import tempo
from benchmarks.tempo import Control, control


def test_what_it_took_is_told_of_any_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that take 0.1 cores together for ten seconds, and twice as much from then on."""
    now: Callable[[], float] = trio.current_time
    monkeypatch.setattr(tempo, "time", SimpleNamespace(time=now))
    watch = Control([SimpleNamespace(cpu_s=lambda: 0.05 * (now() + max(now() - 10, 0)))] * 2)  # type: ignore[list-item]

    async def sampled() -> tuple[float, float, float]:
        start = now()
        with trio.move_on_at(20):
            await watch.watch()
        return watch.cores(start + 1, 9), watch.cores(11, 19), watch.cores(5, 15)

    found = trio.run(sampled, clock=MockClock(autojump_threshold=0))
    assert found == pytest.approx((0.1, 0.2, 0.15), rel=1e-3)


def test_it_works_all_the_time() -> None:
    async def watched() -> float:
        with control() as watch, trio.move_on_after(1.5):
            start_s = time.time()
            await watch.watch()
        return watch.cores(start_s + 0.3, start_s + 1.3)

    assert 0.001 < trio.run(watched) < 1
