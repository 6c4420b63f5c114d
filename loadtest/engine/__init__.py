"""The engine of a generator process: the compiled one of `_speedups`, or its pure twin.

`GATEWAY_SPEEDUPS` decides, as it does for the gateway's own kernels (see `gateway.runtime.speedups`).
"""

from __future__ import annotations

from typing import cast

from gateway.runtime import speedups
from loadtest.engine import pure
from loadtest.engine.judge import (
    CLOSED,
    DUPLICATE,
    GAP,
    MALFORMED,
    MESSAGE,
    METRICS,
    OPENED,
    REJECTED,
    REORDERED,
    TWICE_ACKNOWLEDGED,
    Event,
)
from loadtest.engine.pure import Engine

__all__ = [
    "CLOSED",
    "DUPLICATE",
    "FAULTS",
    "GAP",
    "MALFORMED",
    "MESSAGE",
    "METRICS",
    "OPENED",
    "REJECTED",
    "REORDERED",
    "TWICE_ACKNOWLEDGED",
    "Engine",
    "Event",
    "implementation",
    "make_engine",
]

FAULTS = {
    GAP: "gaps",
    DUPLICATE: "duplicates",
    REORDERED: "reordered",
    TWICE_ACKNOWLEDGED: "lost_acknowledged",
    MALFORMED: "malformed",
}


def implementation() -> str:
    """ "compiled" or "pure": which engine `make_engine` makes."""
    return "pure" if speedups.load("loadgen") is None else "compiled"


def make_engine() -> Engine:
    """A new engine; the compiled one has the same methods."""
    kernel = speedups.load("loadgen")
    return pure.Engine() if kernel is None else cast("Engine", kernel.Engine())
