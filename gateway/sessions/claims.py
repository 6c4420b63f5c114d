"""Who speaks for a client, over workers and nodes: of two connections of one client the older is closed.

Each claim is told to all over the bus. That is at most once: after a gap every claim is told again, for who
came or was told of meanwhile may be older, or newer, than another.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import trio

from gateway.errors import Disconnect
from gateway.ports import Bus
from gateway.runtime import close_codes

if TYPE_CHECKING:
    from gateway.sessions.registry import Registry
    from gateway.sessions.session import ClientSession

logger = logging.getLogger(__name__)

# No resource has this name: its type is none.
TOPIC = "~claims"
REPLACED = "replaced by a newer connection of the same client"
# So many claims are told again at once, and then others are let on: a worker may have ten thousands.
TOLD_AT_ONCE = 100
TOLD_PAUSE_S = 0.05


class Claims:
    """Tells the others whom the sessions of `registry` speak for; closes those who are older than theirs."""

    def __init__(self, registry: Registry, bus: Bus) -> None:
        self._registry = registry
        self._bus = bus
        self._gap = trio.Event()

    async def run(self) -> None:
        """Tell all claims again after each gap, until cancelled."""
        while True:
            await self._gap.wait()
            self._gap = trio.Event()
            await self._tell_all()

    async def _tell_all(self) -> None:
        for number, (client, session) in enumerate(self._registry.speakers(), 1):
            if self._registry.speaker(*client) is session:
                self._tell(session, *client)
            if not number % TOLD_AT_ONCE:
                await trio.sleep(TOLD_PAUSE_S)

    def claim(self, session: ClientSession, user_id: str, client_id: str) -> None:
        """The session speaks for this client from now on; an older connection of it is closed.

        Raises Disconnect where a newer connection speaks for it: this one named itself late.
        """
        speaker = self._registry.speaker(user_id, client_id)
        if speaker is not None and session.opened_ms < speaker.opened_ms <= session.shared.wall_ms():
            raise Disconnect(close_codes.REPLACED, REPLACED)  # but not where the clock was set back meanwhile
        self._registry.claim(session, user_id, client_id)
        if speaker is not None and speaker is not session:
            speaker.close(close_codes.REPLACED, REPLACED)
        self._tell(session, user_id, client_id)

    def _tell(self, session: ClientSession, user_id: str, client_id: str) -> None:
        claim = (user_id, client_id, session.opened_ms, session.id)
        self._bus.publish(TOPIC, orjson.dumps(claim))

    def missed(self) -> None:
        """Claims may have been lost, ours or others'."""
        self._gap.set()

    def heard(self, payload: bytes) -> None:
        """A session of another worker claims a client."""
        try:
            user_id, client_id, opened_ms, session_id = orjson.loads(payload)
            ours = self._registry.speaker(user_id, client_id)
            if ours is None or ours.id == session_id:  # it was handed over
                return
            older = (ours.opened_ms, ours.id) < (opened_ms, session_id)
            if older or ours.opened_ms > ours.shared.wall_ms():  # or the clock was set back meanwhile
                ours.close(close_codes.REPLACED, REPLACED)
            else:
                self._tell(ours, user_id, client_id)
        except (ValueError, TypeError) as error:
            logger.warning("no claim: %r", error)
