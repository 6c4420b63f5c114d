"""The wall clock, as messages and records are stamped with it."""

from __future__ import annotations

import time


def unix_ms() -> int:
    """The present, in Unix milliseconds."""
    return time.time_ns() // 1_000_000
