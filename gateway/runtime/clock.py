"""The wall clock, as messages and records are stamped with it."""

from __future__ import annotations

from time import time_ns


def unix_ms() -> int:
    """The present, in Unix milliseconds."""
    now_ns = time_ns()
    return now_ns // 1_000_000
