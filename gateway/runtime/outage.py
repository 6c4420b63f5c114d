"""What fails again and again is logged so often that it is heard, and so seldom that it is read.

What is tried until it goes well is an `Outage`: logged when it begins, fails otherwise, and ends. Single
calls that failed are `Failures`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

# What comes and goes is told so often within so long; what lasts longer is told late then.
TOLD_MAX = 3
WITHIN_S = 60.0


class _Seldom:
    """So often within so long, and no more."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._told_s: deque[float] = deque(maxlen=TOLD_MAX)

    def may_tell(self) -> bool:
        """Whether it may be told now; then it counts as told."""
        now_s = self._now_s()
        if len(self._told_s) == TOLD_MAX and now_s - self._told_s[0] < WITHIN_S:
            return False
        self._told_s.append(now_s)
        return True


def _and_before(count: int) -> str:
    return f" (and {count} times before)" if count else ""


class Failures:
    """Calls that failed, in words of `what`. Why is for operators: it names servers and files."""

    def __init__(
        self, logger: logging.Logger, what: str, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._what = what
        self._seldom = _Seldom(now_s)
        self._untold = 0

    def failed(self, reason: object) -> None:
        """One failed just now."""
        if self._seldom.may_tell():
            self._logger.warning("%s: %s%s", self._what, reason, _and_before(self._untold))
            self._untold = 0
        else:
            self._untold += 1


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
        self._seldom = _Seldom(now_s)
        self._reasons: dict[object, str] = {}
        self._untold = 0
        self._is_told = False

    def lasts(self, reason: str, who: object = None) -> None:
        """It failed just now."""
        if reason not in self._reasons.values():
            self._untold += 1
        self._reasons[who] = reason
        if self._untold and self._seldom.may_tell():
            self._logger.log(self._level, "%s: %s%s", self._what, reason, _and_before(self._untold - 1))
            self._untold, self._is_told = 0, True

    def over(self, who: object = None) -> None:
        """It went well just now."""
        if self._reasons.pop(who, None) is None or self._reasons:
            return
        if self._is_told:
            self._logger.log(self._level, "%s no longer", self._what)
        self._is_told = False
