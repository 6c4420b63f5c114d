"""The tasks of the fast transport's connections."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Protocol

import trio

from gateway.runtime.timeslice import turns

# What came in one read is handled for so long before it is the others' turn.
TURN_MAX_S = 0.0003
# Tasks kept for connections to come.
TASKS_IDLE_MAX = 256


class Served(Protocol):
    """A connection, as its task sees it."""

    work: Awaitable[None] | None

    @property
    def gone(self) -> bool:
        """Whether its socket is closed."""
        ...

    async def await_work(self, work: Awaitable[None]) -> None:
        """Await `work`, which it asked for."""
        ...

    def end(self) -> None:
        """The very end: nobody calls it any more."""
        ...


class ConnectionTask:
    """The task of one connection; when that is over it waits among `idle` for another.

    Starting and ending a task costs as much as half a handshake: clients that come and go don't pay it.
    """

    __slots__ = ("_idle", "_parked", "_turns", "connection")

    def __init__(self, idle: list[ConnectionTask]) -> None:
        self._turns = turns()
        self.connection: Served | None = None
        self._idle = idle
        self._parked: trio.lowlevel.Task | None = None

    async def run(self) -> None:
        """Await the connection's work, end the connection when it is gone."""
        until_s = 0.0
        try:
            while True:
                connection = self.connection
                if connection is not None and connection.gone:
                    self._leave()
                    if len(self._idle) >= TASKS_IDLE_MAX:
                        return
                    self._idle.append(self)
                elif connection is not None and connection.work is not None:
                    await connection.await_work(connection.work)
                    if connection.work is not None and time.perf_counter() > until_s:
                        await self._turns.next()  # the work may have waited for nothing
                        until_s = time.perf_counter() + TURN_MAX_S
                else:
                    self._parked = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._abort)
                    until_s = time.perf_counter() + TURN_MAX_S
        finally:
            self._leave()

    def wake(self) -> None:
        """There is work, or the connection is gone."""
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    def vacate(self) -> bool:
        """End the connection here and now, if that takes no task switch; False: `wake` does it soon.

        For callers that have nothing of the session on their stack.
        """
        if self._parked is None or len(self._idle) >= TASKS_IDLE_MAX:
            return False
        self._leave()
        self._idle.append(self)
        return True

    def _leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.end()

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED
