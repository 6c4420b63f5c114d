"""For how long a task holds the event loop: from one of its waits to the next."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Later:
    """Work that is awaited once what ends it is known, or closed where nobody will await it."""

    __slots__ = ("_ended", "_work")

    def __init__(
        self,
        work: Coroutine[Any, Any, None],
        ended: Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]],
    ) -> None:
        self._work = work
        self._ended = ended

    def __await__(self) -> Generator[Any, Any, None]:
        return self._ended(self._work).__await__()

    def close(self) -> None:
        """It isn't awaited any more."""
        self._work.close()


class Metered:
    """Awaits a coroutine; `held` is told of each of its steps how many seconds of `now_s` it took."""

    __slots__ = ("_held", "_now_s", "_work")

    def __init__(
        self, work: Coroutine[Any, Any, Any], now_s: Callable[[], float], held: Callable[[float], None]
    ) -> None:
        self._work = work
        self._now_s = now_s
        self._held = held

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            began_s = self._now_s()
            try:
                wanted = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration as done:
                return done.value
            finally:
                self._held(self._now_s() - began_s)
            value = error = None
            try:
                value = yield wanted
            except BaseException as thrown:  # a cancellation, or a failed wait: the coroutine's to handle
                error = thrown
