"""What the fast transport's connections share: the load, the flusher, the sweep, the poller."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from _speedups.fanout import Frame, Members, Slots
from gateway.config import Config
from gateway.runtime.histogram import STEP_BOUNDS_S, Histogram
from gateway.runtime.metrics import Counters
from gateway.transport.fast.context import READS_WAIT_BUSY_MAX, TransportContext
from gateway.transport.fast.loop import (
    PASS_MAX_S,
    READ,
    READS_WAIT_MAX_S,
    REST_S,
    REST_TICK_S,
    SLOW_PASS_S,
    WRITE,
    WRITES_WAIT_MAX_S,
    Flusher,
    Load,
    Poller,
    Ready,
    Rests,
    Sweep,
    tick_s,
)
from tests.clocks import Clock
from tests.waiting import unawaited, until


def run_load(load: Load, clock: Clock, busy: float, seconds: float) -> None:
    """Let the loop run passes of 10 ms that are busy for this share."""
    for _ in range(round(seconds / 0.01)):
        clock.now_s += 0.01 * busy
        load.before_io_wait(1.0)
        clock.now_s += 0.01 * (1 - busy)
        load.after_io_wait(1.0)


def test_frames_are_joined_for_longer_the_busier_the_loop_is() -> None:
    clock = Clock()
    load = Load(0.020, clock)
    run_load(load, clock, 0.3, 1.0)
    assert load.interval_s == 0.0
    assert abs(load.busy - 0.3) < 0.02
    run_load(load, clock, 0.8, 1.0)  # time is left, and waiting would only be later
    assert load.interval_s == 0.0
    run_load(load, clock, 0.9, 1.0)
    middle_s = load.interval_s
    assert 0.005 < middle_s < 0.019
    run_load(load, clock, 1.0, 1.0)
    assert load.interval_s == 0.020
    run_load(load, clock, 0.1, 1.0)
    assert load.interval_s == 0.0


async def test_the_flusher_writes_what_was_queued_in_slices_and_passes_on_reports() -> None:
    slots, members, reports = Slots(), Members(), []
    pairs = [socket.socketpair() for _ in range(30)]
    for ours, _ in pairs:
        members.add(slots.add(ours.fileno()))
    pairs[7][1].close()
    written = Histogram(STEP_BOUNDS_S)
    flusher = Flusher(slots, reports.append, 0, 0.0, written)
    async with unawaited() as nursery:
        nursery.start_soon(flusher.run)
        await trio.testing.wait_all_tasks_blocked()
        for text in (b"a", b"b"):
            slots.publish(members, ([Frame(text)],))
            flusher.wake()
        await trio.testing.wait_all_tasks_blocked()
    assert slots.dirty_slots == 0
    assert [report[0] for report in reports] == [list(members)[7]]
    for number, (ours, theirs) in enumerate(pairs):
        if number != 7:
            assert theirs.recv(10) == b"ab"
        ours.close()
        theirs.close()


class Alarm:
    """Notes when it was checked."""

    def __init__(self) -> None:
        self.due_s: float | None = None
        self.checked: list[float] = []

    def check(self, now_s: float) -> None:
        self.checked.append(now_s)


def test_the_sweep_checks_once_when_due_and_never_early() -> None:
    sweep, alarm = Sweep(1.0), Alarm()
    sweep.at(5.5, alarm)
    list(sweep.run_until(5.4))
    assert alarm.checked == []
    list(sweep.run_until(6.0))
    list(sweep.run_until(9.0))
    assert alarm.checked == [6.0]


def test_an_earlier_appointment_replaces_a_later_one_and_a_cancelled_one_is_let_go() -> None:
    sweep, alarm, gone = Sweep(1.0), Alarm(), Alarm()
    sweep.at(30.0, alarm)
    sweep.at(3.0, alarm)
    sweep.at(3.0, gone)
    held = sys.getrefcount(gone)
    sweep.cancel(gone)
    assert sys.getrefcount(gone) == held - 1
    list(sweep.run_until(4.0))
    assert alarm.checked == [4.0]
    list(sweep.run_until(60.0))
    assert alarm.checked == [4.0]
    assert gone.checked == []


def test_a_later_appointment_replaces_an_earlier_one() -> None:
    sweep, alarm = Sweep(1.0), Alarm()
    sweep.at(3.0, alarm)
    sweep.at(30.0, alarm)
    list(sweep.run_until(10.0))
    assert alarm.checked == []
    list(sweep.run_until(31.0))
    assert alarm.checked == [31.0]


def test_a_tick_is_fine_enough_for_the_shortest_timeout() -> None:
    assert tick_s((30.0, 10.0)) == 0.1
    assert tick_s((30.0, 0.25)) == 0.05
    assert tick_s((0.001, 5.0)) == 0.005


class Owner:
    """Notes what the poller says; `on_ready` may do more."""

    def __init__(self) -> None:
        self.flags: list[int] = []
        self.evicts: tuple[Poller, int] | None = None

    def ready(self, flags: int) -> None:
        self.flags.append(flags)
        if self.evicts is not None:
            self.evicts[0].remove(self.evicts[1])


class Patient:
    """An endpoint whose edits gather for a while."""

    WAIT_S = 0.007

    def edits_wait_s(self) -> float:
        return self.WAIT_S


class Sleeper:
    """When it rested."""

    def __init__(self) -> None:
        self.rested_s: list[float] = []

    def rested(self) -> None:
        self.rested_s.append(trio.current_time())


async def test_who_rests_is_woken_once_and_may_rest_again(autojump_clock) -> None:
    rests, first, second = Rests(), Sleeper(), Sleeper()
    async with unawaited() as nursery:
        nursery.start_soon(rests.run)
        began_s = trio.current_time()
        rests.add(first)
        await trio.sleep(2 * REST_S)
        rests.add(second)
        await trio.sleep(2 * REST_S)
        for sleeper, rested_from_s in ((first, began_s), (second, began_s + 2 * REST_S)):
            [woken_s] = sleeper.rested_s
            assert 0.5 * REST_S <= woken_s - rested_from_s <= 1.5 * REST_S + 2 * REST_TICK_S
        rests.add(first)
        await trio.sleep(2 * REST_S)
        assert (len(first.rested_s), len(second.rested_s)) == (2, 1)


async def test_who_began_to_rest_at_once_comes_back_spread_over_the_time(autojump_clock) -> None:
    """All at once they would be more than can be committed, and then nobody would come for a while."""
    rests, sleepers = Rests(), [Sleeper() for _ in range(1000)]
    async with unawaited() as nursery:
        nursery.start_soon(rests.run)
        for sleeper in sleepers:
            rests.add(sleeper)
        await trio.sleep(2 * REST_S)
    woken = Counter(sleeper.rested_s[0] for sleeper in sleepers)
    assert max(woken.values()) < 300
    assert len(woken) >= REST_S / REST_TICK_S - 1


async def until_true(condition: Callable[[], bool]) -> None:
    """Without any time going by."""
    for _ in range(1000):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("it never became true")


async def until_called(owners: list[Owner]) -> None:
    await until(lambda: any(owner.flags for owner in owners), every_s=0.001)


async def test_the_poller_calls_for_what_is_watched() -> None:
    poller, owner = Poller(), Owner()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.watch(ours.fileno(), READ, owner)
        async with unawaited() as nursery:
            nursery.start_soon(poller.run)
            await trio.testing.wait_all_tasks_blocked()
            assert owner.flags == []
            poller.watch(ours.fileno(), READ | WRITE, owner)
            await until_called([owner])
            assert set(owner.flags) == {WRITE}
            poller.watch(ours.fileno(), 0, owner)
            poller.remove(ours.fileno())
            owner.flags.clear()
            theirs.send(b"x")
            await trio.sleep(0.02)
            assert owner.flags == []
            poller.watch(ours.fileno(), READ, owner)
            await until_called([owner])
            assert owner.flags[0] == READ
    poller.close()


async def test_an_owner_that_another_one_removed_is_not_called_any_more() -> None:
    poller, owners = Poller(), [Owner(), Owner()]
    pairs = [socket.socketpair() for _ in owners]
    for owner, (ours, theirs) in zip(owners, pairs, strict=True):
        poller.watch(ours.fileno(), READ, owner)
        theirs.send(b"x")
    for owner, other in ((owners[0], 1), (owners[1], 0)):
        owner.evicts = (poller, pairs[other][0].fileno())
    async with unawaited() as nursery:
        nursery.start_soon(poller.run)
        await until_called(owners)
        await trio.sleep(0.01)
    assert sorted(bool(owner.flags) for owner in owners) == [False, True]
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()


async def test_whose_last_call_took_long_is_called_after_the_others_and_few_at_a_time() -> None:
    """Ten whose messages are much work, and one whose are little: it waits for one of them at the most."""
    now_s, called = 0.0, []

    class Sender:
        def __init__(self, name: str, cost_s: float) -> None:
            self.name, self.cost_s = name, cost_s

        def ready(self, flags: int) -> None:
            nonlocal now_s
            now_s += self.cost_s
            called.append(self.name)

    poller = Poller(clock=lambda: now_s)
    pairs = [socket.socketpair() for _ in range(11)]
    for number, (ours, theirs) in enumerate(pairs):
        slow = number < 10
        poller.watch(
            ours.fileno(), READ, Sender(f"slow {number}" if slow else "light", 0.002 if slow else 0.00001)
        )
        theirs.send(b"x")  # nobody reads it: all are always ready
    for _ in range(40):
        poller._pass()
    of_ten = called[-20:]
    assert of_ten.count("light") == 10
    assert sorted(set(of_ten)) == ["light", *(f"slow {number}" for number in range(10))], "each has its turn"
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()


async def test_what_is_not_needed_yet_is_read_at_once_when_it_is(autojump_clock):
    """Two clients send, one some time after the other."""
    waits, passes = [0.020], []
    poller = Poller(reads_wait_s=lambda: waits.pop(0) if waits else 0.0)

    class Reader:
        def __init__(self, fd: int) -> None:
            self.fd = fd

        def ready(self, flags: int) -> None:
            passes.append((trio.current_time() - began_s, os.read(self.fd, 10)))

    (one, its), (other, others) = socket.socketpair(), socket.socketpair()
    with one, its, other, others:
        for end in (one, other):
            poller.watch(end.fileno(), READ, Reader(end.fileno()))
        async with unawaited() as nursery:
            began_s = trio.current_time()
            its.send(b"first")
            nursery.start_soon(poller.run)
            await trio.sleep(0.010)
            others.send(b"second")
            await trio.sleep(0.005)
            assert passes == []
            await trio.sleep(0.010)
            assert [read for _, read in passes] == [b"first", b"second"]
            assert [at_s for at_s, _ in passes] == pytest.approx([0.020, 0.020])
            others.send(b"third")
            await until_true(lambda: len(passes) == 3)
            assert passes[-1] == (pytest.approx(0.025), b"third"), "nothing says that it may wait"
    poller.close()


async def served(poller: Poller, done: Callable[[], bool], wait_s: float = READS_WAIT_MAX_S) -> None:
    """Let it run until something is done, which takes one wait and no more."""
    async with unawaited() as nursery:
        nursery.start_soon(poller.run)
        await trio.sleep(wait_s - 0.001)
        assert not done()
        await trio.sleep(0.001)
        await until_true(done)


@asynccontextmanager
async def senders(
    poller: Poller, owners: Sequence[Ready], data: bytes = b"x"
) -> AsyncIterator[Sequence[int]]:
    """For each owner a socket that has something to read; their descriptors."""
    pairs = [socket.socketpair() for _ in owners]
    for owner, (ours, theirs) in zip(owners, pairs, strict=True):
        poller.watch(ours.fileno(), READ, owner)
        theirs.send(data)
    yield [ours.fileno() for ours, _ in pairs]
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()


class Slow:
    """What a pass has to do ends with one call of it; what was sent is read then."""

    def __init__(self, clock: Clock, cost_s: float) -> None:
        self.clock, self.cost_s, self.fd = clock, cost_s, -1
        self.calls = 0

    def ready(self, flags: int) -> None:
        self.clock.now_s += self.cost_s
        self.calls += 1
        os.read(self.fd, 1)


@pytest.mark.parametrize(
    ("cost_s", "many", "size"),
    [(1.5 * PASS_MAX_S, 6, 1), (2 * SLOW_PASS_S, 20, 1), (0.0, 1, 10), (0.0, 600, 1)],
    ids=["who wasn't called", "who is slow", "more than one read", "more than one poll"],
)
async def test_reading_waits_once_however_many_passes_it_takes(autojump_clock, cost_s, many, size):
    """What a pass leaves waits no more."""
    clock = Clock()
    owners = [Slow(clock, cost_s) for _ in range(many)]
    poller = Poller(clock=clock, reads_wait_s=lambda: 10.0)
    async with senders(poller, owners, b"x" * size) as fds:
        for owner, fd in zip(owners, fds, strict=True):
            owner.fd = fd
        await served(poller, lambda: all(owner.calls == size for owner in owners))


async def test_slow_ones_of_before_wait_no_longer_than_others(autojump_clock):
    clock = Clock()
    owners = [Slow(clock, 2 * SLOW_PASS_S) for _ in range(10)]
    poller = Poller(clock=clock, reads_wait_s=lambda: 10.0)
    async with senders(poller, owners, b"xx") as fds:
        for owner, fd in zip(owners, fds, strict=True):
            owner.fd = fd
        await served(poller, lambda: all(owner.calls == 2 for owner in owners))


async def test_where_somebody_waits_to_write_the_wait_is_short(autojump_clock):
    clock, owner = Clock(), Slow(Clock(), 0.0)
    poller = Poller(clock=clock, reads_wait_s=lambda: 10.0)
    full, other = socket.socketpair()
    with full, other:
        full.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                full.send(b"x" * 65536)
        poller.watch(full.fileno(), READ | WRITE, Owner())
        async with senders(poller, [owner]) as fds:
            owner.fd = fds[0]
            await served(poller, lambda: owner.calls == 1, WRITES_WAIT_MAX_S)
            poller.watch(full.fileno(), READ, Owner())
            assert poller._wait_s() == READS_WAIT_MAX_S
            poller.watch(full.fileno(), WRITE, Owner())
            poller.remove(full.fileno())
            assert poller._wait_s() == READS_WAIT_MAX_S


async def test_who_is_to_be_refused_is_read_at_once(autojump_clock):
    owner = Slow(Clock(), 0.0)
    poller = Poller(overloaded=lambda: True, reads_wait_s=lambda: 10.0)
    async with senders(poller, [owner]) as fds, unawaited() as nursery:
        owner.fd = fds[0]
        nursery.start_soon(poller.run)
        await until_true(lambda: owner.calls == 1)


@pytest.mark.parametrize(("busy", "waits"), [(0.3, True), (READS_WAIT_BUSY_MAX + 0.1, False)])
def test_a_loop_with_little_time_left_does_not_spend_it_waiting(busy: float, waits: bool) -> None:
    context = TransportContext(Config(), Counters())
    context.endpoint = Patient()
    clock = Clock()
    load = context.flusher.load = Load(0.0, clock)
    run_load(load, clock, busy, 1.0)
    assert context.poller._reads_wait_s() == (Patient.WAIT_S if waits else 0.0)
    context.poller.close()
