"""What tests of the load harness share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def hangups() -> Iterator[None]:
    """A SIGHUP ends a process, as at a terminal, though who runs the tests may have it ignored (`nohup`)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
