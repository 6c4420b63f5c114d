"""What a node does to its interpreter and asks of its machine."""

from __future__ import annotations

import gc
import itertools
import resource
import sys
import time
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio

from gateway.runtime import interpreter
from gateway.runtime.metrics import Counters
from tests.waiting import unawaited


@pytest.fixture
def descriptor_limits():
    """Restores the soft limit of descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_everything_is_as_before_after_a_node():
    gc.unfreeze()  # Python 3.12 begins with some objects frozen
    before = gc.get_threshold(), sys.getswitchinterval(), list(gc.callbacks), gc.get_freeze_count()
    with interpreter.runtime(Counters()) as runtime:
        runtime.started()
        assert gc.get_threshold() == interpreter.GC_THRESHOLDS
        assert sys.getswitchinterval() == pytest.approx(interpreter.SWITCH_INTERVAL_S)
        assert gc.get_freeze_count() > 10_000
    assert (gc.get_threshold(), sys.getswitchinterval(), list(gc.callbacks), gc.get_freeze_count()) == before


def test_pauses_of_the_collector_are_measured():
    counters = Counters()
    with interpreter.runtime(counters):
        started_s = time.perf_counter()
        gc.collect()
        took_s = time.perf_counter() - started_s
    assert counters.gc_pause_seconds.count >= 1
    assert counters.gc_pause_seconds.sum > 0
    gc.collect()
    assert counters.gc_pause_seconds.sum < 10 * took_s + 1


async def test_a_loop_that_is_blocked_shows_in_the_lag(autojump_clock, monkeypatch):
    monkeypatch.setattr(interpreter, "LAG_INTERVAL_S", 0.02)
    counters = Counters()
    async with unawaited() as nursery:
        nursery.start_soon(interpreter.measure_loop_lag, counters)
        await trio.sleep(0.05)
        autojump_clock.jump(0.3)
        await trio.sleep(0.05)
    assert counters.loop_lag_seconds.count >= 3
    assert sum(counters.loop_lag_seconds.counts[8:]) == 1  # the one above 250 ms
    assert counters.loop_lag_seconds.bounds[8] == 0.25


def test_the_soft_limit_is_raised_as_far_as_it_is_needed(descriptor_limits):
    _, hard = descriptor_limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    assert interpreter.connections_possible(10_000) == min(512, hard) - interpreter.DESCRIPTORS_RESERVED
    assert interpreter.raise_descriptors(1000) is None
    assert interpreter.descriptors().soft == 1000 + interpreter.DESCRIPTORS_RESERVED
    assert interpreter.connections_possible(1000) == 1000
    assert interpreter.raise_descriptors(10) is None
    assert interpreter.descriptors().soft == 1000 + interpreter.DESCRIPTORS_RESERVED


def test_a_hard_limit_that_is_too_low_gets_the_command_that_raises_it():
    remedy = interpreter.descriptors_remedy(50_000, hard=4096)
    assert remedy is not None
    for word in ("ulimit -Hn 50256", "LimitNOFILE=50256", "nofile=50256", "connections_max to 3840"):
        assert word in remedy
    assert interpreter.descriptors_remedy(50_000, hard=50_256) is None


def test_a_backlog_that_the_kernel_cuts_gets_the_command_that_raises_it(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "SOMAXCONN", tmp_path / "somaxconn")
    assert interpreter.backlog_remedy(4096) is None
    (tmp_path / "somaxconn").write_text("128\n")
    assert "net.core.somaxconn=4096" in (interpreter.backlog_remedy(4096) or "")
    assert interpreter.backlog_remedy(128) is None


class Knot:
    """Refers to itself, so only the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def quiet(monkeypatch):
    """No CPU is used, as far as the node can tell."""
    busy_s = itertools.count(step=0.0)
    monkeypatch.setattr(time, "process_time", lambda: next(busy_s))


@pytest.fixture
def busy(monkeypatch):
    """A core is used up."""
    busy_s = itertools.count(step=interpreter.QUIET_INTERVAL_S)
    monkeypatch.setattr(time, "process_time", lambda: next(busy_s))


async def among(objects: int, has_cycles: bool) -> None:
    """Old objects are collected, among so many that came since the start."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(interpreter.collect_old, has_cycles)
        await trio.sleep(interpreter.QUIET_INTERVAL_S / 2)
        held = [[] for _ in range(objects)]
        await trio.sleep(2 * interpreter.COLLECT_AFTER_MAX_S)
        held.clear()


async def test_old_cycles_are_collected_once_a_minute_when_it_is_quiet(autojump_clock, quiet):
    lived_s = await lives_s(Knot(), among, 500, False)
    assert lived_s == interpreter.COLLECT_AFTER_S


async def test_a_node_that_is_never_quiet_collects_them_in_the_end(autojump_clock, busy):
    lived_s = await lives_s(Knot(), among, 500, False)
    assert lived_s == interpreter.COLLECT_AFTER_MAX_S


async def test_many_objects_are_not_looked_through(autojump_clock, quiet):
    with trio.move_on_after(2 * interpreter.COLLECT_AFTER_MAX_S) as scope:
        await lives_s(Knot(), among, 100_000, False)
    assert scope.cancelled_caught


async def test_they_are_where_closed_connections_are_cycles(autojump_clock, quiet):
    lived_s = await lives_s(Knot(), among, 100_000, True)
    assert lived_s == interpreter.COLLECT_AFTER_MAX_S


async def test_what_is_new_is_looked_through_before_it_is_old(autojump_clock):
    fresh = [[] for _ in range(interpreter.YOUNG_OBJECTS + 1)]
    lived_s = await lives_s(Knot(), interpreter.collect_young, Counters())
    assert lived_s == interpreter.YOUNG_INTERVAL_S
    assert len(fresh) > interpreter.YOUNG_OBJECTS


async def test_changes_are_new_though_as_much_went(autojump_clock):
    counters = Counters()

    async def collecting():
        counters.operations_committed = interpreter.YOUNG_CHANGES - 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interpreter.collect_young, counters)
            await trio.sleep(2.5 * interpreter.YOUNG_INTERVAL_S)
            counters.changes_received = 20

    gc.collect()
    assert await lives_s(Knot(), collecting) == 3 * interpreter.YOUNG_INTERVAL_S


def test_of_what_comes_at_once_no_collection_looks_through_much():
    looked_through: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looked_through.append(sum(len(gc.get_objects(each)) for each in range(info["generation"] + 1)))

    with interpreter.runtime(Counters()) as runtime:
        runtime.started()
        gc.callbacks.append(look)
        try:
            fresh = [[] for _ in range(20 * interpreter.GC_THRESHOLDS[0])]
        finally:
            gc.callbacks.remove(look)
    assert len(fresh) > sum(looked_through) / 2, "each is looked through twice at most"
    assert len(looked_through) >= 10
    assert max(looked_through) < 2.2 * interpreter.GC_THRESHOLDS[0]


async def lives_s(knot: Knot, collecting: Callable[..., Awaitable[None]], *arguments: object) -> float:
    """How long, on the mock clock, a cycle lives that nothing else refers to, beside such a task."""
    ended = trio.Event()
    weakref.finalize(knot, ended.set)
    del knot
    gc.disable()
    try:
        async with unawaited() as nursery:
            nursery.start_soon(collecting, *arguments)
            started_s = trio.current_time()
            await ended.wait()
        return trio.current_time() - started_s
    finally:
        gc.enable()
