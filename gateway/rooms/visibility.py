"""Members that turn visible and invisible: told at once, and further turns of the same one conflated.

Everybody who looks on is told of a turn, so one client that blinks must not cost more than any other update.
"""

from __future__ import annotations

from collections.abc import Callable

Turn = Callable[[], None]


def is_over(began_ms: int, interval_ms: float, now_ms: int) -> bool:
    """Whether so much time has passed; where the clock was set back nobody can say, and nobody waits."""
    return not 0 <= now_ms - began_ms < interval_ms


class VisibilityTurns:
    """One turn of a member in each interval, the latest. `on_due` asks for calls of `tick` while `due`."""

    __slots__ = ("_interval_ms", "_on_due", "_turned", "_waiting")

    def __init__(self, interval_ms: float, on_due: Callable[[], None]) -> None:
        self._interval_ms = interval_ms
        self._on_due = on_due
        self._turned: dict[str, int] = {}  # session -> when it turned last, who did so longest ago first
        self._waiting: dict[str, Turn] = {}

    @property
    def due(self) -> bool:
        """Whether a turn waits."""
        return bool(self._waiting)

    def turn(self, session_id: str, now_ms: int, turn: Turn) -> None:
        """Do a turn now, or when the interval since the last one is over."""
        self._forget(now_ms)
        if session_id in self._turned:
            self._waiting[session_id] = turn
            self._on_due()
        else:
            self._turned[session_id] = now_ms
            turn()

    def leave(self, session_id: str) -> None:
        """The session is no member any more: what waits of it doesn't count."""
        self._waiting.pop(session_id, None)

    def tick(self, now_ms: int) -> None:
        """Do the turns that are due."""
        if not self._waiting:
            return
        self._forget(now_ms)
        for session_id in [waiting for waiting in self._waiting if waiting not in self._turned]:
            self._turned[session_id] = now_ms
            self._waiting.pop(session_id)()

    def _forget(self, now_ms: int) -> None:
        while self._turned:
            session_id = next(iter(self._turned))
            if not is_over(self._turned[session_id], self._interval_ms, now_ms):
                return
            del self._turned[session_id]
