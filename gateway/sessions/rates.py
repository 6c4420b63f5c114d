"""Users' rates over all workers: what was spent here is told, what is left everywhere is learned.

It happens twice a second for those who edited since, and at once for a user who is unknown here or spends his
lease. Only an edit beyond the lease waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress

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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._share)
            nursery.start_soon(self._find_alone)

    async def _share(self) -> None:
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
        """Tell and learn; whether the store was reached. One that wasn't is only asked whether it is now."""
        spent = self._limiter.spent() if reached else {"": Spent(0.0)}
        if not spent:
            return True
        try:
            found = await self._store.spend(spent, self._limiter.burst_s)
        except LogUnavailable as error:
            self._outage.lasts(str(error))
            if error.outcome == "none":
                self._limiter.retell()
            else:
                self._limiter.learn({}, self._now_s())
            return False
        self._limiter.learn({user: left for user, left in found.items() if user}, self._now_s())
        if self._alone or spent.keys() - found.keys():
            self._outage.lasts(f"some users' can't be told: {self._store.trouble}")
        else:
            self._outage.over()
        return True

    @property
    def _alone(self) -> Collection[str]:
        lending = self._limiter.lending
        return () if lending is None else lending.alone

    async def _find_alone(self) -> None:
        """Ask now and then whether somebody answers again of those who are alone. The others don't wait for
        that: a server that hangs takes its time."""
        while True:
            await trio.sleep(RETRY_PAUSE_S)
            if not self._alone:
                continue
            asked = dict.fromkeys(self._alone, Spent(0.0))
            with suppress(LogUnavailable):
                found = await self._store.spend(asked, self._limiter.burst_s)
                assert self._limiter.lending is not None
                self._limiter.lending.rejoin(found, self._now_s())
