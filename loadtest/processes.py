"""Processes with what is below them: the workers of a supervisor, the indexer of a lone node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

TIMEOUT_S = 10.0  # where nobody takes note of their end they seem to be there for ever


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it; nobody where it is gone."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def orphans_killed(pid: int) -> Iterator[None]:
    """Whoever kills this process in here leaves none of those below it behind: they would go on writing in
    its directory until they see that it is gone."""
    below = family(pid)[1:]
    yield
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(below, TIMEOUT_S)
