"""Signals that end a run. By themselves they would leave behind what it has started."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

import trio

Handler = Callable[[int, FrameType | None], None] | signal.Handlers
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

    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [number for number in REASONS if not (nohup and number == signal.SIGHUP)]
    with _handled(numbers, heed):
        yield reasons


def ignored() -> AbstractContextManager[None]:
    """For what is short, and is to be whole whatever comes."""
    return _handled(REASONS, signal.SIG_IGN)


@contextmanager
def _handled(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
