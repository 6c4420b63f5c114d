"""A thread that does one piece of work after the other.

Between two pieces it doesn't wait for the event loop, as with a limiter of one: beside a busy loop that took
longer than the work.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")


class Job:
    """A piece of work, and the task that waits for it, if it still does."""

    __slots__ = ("_task", "_token", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self._token = trio.lowlevel.current_trio_token()

    async def done(self) -> Any:
        """Its result, once it is done; when the caller is cancelled, the work is done all the same."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def run(self) -> None:
        """In the thread: do it, and tell the loop."""
        result = outcome.capture(self._work)
        with contextlib.suppress(trio.RunFinishedError):  # then nobody waits any more
            self._token.run_sync_soon(self._tell, result)

    def _tell(self, result: outcome.Outcome[Any]) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, result)


class Serial:
    """The thread, started with the first piece of work."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Do this after what was asked for before; raises what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        job = Job(work)
        self._jobs.put(job)
        result: T = await job.done()
        return result

    def stop(self) -> None:
        """End the thread after what was asked for before; a later `run` starts another."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
