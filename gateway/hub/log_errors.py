"""Calls of the log that failed: counted, and told to those who needed an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import LogUnavailable, Refusal, unavailable
from gateway.runtime.log_failures import log_failures
from gateway.runtime.metrics import Counters


def counted_unavailable(counters: Counters, error: LogUnavailable, outcome: str = "none") -> Refusal:
    """The refusal of what needed this call of the log, which is counted as failed and logged."""
    counted(counters, error)
    return unavailable(error, outcome)


def counted(counters: Counters, error: LogUnavailable) -> None:
    """Count a call of the log that failed, and have the node's log say why."""
    counters.log_errors += 1
    log_failures.failed(error)


@contextmanager
def is_done() -> Iterator[None]:
    """Around what follows an act that is done: whoever asked for it isn't told that nothing was."""
    try:
        yield
    except Refusal as refusal:
        refusal.details["outcome"] = "unknown"
        raise
