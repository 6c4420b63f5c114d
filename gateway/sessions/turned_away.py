"""Browsers that may not come in: a page can't read the status of a refused handshake, but a close code.

So the handshake is accepted and closed at once, while few are on their way out; beyond that, and for whoever
is no browser, it is refused over HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.ports import Ack, Admission, Connection, Rejection, UpgradeRequest
from gateway.runtime.metrics import Counters
from gateway.sessions.seldom import Seldom

logger = logging.getLogger(__name__)

# Accepted only to be closed, at a time.
LEAVING_MAX = 256
ORIGIN_LENGTH_SHOWN = 200


class Refused(NamedTuple):
    """A handshake that is refused: over HTTP, or by this close code and reason."""

    rejection: Rejection
    code: int
    reason: str


class TurnedAway:
    """Those who are on their way out. `now_s` is monotonic."""

    def __init__(self, counters: Counters, now_s: Callable[[], float]) -> None:
        self.leaving = 0
        self._counters = counters
        self._seldom = Seldom(now_s)

    def answer(
        self, request: UpgradeRequest, refused: Refused, subprotocol: str | None
    ) -> Admission | Rejection:
        """How this handshake is refused. A page that offered a subprotocol hears no code without one."""
        origin = request.headers.get("origin", "")
        self._log(origin, refused)
        if not origin or self.leaving >= LEAVING_MAX:
            return refused.rejection

        def opened(connection: Connection) -> _Leaving:
            self._counters.connections_rejected[str(refused.rejection.status)] += 1
            connection.close(refused.code, refused.reason)
            return _Leaving(self)

        return Admission(subprotocol, opened)

    def _log(self, origin: str, refused: Refused) -> None:
        if not self._seldom.is_news(origin):
            return
        shown = repr(origin[:ORIGIN_LENGTH_SHOWN]) if origin else "no Origin"
        logger.warning("a handshake with %s is refused: %s", shown, refused.rejection.message)


class _Leaving:
    """The `Session` of one of them: hears nothing."""

    def __init__(self, turned_away: TurnedAway) -> None:
        self._turned_away = turned_away
        turned_away.leaving += 1

    @property
    def known(self) -> bool:
        """It never will be."""
        return False

    def receive(self, payload: bytes) -> Awaitable[None] | None:
        """Nobody listens."""
        return None

    def turn_away(self, payloads: list[bytes]) -> int:
        """Nothing is asked of it."""
        return 0

    def inflated(self, seconds: float) -> None:
        """There is nobody to pay."""

    def receive_binary(self, size: int) -> Awaitable[None] | None:
        """Nobody listens."""
        return None

    def receive_control(self) -> Awaitable[None] | None:
        """There is nobody to pay."""
        return None

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes | None:
        """It reads nothing."""
        return None

    def presence_state(self, topic: str) -> bytes | None:
        """It reads nothing."""
        return None

    def closed(self) -> None:
        """It is gone."""
        self._turned_away.leaving -= 1
