"""Long work in slices, so that one task never holds the loop for long."""

from __future__ import annotations

from collections.abc import Callable

import trio

SLICE_S = 0.005
# A slice of what may take long and is a few users' own: one of them at a time, so each is short.
TURN_S = 0.001


class FairTurns:
    """Tasks that each have much to do go on one after the other: everybody else runs between any two."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = trio.Lock()  # first come, first served

    async def next(self) -> None:
        """Wait for the next turn."""
        await self._lock.acquire()
        self._lock.release()


_turns: trio.lowlevel.RunVar[FairTurns] = trio.lowlevel.RunVar("turns")


def turns() -> FairTurns:
    """Those of this event loop, shared by all that is one user's own work."""
    try:
        return _turns.get()
    except LookupError:
        _turns.set(FairTurns())
        return _turns.get()


class Slices:
    """Lets other tasks run between pieces of work, about every `SLICE_S`; with `turns` every `TURN_S`, and
    then it is others' turn too that wait for one."""

    __slots__ = ("_began_s", "_now_s", "_slice_s", "_turns", "_worked_s")

    def __init__(self, now_s: Callable[[], float], turns: FairTurns | None = None) -> None:
        self._now_s = now_s
        self._turns = turns
        self._slice_s = SLICE_S if turns is None else TURN_S
        self._began_s = now_s()
        self._worked_s = 0.0

    @property
    def over(self) -> bool:
        """Whether a pause is due: `pause` asks by itself, this spares its call."""
        return self._now_s() - self._began_s >= self._slice_s

    @property
    def worked_s(self) -> float:
        """How long the work took so far, without the pauses."""
        return self._worked_s + self._now_s() - self._began_s

    async def pause(self) -> None:
        """A checkpoint, when one is due."""
        if self.over:
            self._worked_s = self.worked_s
            if self._turns is None:
                await trio.lowlevel.checkpoint()
            else:
                await self._turns.next()
            self._began_s = self._now_s()
