"""Tasks that several parts begin as they need them, beside each other in one nursery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import trio

Arguments = TypeVarTuple("Arguments")


class Background:
    """Where tasks are begun that nobody waits for. `run` must be running; they end with it."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._ended = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._ended = True

    def start(self, work: Callable[[*Arguments], Awaitable[object]], *args: *Arguments) -> None:
        """Have something done soon; not at all, once the background ends."""
        assert self._nursery is not None, "nobody runs the background"
        if not self._ended:
            self._nursery.start_soon(work, *args)
