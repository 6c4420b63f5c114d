"""The flags of a node: the settings', with what was changed at run time for all nodes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import trio

from gateway.admission import with_flags
from gateway.config import FeaturesSettings
from gateway.errors import ConfigError
from gateway.node.following import Follower
from gateway.ports.shared import StoredValues, ValueStore

logger = logging.getLogger(__name__)

# A change is in force everywhere after so long, and a reply.
LOOK_INTERVAL_S = 0.5


class NodeFlags:
    """Keeps to what is stored; `apply` is called with what is in force whenever that changes."""

    def __init__(
        self, settings: FeaturesSettings, store: ValueStore, apply: Callable[[FeaturesSettings], None]
    ) -> None:
        self._settings = settings
        self._apply = apply
        self._follower = Follower("flags", store, LOOK_INTERVAL_S, self._bring_into_force)
        self.in_force = settings

    @property
    def stored(self) -> StoredValues:
        """What was changed."""
        return self._follower.stored

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what is stored until cancelled; started after the first look."""
        await self._follower.run(task_status=task_status)

    async def change(self, values: Mapping[str, Any], changed_by: str) -> StoredValues:
        """Set flags for all nodes (None: back to the settings); raises ConfigError, LogUnavailable."""
        with_flags(self._settings, {name: value for name, value in values.items() if value is not None})
        stored = await self._follower.change(values, changed_by)
        logger.warning("%s changed the flags %s", changed_by, dict(values))
        return stored

    def reload(self, settings: FeaturesSettings) -> None:
        """The settings were read again."""
        self._settings = settings
        self._bring_into_force(self.stored)

    def _bring_into_force(self, stored: StoredValues) -> None:
        try:
            self.in_force = with_flags(self._settings, stored.values)
        except ConfigError as error:  # of a later release
            logger.error("flags but for the kill switch stay as they are: %s", error)
            killed = self._settings.kill_switch or stored.values.get("kill_switch") is True
            self.in_force = replace(self.in_force, kill_switch=killed)
        self._apply(self.in_force)
