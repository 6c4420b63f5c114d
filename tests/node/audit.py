"""A trail of what was done, while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gateway.config import AuditSettings
from gateway.node.audit import DAY_MS, AuditTrail
from gateway.ports.audit import AuditStore
from gateway.runtime.metrics import Counters


@asynccontextmanager
async def trail(store: AuditStore, counters: Counters, **settings: float) -> AsyncIterator[AuditTrail]:
    made = AuditTrail("n1", store, AuditSettings(**settings), counters, lambda: 1000 * DAY_MS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()
