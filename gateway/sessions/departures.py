"""Sessions that have ended leave their rooms: few at once, many in turns, for each room tells who stays.

Nobody meets half of it. The session is told nothing more and does nothing more from the first room on; who
comes back into a room that he is still to leave leaves it first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from gateway.runtime.timeslice import Slices, turns

if TYPE_CHECKING:
    from gateway.sessions.session import ClientSession, Subscription

# So many rooms are left at once.
AT_ONCE = 16


class _Departure:
    """The `subscriptions` that a session is still to leave."""

    __slots__ = ("session", "subscriptions", "user_id")

    def __init__(self, session: ClientSession, subscriptions: dict[str, Subscription]) -> None:
        self.session = session
        self.user_id = session.known_identity().user_id
        self.subscriptions = subscriptions

    def leave_one(self) -> None:
        _, subscription = self.subscriptions.popitem()
        self.session.leave(subscription)


class Departures:
    """See the module. `run` must be running."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._under_way: deque[_Departure] = deque()
        self._of_user: dict[str, list[_Departure]] = {}
        self._begun = trio.Event()
        self._over = trio.Event()

    def begin(self, session: ClientSession, subscriptions: dict[str, Subscription]) -> None:
        """A session has ended: leave these, which it doesn't know any more."""
        if len(subscriptions) <= AT_ONCE:
            for subscription in subscriptions.values():
                session.leave(subscription)
            return
        departure = _Departure(session, subscriptions)
        self._under_way.append(departure)
        self._of_user.setdefault(departure.user_id, []).append(departure)
        self._begun.set()

    def leave_first(self, user_id: str, resource: str) -> None:
        """The user comes into a room: his sessions that are about to leave it do so now."""
        for departure in self._of_user.get(user_id, ()):
            subscription = departure.subscriptions.pop(resource, None)
            if subscription is not None:
                departure.session.leave(subscription)

    async def run(self) -> None:
        """Have them leave, until cancelled."""
        while True:
            await self._begun.wait()
            slices = Slices(self._now_s, turns())
            while self._under_way:
                await slices.pause()
                departure = self._under_way[0]
                while departure.subscriptions and not slices.over:
                    departure.leave_one()
                if not departure.subscriptions:
                    self._end(self._under_way.popleft())
            self._begun = trio.Event()
            self._over.set()

    def _end(self, departure: _Departure) -> None:
        of_user = self._of_user[departure.user_id]
        of_user.remove(departure)
        if not of_user:
            del self._of_user[departure.user_id]

    async def over(self) -> None:
        """Wait until all have left."""
        if self._under_way:
            self._over = trio.Event()
            await self._over.wait()
