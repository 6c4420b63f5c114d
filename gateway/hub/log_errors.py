"""Calls of the log that failed: counted, and told to those who needed an answer."""

from __future__ import annotations

from gateway.errors import LogUnavailable, Refusal, unavailable
from gateway.runtime.metrics import Counters


def counted_unavailable(counters: Counters, error: LogUnavailable, outcome: str = "none") -> Refusal:
    """The refusal of what needed this call of the log, which is counted as failed."""
    counters.log_errors += 1
    return unavailable(error, outcome)
