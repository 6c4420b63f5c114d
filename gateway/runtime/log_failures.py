"""Why calls of the log failed: for operators, and not for clients, for it names servers and files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.errors import LogDamaged, LogTrimmed

logger = logging.getLogger(__name__)
# A reason is told once within so long, and only so many of them: one may name each resource.
WITHIN_S = 60.0
REASONS_MAX = 10


class LogFailures:
    """The reasons that were told lately."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.forget()

    def forget(self) -> None:
        """Nothing was told."""
        self.told_s: dict[str, float] = {}
        self._untold = 0

    def failed(self, error: Exception | str) -> None:
        """A call failed just now. What is damaged is logged where it's met; what isn't kept is no failure."""
        if isinstance(error, LogDamaged | LogTrimmed):
            return
        reason, now_s = str(error), self._now_s()
        self.told_s = {told: at_s for told, at_s in self.told_s.items() if now_s - at_s < WITHIN_S}
        if reason in self.told_s or len(self.told_s) >= REASONS_MAX:
            self._untold += 1
            return
        before = f" (and {self._untold} that weren't told)" if self._untold else ""
        self.told_s[reason], self._untold = now_s, 0
        logger.warning("a call of the log failed: %s%s", reason, before)


log_failures = LogFailures()
