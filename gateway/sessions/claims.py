"""Who speaks for a client, over workers and nodes: of two connections of one client the older is closed.

Each claim is told to all over the bus. That is at most once: after a gap every claim is told again, for who
came or was told of meanwhile may be older, or newer, than another.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
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
# After a gap, which all workers have at once, each begins at a time of its own, and tells so many claims in a
# message: ten thousands take a minute.
TOLD_AFTER_MAX_S = 5.0
TOLD_AT_ONCE = 100
TOLD_PAUSE_S = 0.3


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
            await trio.sleep(TOLD_AFTER_MAX_S * random.random())
            self._gap = trio.Event()
            await self._tell_all()

    async def _tell_all(self) -> None:
        left = self._registry.speakers()
        while left:
            some, left = left[:TOLD_AT_ONCE], left[TOLD_AT_ONCE:]
            self._tell([one for one in some if self._registry.speaker(*one[0]) is one[1]])
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
        self._tell([((user_id, client_id), session)])

    def _tell(self, speakers: Sequence[tuple[tuple[str, str], ClientSession]]) -> None:
        claims = [(*client, session.opened_ms, session.id) for client, session in speakers]
        if claims:
            self._bus.publish(TOPIC, orjson.dumps(claims))

    def missed(self) -> None:
        """Claims may have been lost, ours or others'."""
        self._gap.set()

    def heard(self, payload: bytes) -> None:
        """Sessions of another worker claim a client each."""
        try:
            for user_id, client_id, opened_ms, session_id in orjson.loads(payload):
                self._compare((user_id, client_id), opened_ms, session_id)
        except (ValueError, TypeError) as error:
            logger.warning("no claim: %r", error)

    def _compare(self, client: tuple[str, str], opened_ms: int, session_id: str) -> None:
        """Close ours where it is older than that session, else tell of it."""
        ours = self._registry.speaker(*client)
        if ours is None or ours.id == session_id:  # it was handed over
            return
        older = (ours.opened_ms, ours.id) < (opened_ms, session_id)
        if older or ours.opened_ms > ours.shared.wall_ms():  # or the clock was set back meanwhile
            ours.close(close_codes.REPLACED, REPLACED)
        else:
            self._tell([(client, ours)])
