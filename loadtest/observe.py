"""The server's side of a run: its metrics, CPU, memory, and what its sockets hold in the kernel.

A *sample* is plain JSON data, taken every second (`cheap`) and at the stages' ends (`full`):

    at_s, cpu_s, rss_bytes, backing_cpu_s, machine_cpu_s, connections, metrics   always
    pss_bytes, kernel_socket_bytes, sockets, slab_socket_bytes          full only, None where unreadable
    workers                                                             full only: processes that serve
"""

from __future__ import annotations

import http.client
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from loadtest.processes import family

SOCKET_SLABS = ("TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq")
STEPS = ("receive", "admit", "transform", "commit", "fan_out", "flush")
STEP_METRIC = "gateway_step_seconds"
APPENDS_METRIC = "gateway_commit_seconds_count"
BATCHES_METRIC = "gateway_batches_total"
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[^}]*\})?) (\S+)")
_MEMORY = re.compile(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)")


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus text as {name with labels: value}."""
    found = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match:
            found[match[1]] = float(match[2])
    return found


def scrape(admin_url: str) -> dict[str, float]:
    """The node's metrics; empty when they can't be had."""
    try:
        with urllib.request.urlopen(f"{admin_url}/metrics", timeout=5) as answer:
            return parse_metrics(answer.read().decode())
    except (OSError, ValueError, http.client.HTTPException):
        return {}


def _workers(pid: int) -> int:
    """How many serve: those below a supervisor, or the process itself."""
    try:
        return max(len(psutil.Process(pid).children()), 1)
    except psutil.NoSuchProcess:
        return 0


def _machine_cpu_s() -> float:
    """CPU seconds that all processes of this machine have used."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _pss_bytes(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def socket_memory(port: int) -> tuple[int, int] | None:
    """(sockets, bytes of their buffers) on the server's side of a port; None without `ss`.

    Bytes are what the kernel accounts: receive queue, send queue and what is allocated ahead.
    """
    command = [
        "ss",
        "--no-header",
        "--tcp",
        "--memory",
        "--numeric",
        "state",
        "established",
        f"sport = :{port}",
    ]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = _MEMORY.findall(said)
    return len(found), sum(int(received) + int(ahead) + int(queued) for received, _, ahead, queued in found)


def slab_socket_bytes(text: str | None = None) -> int | None:
    """What the kernel's slabs take for one socket, its file and epoll entry; None where unreadable."""
    if text is None:
        try:
            text = Path("/proc/slabinfo").read_text()
        except OSError:
            return None
    sizes = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in SOCKET_SLABS:
            sizes[words[0]] = int(words[3])
    return sum(sizes.values()) if "TCP" in sizes else None


@dataclass(frozen=True, slots=True)
class Pids:
    """Processes of this machine, each with all below it: of the server, and of what it stands on (databases,
    a load balancer). No server: another machine's, of which only the metrics are known."""

    server: Sequence[int] = ()
    backing: Sequence[int] = ()


class Observer:
    """Samples of one server. `pids` says who it is at the moment: processes die and are replaced."""

    def __init__(self, url: str, admin_url: str | None, pids: Callable[[], Pids]) -> None:
        self._pids, self._admin_url = pids, admin_url
        self._port = urlsplit(url).port or 80
        self._server_cpu_s: dict[int, float] = {}
        self._backing_cpu_s: dict[int, float] = {}

    def sample(self, at_s: float, full: bool) -> dict[str, Any]:
        """A sample as of now. Blocking: call it in a thread."""
        metrics = scrape(self._admin_url) if self._admin_url else {}
        sample: dict[str, Any] = {
            "at_s": at_s,
            "cpu_s": None,
            "rss_bytes": None,
            "backing_cpu_s": time.process_time() + self._used(self._pids().backing, self._backing_cpu_s)[0],
            "machine_cpu_s": _machine_cpu_s(),
            "connections": metrics.get("websocket_connections_total"),
            "metrics": metrics,
        }
        if self._pids().server:
            sample |= self._process(full)
        return sample

    @staticmethod
    def _used(pids: Sequence[int], last_cpu_s: dict[int, float]) -> tuple[float, int]:
        """(CPU seconds, those of the dead included; resident bytes) of some processes and all below them."""
        resident = 0
        for process in (one for pid in pids for one in family(pid)):
            try:
                times = process.cpu_times()
                last_cpu_s[process.pid] = times.user + times.system
                resident += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return sum(last_cpu_s.values()), resident

    def _process(self, full: bool) -> dict[str, Any]:
        pids = self._pids().server
        cpu_s, resident = self._used(pids, self._server_cpu_s)
        found: dict[str, Any] = {"cpu_s": cpu_s, "rss_bytes": resident or None}
        if full:
            pss = [_pss_bytes(process.pid) for pid in pids for process in family(pid)]
            sockets = socket_memory(self._port)
            found["pss_bytes"] = sum(filter(None, pss)) or None
            found["sockets"], found["kernel_socket_bytes"] = sockets or (None, None)
            found["slab_socket_bytes"] = slab_socket_bytes()
            found["workers"] = sum(map(_workers, pids))
        return found


