"""An instrument: for how long work holds the event loop, in CPU of this thread, whatever the machine does."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from gateway.sessions.metered import Metered


class Held:
    """The longest time for which one piece of work kept everybody else waiting, and all of it."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.total_s = 0.0

    def note(self, seconds: float) -> None:
        self.longest_s = max(self.longest_s, seconds)
        self.total_s += seconds

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await, and note each step."""
        return await Metered(work, time.thread_time, self.note)
