"""A worker keeps to what is stored for all nodes, and changes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import trio

from gateway.errors import LogUnavailable
from gateway.ports.shared import StoredValues, ValueStore
from gateway.runtime.clock import unix_ms
from gateway.runtime.outage import Outage

logger = logging.getLogger(__name__)


class Follower:
    """`take` is called with what is stored whenever that changes; `what` it is, is for people.

    A store that lost what is known here gets it again.
    """

    def __init__(
        self,
        what: str,
        store: ValueStore,
        interval_s: float,
        take: Callable[[StoredValues], None],
    ) -> None:
        self.stored = StoredValues()
        self._what = what
        self._store = store
        self._interval_s = interval_s
        self._tell = take
        self._outage = Outage(logger, f"{what} stay as they are")

    async def begin(self) -> None:
        """A look that has to succeed, before `run`; raises LogUnavailable."""
        self._take(await self._store.read(self.stored))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what is stored until cancelled; started after the first look.

        What was heard last stays in force while the store can't be reached.
        """
        await self.try_to_look()
        task_status.started()
        while True:
            await trio.sleep(self._interval_s)
            await self.try_to_look()

    async def change(self, values: Mapping[str, Any], changed_by: str) -> StoredValues:
        """Set values for all nodes (None takes one out), in force here at once; raises LogUnavailable."""
        if self.stored.revision:  # a change of what was lost would hide that it was
            await self._store.put_back(self.stored)
        stored = await self._store.change(values, changed_by, unix_ms())
        if stored.revision >= self.stored.revision:
            self._take(stored)
        return stored

    async def try_to_look(self) -> None:
        """Take what is stored; where the store can't be reached, what was heard last stays."""
        with suppress(LogUnavailable):
            await self.look()

    async def look(self) -> None:
        """Take what is stored; raises LogUnavailable."""
        known = self.stored
        try:
            stored = await self._store.read(known)
            if stored.revision < known.revision and self.stored is known:
                stored = await self._store.put_back(known)
                logger.error("the %s were lost where they are stored: they were put back", self._what)
        except LogUnavailable as error:
            self._outage.lasts(str(error))
            raise
        self._outage.over()
        if self.stored is not known and stored.revision <= self.stored.revision:
            return  # something newer was heard meanwhile
        if stored != known:
            logger.info("%s changed by %s are in force", self._what, stored.changed_by)
            self._take(stored)

    def _take(self, stored: StoredValues) -> None:
        self.stored = stored
        self._tell(stored)
