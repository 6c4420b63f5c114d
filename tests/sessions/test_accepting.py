"""How fast a worker takes connections, and whom it puts off, on times that are made up."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from gateway.runtime.metrics import Counters
from gateway.sessions.accepting import (
    BURST_S,
    PER_S_MAX,
    PER_S_MIN,
    TELLING,
    TURN_MAX_S,
    UNMEASURED_PER_S,
    AcceptPace,
)

SWEEP_S = 0.25
BURST = int(BURST_S * UNMEASURED_PER_S)


class Worker:
    def __init__(self, cpu_share: float = 0.5) -> None:
        self.counters = Counters()
        self.cpu_s = self.waited_s = self.now_s = 0.0
        self.pace = AcceptPace(
            self.counters, lambda: self.now_s, cpu_share, lambda: self.cpu_s, lambda: self.waited_s
        )
        self.pace.measure()

    def accept(self, count: int, each_s: float, other_s: float = 0.0) -> None:
        """What a sweep sees: so many were accepted, beside other work."""
        self.counters.connections_accepted += count
        self.cpu_s += count * each_s + other_s
        self.now_s += SWEEP_S
        self.pace.measure()

    def storm(self, resuming: int, new: int) -> list[tuple[float, bool, int]]:
        """Let all come at once, and each again when it was told to: (when it was let in, whether it resumes,
        how often it was put off)."""
        waiting = [(self.now_s, number, number < resuming, 0) for number in range(resuming + new)]
        heapify(waiting)
        let_in = []
        while waiting:
            self.now_s, number, resumes, tries = heappop(waiting)
            if self.pace.let_in(resumes):
                let_in.append((self.now_s, resumes, tries))
            else:
                again_s = self.now_s + self.pace.turn_ms(resumes) / 1000
                heappush(waiting, (again_s, number, resumes, tries + 1))
        return let_in


def test_a_pace_follows_what_accepting_cost() -> None:
    worker = Worker()
    assert worker.pace.per_s == UNMEASURED_PER_S
    for _ in range(20):
        worker.accept(200, 0.0005)
    assert 990 < worker.pace.per_s <= 1000, "half of a core, at half a millisecond each"
    assert worker.counters.accept_pace == worker.pace.per_s
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


def test_what_else_a_worker_does_is_not_taken_for_the_cost_of_accepting_and_has_its_part() -> None:
    quiet, busy = Worker(), Worker()
    for worker, other_s in ((quiet, 0.2 * SWEEP_S), (busy, 0.8 * SWEEP_S)):
        for _ in range(30):
            worker.accept(0, 0.0, other_s)
        for _ in range(8):
            worker.accept(100, 0.0005, other_s)
    assert 900 < quiet.pace.per_s < 1030, "half of a core"
    assert 370 < busy.pace.per_s < 530, "a quarter, whatever else is to be done"


def test_a_worker_counts_on_the_part_of_a_core_that_it_gets() -> None:
    worker = Worker()
    for _ in range(20):
        worker.waited_s += 3 * 100 * 0.0005
        worker.accept(100, 0.0005)
    assert 245 < worker.pace.per_s < 255, "a quarter of the half of a core that it may take"


def test_what_was_other_work_before_is_not_held_to_be_it_for_ever() -> None:
    worker = Worker()
    for _ in range(30):
        worker.accept(0, 0.0, 0.4 * SWEEP_S)
    for _ in range(240):  # a minute, in which there was nothing else
        worker.accept(64, 0.0016)
    assert 300 < worker.pace.per_s < 400, "half of a core, at 1.6 milliseconds each"


def test_nobody_is_put_off_while_few_come() -> None:
    worker = Worker()
    for _ in range(1000):
        worker.now_s += 0.1
        assert all(worker.pace.let_in(resumes=False) for _ in range(int(0.1 * UNMEASURED_PER_S)))


def test_nobody_is_put_off_while_few_come_and_the_pace_rises() -> None:
    worker = Worker()
    worker.pace.per_s = 2 * PER_S_MIN
    assert worker.pace.let_in(resumes=False)
    worker.now_s += 0.1
    worker.pace.per_s = PER_S_MAX
    assert worker.pace.let_in(resumes=False)


def test_in_a_storm_everyone_comes_in_at_the_pace_and_who_has_a_turn_is_not_put_off_again() -> None:
    worker = Worker()
    let_in = worker.storm(resuming=7000, new=0)
    assert sum(tries == 0 for _, _, tries in let_in) == BURST
    assert {tries for _, _, tries in let_in} == {0, 1}
    ended_s = let_in[-1][0]
    assert 0 <= ended_s - (7000 - BURST) / UNMEASURED_PER_S < 0.1


def test_in_a_greater_storm_turns_are_near_and_the_others_ask_again_while_nothing_stands_idle() -> None:
    worker = Worker()
    let_in = worker.storm(resuming=20_000, new=0)
    assert max(tries for _, _, tries in let_in) <= 6
    ended_s = let_in[-1][0]
    assert 0 <= ended_s - (20_000 - BURST) / UNMEASURED_PER_S < 2


def test_a_pace_that_turns_out_better_is_used_at_once() -> None:
    worker = Worker()
    worker.pace.per_s = PER_S_MIN
    while worker.pace.let_in(resumes=False):
        pass
    waits_s = [worker.pace.turn_ms(resumes=False) / 1000 for _ in range(5000)]
    assert max(waits_s) <= TURN_MAX_S
    later = [wait_s for wait_s in waits_s if wait_s >= TURN_MAX_S / 2]
    assert len({round(wait_s, 1) for wait_s in later}) > 50, "not all at once"


def test_who_resumes_comes_first_and_the_new_ones_when_they_were_told() -> None:
    let_in = Worker().storm(resuming=4000, new=2000)
    last_resumed_s = max(at_s for at_s, resumes, _ in let_in if resumes)
    put_off = [(at_s, tries) for at_s, resumes, tries in let_in if not resumes and at_s > 0]
    assert len(put_off) == 2000
    assert min(put_off)[0] > last_resumed_s
    assert {tries for _, tries in put_off} == {1}


def test_new_ones_leave_room_for_those_who_resume() -> None:
    worker = Worker()
    come = sum(worker.pace.let_in(resumes=False) for _ in range(2 * BURST))
    assert come == BURST // 2
    assert worker.pace.let_in(resumes=True)
    assert not worker.pace.let_in(resumes=False)


def test_with_the_whole_core_nobody_is_put_off() -> None:
    worker = Worker(cpu_share=1.0)
    assert all(worker.pace.let_in(resumes=False) for _ in range(10 * BURST))


def test_a_slow_storm_is_learned_from_too() -> None:
    worker = Worker()
    for _ in range(120):
        worker.accept(15, 0.004)  # sixty a second: too few in each look, enough in a second
    assert 120 < worker.pace.per_s < 130, "half of a core, at four milliseconds each"
