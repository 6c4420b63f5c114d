"""A few connections, each used by one worker thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import trio

from gateway.errors import LogUnavailable


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
T = TypeVar("T")


class Pool(Generic[C]):
    """Lends at most `most` connections, made by `make` in the thread when they are needed.

    A connection whose borrower raised isn't used again.
    """

    def __init__(self, make: Callable[[], C], most: int) -> None:
        self._make = make
        self._limiter = trio.CapacityLimiter(most)
        self._free: list[C] = []
        self._closed = threading.Event()

    async def run(self, work: Callable[[C], T]) -> T:
        """Do `work` in a worker thread. When the caller is cancelled the work goes on by itself."""
        return await trio.to_thread.run_sync(self._lend, work, limiter=self._limiter, abandon_on_cancel=True)

    def close(self) -> None:
        """Close the connections; those that are lent, when they come back."""
        self._closed.set()
        while self._free:
            self._free.pop().close()

    def _lend(self, work: Callable[[C], T]) -> T:
        if self._closed.is_set():
            raise LogUnavailable("the log is closed", "none")
        connection = self._free.pop() if self._free else self._make()
        try:
            found = work(connection)
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)
        if self._closed.is_set():
            self.close()
        return found
