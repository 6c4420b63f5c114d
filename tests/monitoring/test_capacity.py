"""How many more connections a worker takes: each bound, from what is measured."""

from __future__ import annotations

import contextlib
import resource

from gateway.node.capacity import CONNECTION_BYTES, DESCRIPTORS_SPARE, MEMORY_SHARE, Capacity
from gateway.runtime import memory
from gateway.runtime.metrics import Counters


class Clocks:
    """CPU time and the monotonic clock, set by hand."""

    def __init__(self) -> None:
        self.cpu_s = self.now_s = 0.0

    def run(self, seconds: float, share: float) -> None:
        self.now_s += seconds
        self.cpu_s += seconds * share


def capacity(counters: Counters, clocks: Clocks, most: int = 1000, workers: int = 1) -> Capacity:
    return Capacity(counters, most, workers, lambda: clocks.cpu_s, lambda: clocks.now_s)


def test_the_limit_bounds_what_is_left():
    counters = Counters()
    counters.connections = 990
    assert capacity(counters, Clocks()).measure()["limit"] == 10


def test_a_process_that_runs_out_of_descriptors_takes_fewer():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = capacity(Counters(), Clocks())
    before = found.measure()["descriptors"]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_SPARE + 30, hard))
        assert found.measure()["descriptors"] < 30 < before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_each_descriptor_that_is_open_is_one_less(tmp_path):
    found = capacity(Counters(), Clocks())
    before = found.measure()["descriptors"]
    with contextlib.ExitStack() as stack:
        for number in range(20):
            stack.enter_context((tmp_path / str(number)).open("w"))
        assert found.measure()["descriptors"] == before - 20
    assert found.measure()["descriptors"] == before


def test_cpu_bounds_it_once_there_is_something_to_measure():
    counters, clocks = Counters(), Clocks()
    found = capacity(counters, clocks, 100_000)
    clocks.run(60, 0.4)
    assert "cpu" not in found.measure(), "nobody is there whose cost could be told"
    counters.connections = 2000
    clocks.run(60, 0.4)
    assert abs(found.measure()["cpu"] - 2000) < 10  # at 0.8 of a core there are twice as many
    clocks.run(60, 0.9)
    assert found.measure()["cpu"] == 0


def test_memory_is_shared_among_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 8 << 30)
    alone, two = (capacity(Counters(), Clocks(), 1 << 30, workers).measure()["memory"] for workers in (1, 2))
    assert alone == int(MEMORY_SHARE * (8 << 30)) // CONNECTION_BYTES
    assert abs(alone - 2 * two) <= 2


def test_a_container_bounds_the_memory_of_its_machine(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    assert memory.available_bytes(meminfo, tmp_path) == 8_000_000 * 1024
    for name, text in {
        "max": "1000000000",
        "current": "700000000",
        "stat": "inactive_file 200000000",
    }.items():
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    assert memory.available_bytes(meminfo, tmp_path) == 500_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(meminfo, tmp_path) == 8_000_000 * 1024


def test_this_process_uses_memory_and_the_machine_has_some():
    assert memory.resident_bytes() > 1 << 20
    assert (memory.available_bytes() or 0) > 0
