"""What the system knows of the processes of a node, by the names that prometheus_client has for it.

Its own collector lists a process's descriptors to count them: 11.5 ms a scrape for 15,000, in which whoever
scrapes a lone node asks for the interpreter as often.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.runtime.interpreter import open_descriptors
from gateway.runtime.memory import PAGE_BYTES

KeyedFamily = CounterMetricFamily | GaugeMetricFamily

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
GAUGES = {
    "process_virtual_memory_bytes": "Virtual memory size in bytes.",
    "process_resident_memory_bytes": "Resident memory size in bytes.",
    "process_start_time_seconds": "Start time of the process since unix epoch in seconds.",
    "process_open_fds": "Number of open file descriptors.",
    "process_max_fds": "Maximum number of open file descriptors.",
}
COUNTERS = {"process_cpu_seconds": "Total user and system CPU time spent in seconds."}


class ProcessesCollector(Collector):
    """CPU, memory, descriptors and start of each process, labelled `worker`; given as label and id."""

    def __init__(self, processes: Iterable[tuple[str, int]]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[KeyedFamily]:
        """The families, each with a sample of every process that is there."""
        families: dict[str, KeyedFamily] = {}
        for name, help in GAUGES.items():
            families[name] = GaugeMetricFamily(name, help, labels=["worker"])
        for name, help in COUNTERS.items():
            families[name] = CounterMetricFamily(name, help, labels=["worker"])
        for label, pid in self._processes:
            for name, value in _values(pid).items():
                families[name].add_metric([label], value)
        yield from families.values()


def _values(pid: int) -> Mapping[str, float]:
    """By name; empty for a process that is gone, and where the system doesn't tell (proc(5))."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return {
            "process_virtual_memory_bytes": int(stat[20]),
            "process_resident_memory_bytes": int(stat[21]) * PAGE_BYTES,
            "process_start_time_seconds": booted_s() + int(stat[19]) / TICKS_A_SECOND,
            "process_open_fds": open_descriptors(pid),
            "process_max_fds": _descriptors_max(pid),
            "process_cpu_seconds": (int(stat[11]) + int(stat[12])) / TICKS_A_SECOND,
        }
    except OSError:
        return {}


def _descriptors_max(pid: int) -> float:
    soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


@cache
def booted_s(proc: Path = PROC) -> float:
    """When the machine was started, in Unix seconds; read once, for not all kernels tell it twice alike.

    Raises OSError where that isn't told.
    """
    for line in (proc / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise OSError(f"{proc}/stat doesn't say when the machine was started")
