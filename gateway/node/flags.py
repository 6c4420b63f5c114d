"""The flags of a node: the settings', with what was changed at run time for all nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import trio

from gateway.admission import with_flags
from gateway.config import FeaturesSettings
from gateway.errors import ConfigError, LogUnavailable
from gateway.ports.flags import FlagStore, StoredFlags

logger = logging.getLogger(__name__)

# A change is in force everywhere after so long, and a reply.
LOOK_INTERVAL_S = 0.5


class NodeFlags:
    """Keeps to what is stored; `apply` is called with what is in force whenever that changes."""

    def __init__(
        self, settings: FeaturesSettings, store: FlagStore, apply: Callable[[FeaturesSettings], None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._apply = apply
        self.stored = StoredFlags()
        self.in_force = settings

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what is stored until cancelled; started after the first look.

        What was heard last stays in force while the store can't be reached.
        """
        reached = await self._look(True)
        task_status.started()
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            reached = await self._look(reached)

    async def change(self, values: Mapping[str, Any], changed_by: str) -> StoredFlags:
        """Set flags for all nodes (None: back to the settings); raises ConfigError, LogUnavailable."""
        kept = {**self.stored.values, **values}
        with_flags(self._settings, {name: value for name, value in kept.items() if value is not None})
        stored = await self._store.change(values, changed_by, time.time_ns() // 1_000_000)
        logger.warning("%s changed the flags %s", changed_by, dict(values))
        self._take(stored)
        return stored

    def reload(self, settings: FeaturesSettings) -> None:
        """The settings were read again."""
        self._settings = settings
        self._bring_into_force()

    async def _look(self, reached: bool) -> bool:
        try:
            stored = await self._store.read()
        except LogUnavailable as error:
            if reached:
                logger.warning("flags stay as they are: %s", error)
            return False
        if stored.revision != self.stored.revision:
            logger.info("flags changed by %s are in force: %s", stored.changed_by, dict(stored.values))
            self._take(stored)
        return True

    def _take(self, stored: StoredFlags) -> None:
        self.stored = stored
        self._bring_into_force()

    def _bring_into_force(self) -> None:
        try:
            self.in_force = with_flags(self._settings, self.stored.values)
        except (ConfigError, TypeError) as error:  # of a later release
            logger.error("flags stay as they are: %s", error)
            return
        self._apply(self.in_force)
