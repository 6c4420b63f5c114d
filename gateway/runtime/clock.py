"""The clocks: the wall clock, as messages and records are stamped with it, and the event loop's."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time_ns

import trio


def unix_ms() -> int:
    """The present, in Unix milliseconds."""
    now_ns = time_ns()
    return now_ns // 1_000_000


class SteadyClock(trio.abc.Clock):
    """Trio's own clock, without the calls around it: a node asks it a dozen times for each edit."""

    __slots__ = ()
    current_time = staticmethod(perf_counter)

    def start_clock(self) -> None:
        """It runs."""

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Seconds until then."""
        return deadline - perf_counter()


class LoopClock:
    """`trio.current_time`, in s, for who asks for each message: the loop's clock is looked up once.

    Of one run of a loop; it may be made before that begins.
    """

    __slots__ = ("_read",)

    def __init__(self) -> None:
        self._read: Callable[[], float] | None = None

    def __call__(self) -> float:
        if self._read is None:
            self._read = trio.lowlevel.current_clock().current_time
        return self._read()
