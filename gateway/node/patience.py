"""Servers that are away when a worker starts: it waits for them for a while, and then ends."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import trio

from gateway.errors import LogUnavailable, StoreAway

logger = logging.getLogger(__name__)

PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 5.0


class Patience:
    """What a start has left for all servers that it waits for: `most_s`, from the first on. `awaited`: which
    of them it waits for, and why, for people; "" while it doesn't."""

    def __init__(self, most_s: float) -> None:
        self.awaited = ""
        self._most_s = most_s
        self._began_s: float | None = None

    async def reached(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        """Do `work` until it doesn't raise LogUnavailable, with growing pauses, of which each is told.

        Raises StoreAway when the start has lasted for `most_s`.
        """
        pause_s = PAUSE_MIN_S
        if self._began_s is None:
            self._began_s = trio.current_time()
        while True:
            try:
                await work()
                self.awaited = ""
                return
            except LogUnavailable as error:
                self.awaited = f"waiting for {what}: {error}"
                passed_s = trio.current_time() - self._began_s
                if passed_s >= self._most_s:
                    raise StoreAway(f"{error}; {self._way_out()}") from error
                logger.warning(
                    "waiting for %s, %.0f s into the start: %s. Next try in %.1f s",
                    *(what, passed_s, error, pause_s),
                )
            await trio.sleep(min(pause_s * random.uniform(0.75, 1.0), self._most_s - passed_s))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _way_out(self) -> str:
        if not self._most_s:
            return "see that it answers, or have the gateway wait for it: leave --no-wait out"
        longer = f"have it waited for longer than {self._most_s:g} s: server.start_wait_max_s"
        return f"see that it answers, or {longer}"
