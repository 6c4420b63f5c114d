"""Long work in slices, so that one task never holds the loop for long."""

from __future__ import annotations

from collections.abc import Callable

import trio

SLICE_S = 0.005


class Slices:
    """Lets other tasks run between pieces of work, about every `SLICE_S`."""

    __slots__ = ("_now_s", "_until_s")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._until_s = now_s() + SLICE_S

    async def pause(self) -> None:
        """A checkpoint, when one is due."""
        if self._now_s() >= self._until_s:
            await trio.lowlevel.checkpoint()
            self._until_s = self._now_s() + SLICE_S
