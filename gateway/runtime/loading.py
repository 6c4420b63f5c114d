"""While a command's modules load: Ctrl-C ends the process in silence, as it ends most programs.

Nothing is looked through for garbage meanwhile: modules stay. An eighth of the time went there.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def loading() -> Iterator[None]:
    """Around imports that take a while. The status is 130 in a shell; who ignores Ctrl-C goes on to."""
    with _no_collections(), _ctrl_c_ends():
        yield


@contextmanager
def _no_collections() -> Iterator[None]:
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _ctrl_c_ends() -> Iterator[None]:
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
