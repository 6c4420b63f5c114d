"""Waits for what nothing signals, and tasks that nobody waits for."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

T = TypeVar("T")
Asked = Callable[[], Awaitable[T] | T]
# Ends what hangs, and decides nothing: what takes a second takes a minute where the machine is busy.
PATIENCE_S = 300.0


async def until(
    holds: Asked[T | None], what: str = "", within_s: float = PATIENCE_S, every_s: float = 0.01
) -> T:
    """The first true answer of a function, plain or async; fails, with `what`, when none comes in time."""
    answer: T = await _first(holds, bool, what, within_s, every_s)
    return answer


async def until_equal(read: Asked[T], wanted: T, within_s: float = PATIENCE_S, every_s: float = 0.01) -> None:
    """Wait until a function, plain or async, gives this; fails with what it gave at last."""
    await _first(read, lambda found: found == wanted, repr(wanted), within_s, every_s)


async def _first(
    asked: Asked[Any], enough: Callable[[Any], bool], what: str, within_s: float, every_s: float
) -> Any:
    answer = None
    with trio.move_on_after(within_s):
        while not enough(answer := await _answer(asked())):  # noqa: ASYNC110  (the one place for it)
            await trio.sleep(every_s)
        return answer
    raise AssertionError(f"it didn't come to pass in {within_s:g} s{what and f': {what}'}; last: {answer!r}")


async def _answer(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given


@asynccontextmanager
async def unawaited() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks end with the block."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()
