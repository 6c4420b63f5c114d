"""Processes with what is below them: the workers of a supervisor, the indexer of a lone node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

TIMEOUT_S = 10.0
POLL_S = 0.01


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it; nobody where it is gone."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def orphans_killed(pid: int) -> Iterator[list[psutil.Process]]:
    """Whoever kills this process in here leaves none of those below it behind: they would go on writing in
    its directory until they see that it is gone. Gives those, for `until_ended`."""
    below = family(pid)[1:]
    yield below
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def until_ended(killed: Sequence[psutil.Process]) -> Iterator[float]:
    """How long to sleep, again and again, until they have ended; no longer than TIMEOUT_S in all."""
    for _ in range(round(TIMEOUT_S / POLL_S)):
        if all(map(has_ended, killed)):
            return
        yield POLL_S


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; whoever is to take note of that may be slow, or never do it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
