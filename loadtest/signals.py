"""Signals that end a run. By themselves they would leave behind what it has started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import trio

REASONS = {
    signal.SIGTERM: "from outside",
    signal.SIGINT: "by Ctrl-C",
    signal.SIGHUP: "when its terminal was closed",
}


@contextmanager
def heeded(scope: trio.CancelScope) -> Iterator[list[str]]:
    """Have a signal cancel `scope`; yields why, once for each signal that came.

    A SIGHUP that is ignored already (by `nohup`) stays so.
    """
    reasons: list[str] = []
    token = trio.lowlevel.current_trio_token()

    def end(number: int) -> None:
        reasons.append(f"the run was ended {REASONS[signal.Signals(number)]}")
        scope.cancel()

    def heed(number: int, frame: FrameType | None) -> None:
        token.run_sync_soon(end, number)

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [number for number in REASONS if not (ignored and number == signal.SIGHUP)]
    before = {number: signal.signal(number, heed) for number in numbers}
    try:
        yield reasons
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
