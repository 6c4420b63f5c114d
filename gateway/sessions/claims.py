"""Who speaks for a client, over workers and nodes: of two connections of one client the older is closed.

Each claim is told to all over the bus. That is at most once: a claim that was lost leaves both connections
until one of them claims again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson

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


class Claims:
    """Tells the others whom the sessions of `registry` speak for; closes those who are older than theirs."""

    def __init__(self, registry: Registry, bus: Bus) -> None:
        self._registry = registry
        self._bus = bus

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
