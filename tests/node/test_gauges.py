"""What is measured now and then."""

from __future__ import annotations

from itertools import count

from gateway.config import Config
from gateway.node.capacity import MEASURABLE, Capacity
from gateway.node.gauges import Gauges
from gateway.runtime.metrics import Counters


def test_what_bounds_nothing_any_more_is_not_told_as_a_bound(tmp_path) -> None:
    counters, cpu_s, now_s = Counters(), count(), count()
    capacity = Capacity(counters, 10_000, 1, lambda: float(next(cpu_s)), lambda: float(next(now_s)))
    config = Config().with_(server={"data_dir": str(tmp_path)})
    gauges = Gauges(config, counters, capacity, lambda: (), lambda: 0, lambda: 0.0)
    counters.connections = MEASURABLE
    for _ in range(100):  # a core is busy
        gauges.measure()
    assert counters.connections_left_by["cpu"] == counters.connections_left == 0
    counters.connections = MEASURABLE - 1  # too few to tell what each costs
    gauges.measure()
    assert "cpu" not in counters.connections_left_by
    assert counters.connections_left == min(counters.connections_left_by.values()) > 0
