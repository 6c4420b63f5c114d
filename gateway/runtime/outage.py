"""What is tried again and again while it fails is logged when that begins, fails otherwise, and ends."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

# What comes and goes begins so often in the log within so long; what lasts longer is told late then.
BEGINNINGS_MAX = 3
WITHIN_S = 60.0


class Outage:
    """Something that may fail for a while; `what` is true of it meanwhile, in words.

    It is one for all who notice it, and over when it is for each of them: `who` is the one that tells.
    """

    def __init__(
        self,
        logger: logging.Logger,
        what: str,
        level: int = logging.WARNING,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._what = what
        self._level = level
        self._now_s = now_s
        self._reasons: dict[object, str] = {}
        self._begun_s: deque[float] = deque(maxlen=BEGINNINGS_MAX)
        self._untold = 0
        self._is_told = False

    def lasts(self, reason: str, who: object = None) -> None:
        """It failed just now."""
        if reason not in self._reasons.values():
            self._untold += 1
        self._reasons[who] = reason
        if self._untold and self._may_tell():
            before = f" (and {self._untold - 1} times before)" if self._untold > 1 else ""
            self._logger.log(self._level, "%s: %s%s", self._what, reason, before)
            self._begun_s.append(self._now_s())
            self._untold, self._is_told = 0, True

    def over(self, who: object = None) -> None:
        """It went well just now."""
        if self._reasons.pop(who, None) is None or self._reasons:
            return
        if self._is_told:
            self._logger.log(self._level, "%s no longer", self._what)
        self._is_told = False

    def _may_tell(self) -> bool:
        return len(self._begun_s) < BEGINNINGS_MAX or self._now_s() - self._begun_s[0] >= WITHIN_S
