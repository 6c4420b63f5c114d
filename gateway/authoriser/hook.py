"""A Python function as authoriser: an async one under Trio, or an ordinary one in a thread."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import trio

from gateway.errors import AuthoriserError, ConfigError
from gateway.ports import Question

logger = logging.getLogger(__name__)

# Threads that an ordinary function may hold, be it that it never returns.
THREADS_MAX = 16


class HookAuthoriser:
    """The function that `MODULE:FUNCTION` names. Raises ConfigError where there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._decide = _found(path)
        self._is_async = inspect.iscoroutinefunction(self._decide)
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    async def decide(self, questions: Sequence[Question]) -> Sequence[object]:
        """See the port."""
        try:
            found: Sequence[object] = await self._called(questions)
        except Exception as error:
            logger.debug("%s failed", self._path, exc_info=error)
            raise AuthoriserError("unreachable", f"{self._path} raised {error!r}"[:300]) from error
        return found

    async def _called(self, questions: Sequence[Question]) -> Any:
        if self._is_async:
            return await self._decide(questions)
        return await trio.to_thread.run_sync(
            self._decide, questions, limiter=self._threads, abandon_on_cancel=True
        )


def _found(path: str) -> Callable[[Sequence[Question]], Any]:
    module_name, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"authoriser.hook = {path!r} can't be imported: {error}. It is MODULE:FUNCTION, "
            "and MODULE must be installed or on PYTHONPATH"
        ) from None
    if not callable(found):
        raise ConfigError(f"authoriser.hook = {path!r} is no function")
    return found  # type: ignore[no-any-return]
