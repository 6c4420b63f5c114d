"""Servers that are away when a node starts: it waits for them, or ends, as it was told."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import trio

from gateway.errors import LogUnavailable, StoreAway

logger = logging.getLogger(__name__)

PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 10.0


async def reached(work: Callable[[], Awaitable[None]], what: str, waits: bool) -> None:
    """Do `work` until it doesn't raise LogUnavailable, with growing pauses.

    Raises StoreAway unless it `waits`.
    """
    pause_s = PAUSE_MIN_S
    while True:
        try:
            return await work()
        except LogUnavailable as error:
            if not waits:
                raise StoreAway(
                    f"{error}; start it, or have the gateway wait for it: leave --no-wait out"
                ) from error
            logger.warning("waiting for %s: %s. Next try in %.1f s", what, error, pause_s)
        await trio.sleep(pause_s * random.uniform(0.75, 1.0))
        pause_s = min(2 * pause_s, PAUSE_MAX_S)
