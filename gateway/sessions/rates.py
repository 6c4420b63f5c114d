"""Users' rates over all workers: what was spent here is told, what is left everywhere is learned.

No edit waits for that. It happens twice a second for those who edited since, and at once for a user who is
unknown here or spends his lease.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from gateway.admission import RateLimiter
from gateway.errors import LogUnavailable
from gateway.ports import RateStore

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
# A crowd that comes together is asked for together.
AT_ONCE_S = 0.005
RETRY_PAUSE_S = 1.0


class RateSharing:
    """Keeps a worker's limiter and the store in step."""

    def __init__(self, limiter: RateLimiter, store: RateStore, now_s: Callable[[], float]) -> None:
        self._limiter = limiter
        self._store = store
        self._now_s = now_s
        self._asked = trio.Event()

    async def run(self) -> None:
        """Serve until cancelled. While the store can't be reached each worker limits for itself."""
        reached = True
        while True:
            if reached:
                self._limiter.share(self._asked.set)
                with trio.move_on_after(INTERVAL_S):
                    await self._asked.wait()
                await trio.sleep(AT_ONCE_S)
            else:
                self._limiter.unshare()
                await trio.sleep(RETRY_PAUSE_S)
            self._asked = trio.Event()
            reached = await self._exchange(reached)

    async def _exchange(self, reached: bool) -> bool:
        spent = self._limiter.spent()
        if not spent and reached:
            return True
        try:
            full_in_s = await self._store.spend(spent or {"": 0.0})
        except LogUnavailable as error:
            self._limiter.retell()
            if reached:
                logger.warning("rates are limited by each worker for itself: %s", error)
            return False
        full_in_s = {user_id: seconds for user_id, seconds in full_in_s.items() if user_id}
        self._limiter.learn(full_in_s, self._now_s())
        if not reached:
            logger.info("rates are limited over all workers again")
        return True
