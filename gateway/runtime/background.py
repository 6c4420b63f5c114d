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

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def start(self, work: Callable[[*Arguments], Awaitable[object]], *args: *Arguments) -> None:
        """Have something done soon."""
        assert self._nursery is not None, "nobody runs the background"
        self._nursery.start_soon(work, *args)
