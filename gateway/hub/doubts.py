"""Events that a calendar's index has to be compared with, by calendar.

They are compared gently, one after the other. One that takes long, for its server is slow or away, holds up
none of those that wait already: beside it they go on, up to a bound. Then come those that were added since,
and those whose log was away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import trio

from gateway.runtime.background import Background

RETRY_PAUSE_S = 1.0
# The next comparison waits for one at most so long; so many of a calendar are under way at most.
PATIENCE_S = 0.25
AT_ONCE_MAX = 16


class Doubts:
    """See the module. `compared` compares a calendar's index with an event; False: the log is away."""

    def __init__(self, compared: Callable[[str, str], Awaitable[bool]], background: Background) -> None:
        self._compared = compared
        self._background = background
        self._names: dict[str, dict[str, None]] = {}  # ids of events, by calendar

    def add(self, calendar: str, names: Iterable[str]) -> None:
        """Have an index compared with events; with those whose log is away again after a pause."""
        if calendar not in self._names:
            self._names[calendar] = {}
            self._background.start(self._compare, calendar)
        self._names[calendar].update(dict.fromkeys(names))

    async def _compare(self, calendar: str) -> None:
        names = self._names[calendar]
        while names:
            away = await self._compared_once(calendar, names)
            if away:
                await trio.sleep(RETRY_PAUSE_S)
                names.update(dict.fromkeys(away))
        del self._names[calendar]

    async def _compared_once(self, calendar: str, names: dict[str, None]) -> list[str]:
        """Compare with what is in `names`, which is taken from there; those whose log is away."""
        away, places = list[str](), trio.Semaphore(AT_ONCE_MAX)

        async def compare(name: str, done: trio.Event) -> None:
            if not await self._compared(calendar, name):
                away.append(name)
            places.release()
            done.set()

        async with trio.open_nursery() as nursery:
            while names:
                await places.acquire()
                name, _ = names.popitem()
                done = trio.Event()
                nursery.start_soon(compare, name, done)
                with trio.move_on_after(PATIENCE_S):
                    await done.wait()
        return away
