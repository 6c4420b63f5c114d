"""How fast a worker takes connections, on CPU time that is made up."""

from __future__ import annotations

from gateway.runtime.metrics import Counters
from gateway.sessions.accepting import PER_S_MAX, PER_S_MIN, TELLING, UNMEASURED_PER_S, AcceptPace


class Worker:
    def __init__(self) -> None:
        self.counters = Counters()
        self.cpu_s = 0.0
        self.pace = AcceptPace(self.counters, lambda: self.cpu_s)

    def accept(self, count: int, each_s: float) -> None:
        self.counters.connections_accepted += count
        self.cpu_s += count * each_s
        self.pace.measure()


def test_a_pace_follows_what_accepting_cost() -> None:
    worker = Worker()
    assert worker.pace.per_s == UNMEASURED_PER_S
    for _ in range(20):
        worker.accept(200, 0.0005)
    assert 990 < worker.pace.per_s <= 1000, "half of a core, at half a millisecond each"
    assert worker.pace.delay_ms(0) == 100
    assert 1090 < worker.pace.delay_ms(1000) < 1115


def test_a_few_connections_beside_much_other_work_say_nothing() -> None:
    worker = Worker()
    worker.accept(TELLING - 1, 1.0)
    assert worker.pace.per_s == UNMEASURED_PER_S


def test_a_pace_is_bounded() -> None:
    slow, quick = Worker(), Worker()
    for _ in range(40):
        slow.accept(100, 1.0)
        quick.accept(100, 1e-9)
    assert round(slow.pace.per_s) == PER_S_MIN
    assert round(quick.pace.per_s) == PER_S_MAX