def cores(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """The CPU that the server used from one sample to another; None where one of them doesn't know it."""
    if None in (before["cpu_s"], after["cpu_s"]):
        return None
    used_s, span_s = after["cpu_s"] - before["cpu_s"], after["at_s"] - before["at_s"]
    return float(used_s / max(span_s, 0.01))


def increase(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    """By how much a counter grew (from 0, where the server is a new one)."""
    grown = after.get(name, 0.0) - before.get(name, 0.0)
    return after.get(name, 0.0) if grown < 0 else grown


def appends(
    before: Mapping[str, float], after: Mapping[str, float], span_s: float
) -> dict[str, float | None]:
    """Appends to the log and batches in them, a second between two scrapes; None where nothing is told."""
    if APPENDS_METRIC not in after or span_s <= 0:
        return {"appends_per_s": None, "batches_per_s": None}
    return {
        "appends_per_s": increase(before, after, APPENDS_METRIC) / span_s,
        "batches_per_s": increase(before, after, BATCHES_METRIC) / span_s,
    }


def steps_ms(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Mean and p95 (a bucket's upper bound) of each step of an edit between two scrapes, in ms."""
    found = {}
    for step in STEPS:
        label = f'step="{step}"'
        count = increase(before, after, f"{STEP_METRIC}_count{{{label}}}")
        if count:
            total_s = increase(before, after, f"{STEP_METRIC}_sum{{{label}}}")
            found[step] = {
                "mean": 1000 * total_s / count,
                "p95": 1000 * _quantile(before, after, step, 0.95 * count),
            }
    return found


def _quantile(before: Mapping[str, float], after: Mapping[str, float], step: str, wanted: float) -> float:
    bounds = []
    for name in after:
        if name.startswith(f"{STEP_METRIC}_bucket") and f'step="{step}"' in name:
            bound = re.search(r'le="([^"]+)"', name)
            if bound:
                bounds.append((float(bound[1].replace("+Inf", "inf")), name))
    for bound_s, name in sorted(bounds):
        if increase(before, after, name) >= wanted:
            return bound_s if bound_s != float("inf") else sorted(bounds)[-2][0]
    return 0.0


def memory_of_a_connection(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Bytes of PSS, of socket buffers and of slab for one connection; None without two full samples.

    PSS is the growth from the sample with the fewest connections to that with the most, so what the server
    takes by itself isn't counted.
    """
    full = [one for one in samples if one.get("pss_bytes") and one.get("sockets") is not None]
    if len(full) < 2:
        return None
    low = min(full, key=lambda one: one["sockets"])
    high = max(full, key=lambda one: one["sockets"])
    more = high["sockets"] - low["sockets"]
    if more < 50:
        return None
    return {
        "connections": high["sockets"],
        "pss_bytes": (high["pss_bytes"] - low["pss_bytes"]) / more,
        "socket_buffer_bytes": high["kernel_socket_bytes"] / high["sockets"],
        "slab_bytes": high["slab_socket_bytes"],
    }
