"""Users' rates over all workers: what was spent here is told, what is left everywhere is learned.

It happens twice a second for those who edited since, and at once for a user who is unknown here or spends his
lease. Only an edit beyond the lease waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

import trio

from gateway.admission import RateLimiter
from gateway.admission.lending import Lending
from gateway.errors import LogUnavailable
from gateway.ports import RateStore, Spent
from gateway.runtime.outage import Outage

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
# A crowd that comes together is asked for together.
AT_ONCE_S = 0.005
RETRY_PAUSE_S = 1.0
# Who is asked about where nobody could be: no user's name.
ANYBODY = ""


class RateSharing:
    """Keeps a worker's limiter and the store in step.

    Each part of the store is told for itself, and a user is told of once at a time: whoever hangs keeps only
    its own users waiting.
    """

    def __init__(self, limiter: RateLimiter, store: RateStore, now_s: Callable[[], float]) -> None:
        self._limiter = limiter
        self._store = store
        self._now_s = now_s
        self._asked = trio.Event()
        self._outage = Outage(logger, "rates are limited by each worker for itself")
        self._is_reached = True
        self._waiting: dict[str, trio.Event] = {}  # users, for the exchange of theirs that begins next
        self._limiter.share(self._ask)

    async def told(self, user_id: str) -> None:
        """Have others asked at once of a user who has to be; returns when they have answered, or can't be
        reached."""
        if not self._is_reached:
            return
        answered = self._waiting.setdefault(user_id, trio.Event())
        self._ask()
        await answered.wait()

    async def run(self) -> None:
        """Serve until cancelled. While the store can't be reached each worker limits for itself; while a part
        of it can't, those users that it knows."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._find_again)
            while True:
                with trio.move_on_after(INTERVAL_S):
                    await self._asked.wait()
                await trio.sleep(AT_ONCE_S)
                self._asked = trio.Event()
                if self._is_reached:
                    for spent in self._by_part():
                        nursery.start_soon(self._exchange, spent, self._begun(spent))

    def _ask(self) -> None:
        self._asked.set()

    def _by_part(self) -> Collection[Mapping[str, Spent]]:
        """What is to be told, to each part of the store."""
        parts: dict[int, dict[str, Spent]] = {}
        for user_id, spent in self._limiter.spent().items():
            parts.setdefault(self._store.part(user_id), {})[user_id] = spent
        return parts.values()

    def _begun(self, user_ids: Iterable[str]) -> Collection[trio.Event]:
        """Those who wait for what is told next of these users."""
        return [self._waiting.pop(user_id) for user_id in user_ids if user_id in self._waiting]

    async def _exchange(self, spent: Mapping[str, Spent], waiting: Collection[trio.Event]) -> None:
        """Tell a part of the store, and learn."""
        try:
            found = await self._store.spend(spent, self._limiter.burst_s)
        except LogUnavailable as error:
            if error.outcome == "none":
                self._lending.retell(spent)
            self._lending.leave(spent, self._now_s())
            self._lose(error)
        else:
            left_out = spent.keys() - found.keys()
            self._limiter.learn(found, self._now_s())
            self._lending.leave(left_out, self._now_s())
            self._release(self._begun(left_out))
            self._note(left_out)
        self._release(waiting)
        if self._waiting.keys() & spent.keys():
            self._ask()

    def _release(self, waiting: Iterable[trio.Event]) -> None:
        for event in waiting:
            event.set()

    @property
    def _lending(self) -> Lending:
        assert self._limiter.lending is not None, "it is shared from the beginning"
        return self._limiter.lending

    def _lose(self, error: LogUnavailable) -> None:
        """Nobody can be asked."""
        self._outage.lasts(str(error))
        self._is_reached = False
        self._lending.leave((ANYBODY,), self._now_s())
        self._limiter.unshare()
        self._release(self._begun(list(self._waiting)))

    def _note(self, left_out: Collection[str]) -> None:
        """These were asked about, and nobody answered."""
        if left_out:
            self._outage.lasts(f"some users' can't be told: {self._store.trouble}")
        elif not self._lending.alone:
            self._outage.over()

    async def _find_again(self) -> None:
        """Ask now and then whether somebody answers again of those who are alone."""
        while True:
            await trio.sleep(RETRY_PAUSE_S)
            asked = dict.fromkeys(self._lending.alone, Spent(0.0))
            if not asked:
                continue
            try:
                found = await self._store.spend(asked, self._limiter.burst_s)
            except LogUnavailable as error:
                self._lose(error)
                continue
            self._lending.rejoin(found.keys(), self._now_s())
            self._is_reached = True
            self._limiter.share(self._ask)
            self._note(asked.keys() - found.keys())
