"""Subscriptions stand on what the authoriser decided: that is renewed, and what it took back ends."""

from __future__ import annotations

import trio

from gateway.errors import retry_after_ms
from gateway.hub.child_items import PARENT
from gateway.ports.resources import Resource
from gateway.runtime import close_codes
from gateway.runtime.timeslice import Slices
from gateway.sessions import authentication
from gateway.sessions.context import SessionContext
from gateway.sessions.session import ClientSession

INTERVAL_MAX_S = 1.0
# Looks in the life of a decision: half of them while it is due.
LOOKS = 8


class Renewal:
    """Of the sessions of a worker."""

    def __init__(self, shared: SessionContext) -> None:
        self._shared = shared

    async def run(self) -> None:
        """Look after them, until cancelled."""
        interval_s = min(INTERVAL_MAX_S, self._shared.config.authoriser.cache_s / LOOKS)
        while self._shared.permissions.active:
            await trio.sleep(interval_s)
            slices = Slices(self._shared.now_s)
            for session in list(self._shared.registry.sessions):
                self._look_after(session)
                if slices.over:
                    await slices.pause()

    def _look_after(self, session: ClientSession) -> None:
        """Who can't be told what he may is closed: he comes again, and asks again."""
        identity = session.identity
        if identity is None:
            return
        rooms = [subscription.room for subscription in session.subscriptions.values()]
        resources = [Resource(room.type, room.id) for room in rooms]
        resources += [Resource(PARENT, calendar) for calendar in session.children]
        standing = [self._shared.permissions.keeps(identity, one) for one in resources]  # each is asked for
        if all(standing):
            authentication.review_roles(session, identity)
        else:
            session.close(close_codes.FULL, f"retry_after_ms={retry_after_ms()}")
