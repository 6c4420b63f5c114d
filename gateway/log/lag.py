"""How far behind its log somebody is who follows it."""

from __future__ import annotations

from collections.abc import Callable


class Lag:
    """How long what is lacking has been lacking, by the clock `now_ms`; at first nothing is."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._since_ms: int | None = None

    def since(self, stamp_ms: int | None) -> None:
        """The oldest of what is lacking is of this time; None: nothing is lacking."""
        self._since_ms = stamp_ms

    def stays(self, lag_ms: int = 0) -> int:
        """As far behind as before, and more with the time: by `lag_ms` now where it wasn't. Since when."""
        if self._since_ms is None:
            self._since_ms = self._now_ms() - lag_ms
        return self._since_ms

    @property
    def ms(self) -> int:
        """The age of the oldest of what is lacking; 0 where nothing is."""
        return 0 if self._since_ms is None else max(0, self._now_ms() - self._since_ms)
