"""Users' rates over all workers: what was spent here is told, what is left everywhere is learned.

It happens twice a second for those who edited since, and at once for a user who is unknown here or spends his
lease. Only an edit beyond the lease waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from gateway.admission import RateLimiter
from gateway.errors import LogUnavailable
from gateway.ports import RateStore, Spent
from gateway.runtime.outage import Outage

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
        self._outage = Outage(logger, "rates are limited by each worker for itself")
        self._told = trio.Event()  # of the exchange that begins next

    async def told(self) -> None:
        """Have others asked at once; returns when they have answered, or can't be reached."""
        self._asked.set()
        await self._told.wait()

    async def run(self) -> None:
        """Serve until cancelled. While the store can't be reached each worker limits for itself; while a part
        of it can't, those users that it knows."""
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
            told, self._asked, self._told = self._told, trio.Event(), trio.Event()
            reached = await self._exchange(reached)
            told.set()

    async def _exchange(self, reached: bool) -> bool:
        spent = self._limiter.spent()
        if not spent and reached:
            return True
        try:
            found = await self._store.spend(spent or {"": Spent(0.0)}, self._limiter.burst_s)
        except LogUnavailable as error:
            self._limiter.retell()
            self._outage.lasts(str(error))
            return False
        learned = {user_id: allowance for user_id, allowance in found.items() if user_id}
        self._limiter.learn(learned, self._now_s())
        if spent.keys() <= found.keys():
            self._outage.over()
        else:
            self._outage.lasts("some users' can't be told")
        return True
