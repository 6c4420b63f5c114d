"""Long work in slices, so that one task never holds the loop for long."""

from __future__ import annotations

from collections.abc import Callable

import trio

SLICE_S = 0.005


class Slices:
    """Lets other tasks run between pieces of work, about every `SLICE_S`."""

    __slots__ = ("_began_s", "_now_s", "_worked_s")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._began_s = now_s()
        self._worked_s = 0.0

    @property
    def over(self) -> bool:
        """Whether a pause is due: `pause` asks by itself, this spares its call."""
        return self._now_s() - self._began_s >= SLICE_S

    @property
    def worked_s(self) -> float:
        """How long the work took so far, without the pauses."""
        return self._worked_s + self._now_s() - self._began_s

    async def pause(self) -> None:
        """A checkpoint, when one is due."""
        if self.over:
            self._worked_s = self.worked_s
            await trio.lowlevel.checkpoint()
            self._began_s = self._now_s()
