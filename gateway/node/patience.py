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


async def reached(work: Callable[[], Awaitable[None]], what: str, most_s: float) -> None:
    """Do `work` until it doesn't raise LogUnavailable, with growing pauses, of which each is told.

    Raises StoreAway when that has lasted for `most_s`.
    """
    began_s, pause_s = trio.current_time(), PAUSE_MIN_S
    while True:
        try:
            return await work()
        except LogUnavailable as error:
            passed_s = trio.current_time() - began_s
            if passed_s >= most_s:
                raise StoreAway(f"{error}; {_way_out(most_s)}") from error
            logger.warning(
                "waiting for %s, for %.0f s now: %s. Next try in %.1f s", what, passed_s, error, pause_s
            )
        await trio.sleep(min(pause_s * random.uniform(0.75, 1.0), most_s - passed_s))
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _way_out(most_s: float) -> str:
    if not most_s:
        return "start it, or have the gateway wait for it: leave --no-wait out"
    return f"start it, or have it waited for longer than {most_s:g} s: server.start_wait_max_s"
