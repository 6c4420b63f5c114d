"""Waiting for who is behind: as long as that gets less, and not for ever."""

from __future__ import annotations

from collections.abc import Callable

import trio

INTERVAL_S = 0.05
PATIENCES_MAX = 8


async def until_none(left: Callable[[], int], patience_s: float) -> None:
    """Return once nothing is `left`.

    Or it hasn't got less for `patience_s`, or PATIENCES_MAX times that has passed altogether.
    """
    began_s = trio.current_time()
    last_s = began_s + PATIENCES_MAX * patience_s
    limit_s, waiting = began_s + patience_s, left()
    while waiting and trio.current_time() < min(limit_s, last_s):
        await trio.sleep(INTERVAL_S)
        now = left()
        if now < waiting:
            waiting, limit_s = now, trio.current_time() + patience_s
