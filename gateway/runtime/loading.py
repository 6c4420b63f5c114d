"""Ctrl-C, also while a command's modules load: it ends the process in silence, as it ends most programs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def loading() -> Iterator[None]:
    """Around imports that take a while. The status is 130 in a shell; who ignores Ctrl-C goes on to."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_by_ctrl_c() -> NoReturn:
    """End as by a Ctrl-C that nobody heeds, once what was to be done about it is."""
    with suppress(OSError):
        print(end="", flush=True)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    raise SystemExit(130)  # where somebody has blocked it
