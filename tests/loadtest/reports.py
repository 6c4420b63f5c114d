"""Made-up reports for tests: the real summary of made-up measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.evidence import Findings
from loadtest.histogram import Latencies
from loadtest.recorder import INTERVAL_S
from loadtest.scenario import parse
from loadtest.summary import Course, summarise

RATE = 100  # operations an interval
FANOUT = 4


def scenario_data(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "made <up>",
        "description": "a test & more",
        "stages": [
            {"name": "arrive", "duration_s": 2, "connections": 40, "measured": False},
            {"name": "hold", "duration_s": 8, "connections": 40},
        ],
        "population": {"documents": 4},
        "targets": {"delivery_p95_ms": 100, "delivery_p99_ms": 200},
    }
    return {**base, **changes}


def interval(number: int, delivery_ms: float = 20.0, rate: int = RATE, jitter: int = 0) -> dict[str, Any]:
    delivery, ack, lag = Latencies(), Latencies(), Latencies()
    delivery.record(int(delivery_ms * 1000) + 500 * (number % 3) + jitter, rate * FANOUT)
    ack.record(int(delivery_ms * 900), rate)
    lag.record(300, rate)
    counts = {
        "acks": rate,
        "scheduled": rate,
        "deliveries": rate * FANOUT,
        "messages": rate * (FANOUT + 1),
        "bytes_received": rate * 1000,
    }
    if number == 0:
        counts |= {"attempted": 40, "succeeded": 40}
    histograms = {"delivery": delivery.pairs(), "ack": ack.pairs(), "lag": lag.pairs()}
    histograms |= {"connect": ack.pairs(), "sync": ack.pairs()} if number == 0 else {}
    return {
        "number": number,
        "span_s": INTERVAL_S,
        "connections": 40 if number else 20,
        "put_off": 0,
        "cpu_s": 0.1,
        "cpu_here_s": 0.1,
        "counts": counts,
        "histograms": histograms,
    }


def sample(
    at_s: float, cores: float = 0.5, connections: int = 40, full: bool = False, others: float = 0.1
) -> dict[str, Any]:
    metrics = {
        'gateway_step_seconds_count{step="commit"}': 100 * at_s,
        'gateway_step_seconds_sum{step="commit"}': 0.2 * at_s,
        'gateway_step_seconds_bucket{le="0.001",step="commit"}': 50 * at_s,
        'gateway_step_seconds_bucket{le="0.005",step="commit"}': 99 * at_s,
        'gateway_step_seconds_bucket{le="+Inf",step="commit"}': 100 * at_s,
    }
    made: dict[str, Any] = {
        "at_s": at_s,
        "cpu_s": cores * at_s,
        "rss_bytes": 50_000_000 + 1_000_000 * at_s,
        "backing_cpu_s": 0.3 * at_s,
        "machine_cpu_s": (0.3 + cores + others + 0.2) * at_s,
        "connections": connections,
        "metrics": metrics,
        "full": full,
    }
    if full:
        made |= {
            "pss_bytes": 40_000_000 + 6000 * connections,
            "sockets": connections,
            "kernel_socket_bytes": 2000 * connections,
            "slab_socket_bytes": 4000,
        }
    return made


def report(
    delivery_ms: float = 20.0,
    rate: int = RATE,
    cores: float = 0.5,
    share: tuple[int, int] = (1, 1),
    findings: Findings | None = None,
    connections: int = 400,
    others: float = 0.1,
    intervals: Sequence[dict[str, Any]] = (),
    late: Mapping[str, Any] | None = None,
    after: Sequence[dict[str, Any]] = (),
    ended_early: str = "",
    server_died: str = "",
    **changes: Any,
) -> dict[str, Any]:
    """A report of ten seconds; by default a good one. `late` are the histograms of what came after them,
    `after` samples of then; `changes` are of the scenario."""
    last = {
        "number": 20,
        "span_s": 0.0,
        "connections": 40,
        "put_off": 0,
        "cpu_s": 0.0,
        "counts": {"unanswered": 0},
    }
    last |= {"histograms": late or {}, "until_s": 13.0}
    results = [{"late": [last], "errors": {"RATE_LIMITED": 2}, "closes": {"1001": 1}, "engine": "pure"}]
    samples = [
        sample(float(at), cores, connections if at else 0, at in (0, 2, 10), others) for at in range(11)
    ]
    return summarise(
        parse(scenario_data(**changes)),
        intervals or [interval(number, delivery_ms, rate) for number in range(20)],
        results,
        [*samples, *after],
        findings or Findings(),
        Course(1_790_000_000.0, share=share, ended_early=ended_early, server_died=server_died),
    )
