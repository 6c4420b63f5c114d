"""Python functions as authoriser: async ones under Trio, or ordinary ones in threads."""

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


class _Function:
    """What a setting names as `MODULE:FUNCTION`. Raises ConfigError where there is none."""

    def __init__(self, setting: str, path: str) -> None:
        self._path = path
        self._function = _found(setting, path)
        self._is_async = inspect.iscoroutinefunction(self._function)
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    async def __call__(self, *arguments: object) -> Any:
        """What it returns; raises AuthoriserError for whatever it raises."""
        try:
            return await self._called(arguments)
        except Exception as error:
            logger.debug("%s failed", self._path, exc_info=error)
            raise AuthoriserError("unreachable", f"{self._path} raised {error!r}"[:300]) from error

    async def _called(self, arguments: Sequence[object]) -> Any:
        if self._is_async:
            return await self._function(*arguments)
        return await trio.to_thread.run_sync(
            self._function, *arguments, limiter=self._threads, abandon_on_cancel=True
        )


class HookAuthoriser:
    """The functions that `MODULE:FUNCTION` names; `visible` may be empty. Raises ConfigError."""

    def __init__(self, hook: str, visible: str) -> None:
        self._decide = _Function("hook", hook)
        self._visible = _Function("visible", visible) if visible else None

    async def decide(self, questions: Sequence[Question]) -> Sequence[object]:
        """See the port."""
        found: Sequence[object] = await self._decide(questions)
        return found

    async def visible(self, user_id: str, resource_type: str) -> object:
        """See the port."""
        return None if self._visible is None else await self._visible(user_id, resource_type)

    async def aclose(self) -> None:
        """It holds nothing."""


def _found(setting: str, path: str) -> Callable[..., Any]:
    module_name, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"authoriser.{setting} = {path!r} can't be imported: {error}. It is MODULE:FUNCTION, "
            "and MODULE must be installed or on PYTHONPATH"
        ) from None
    if not callable(found):
        raise ConfigError(f"authoriser.{setting} = {path!r} is no function")
    return found  # type: ignore[no-any-return]
