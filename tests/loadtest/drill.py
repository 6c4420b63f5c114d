"""A load test of the reference server, whose faults it has to find."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from loadtest.options import Progress
from loadtest.recorder import INTERVAL_S
from loadtest.scenario import Scenario, parse
from tests.waiting import until

REFERENCE = Path(__file__).with_name("reference.py")
# What isn't about a generator or server that is late: no machine is too slow for it.
UNHURRIED = {"lag_p99_ms_max": 60_000, "missed_max": 1.0, "drain_s": 20}


def stages(connections: int, rate: float, duration_s: float) -> list[dict[str, Any]]:
    arrive = {"name": "arrive", "duration_s": 0.2, "connections": connections, "operations_per_s": 0}
    return [arrive, {**arrive, "name": "edit", "duration_s": duration_s, "operations_per_s": rate}]


def scenario(**changes: Any) -> Scenario:
    base: dict[str, Any] = {
        "name": "trial",
        "description": "",
        "stages": stages(18, 150, 1.8),
        "population": {"documents": 3, "viewer_share": 0.34, "replicas": 2},
        "activity": {"mix": {"title": 3, "times": 1, "undo": 1}, "presence_per_user_s": 0.5},
        "targets": {"delivery_p95_ms": 60_000, "operations_achieved_min": 0.9},
        "generator": UNHURRIED,
    }
    return parse({**base, **changes})


class Drill:
    """A drill of a minute, which does something once the load is over."""

    def __init__(self, made: Scenario, do: Callable[[], object]) -> None:
        self.ended = False
        self._do, self._wanted = do, made.duration_s / INTERVAL_S
        self._played = 0

    def watch(self, progress: Progress) -> None:
        """The run's `on_progress`."""
        self._played = len(progress.intervals)

    async def act(self) -> None:
        await until(lambda: self._played >= self._wanted - 1, within_s=math.inf)  # the test has its bound
        await trio.sleep(1.5)
        self._do()
        await trio.sleep(60)
        self.ended = True
