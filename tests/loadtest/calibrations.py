"""Calibrations of a capacity plan, made up."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from loadtest.capacity.model import CPU_TERMS, CostModel, fit

BASE, A_CONNECTION, A_CONNECT, AN_OPERATION, A_DELIVERY = 0.02, 2e-6, 300e-6, 30e-6, 5e-6
LATENCY = 90
COSTS = np.array([A_CONNECTION, A_CONNECT, AN_OPERATION, A_DELIVERY])


def point(
    connections: float, operations: float, fanout: float, noise: float = 0.0, connects: float = 0.0
) -> Any:
    """A stage of a server with known costs; its latency grows as LATENCY * an edit's cost / (1 - CPU)."""
    load = np.array([connections, connects, operations, operations * fanout])
    cpu = (BASE + float(load @ COSTS)) * (1 + noise)
    return {
        **dict(zip(CPU_TERMS, load.tolist(), strict=True)),
        "stage": "hold",
        "settled": not connects,
        "status": "pass",
        "bytes_per_s": 250 * operations * (fanout + 1),
        "cpu_cores": cpu,
        "pss_bytes": 40e6 + 6000 * connections + 2000 * operations,
        "socket_bytes": 4500 * connections,
        "p95_ms": LATENCY * 1000 * (AN_OPERATION + fanout * A_DELIVERY) / (1 - cpu) if cpu < 1 else 5000.0,
    }


def calibration(noise: float = 0.0, seed: int = 5) -> list[Any]:
    rng = np.random.default_rng(seed)
    points = [
        point(connections, operations, fanout, noise * rng.normal())
        for connections in (300, 1200, 3000)
        for operations in (500, 3000, 9000)
        for fanout in (1, 5)
    ]
    return points + [point(connections, 0, 0, connects=200.0) for connections in (500, 1500)]


@cache
def exact() -> CostModel:
    return fit(calibration())
