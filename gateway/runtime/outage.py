"""What is tried again and again while it fails is logged when that begins, fails otherwise, and ends."""

from __future__ import annotations

import logging


class Outage:
    """Something that may fail for a while; `what` is true of it meanwhile, in words.

    It is one for all who notice it, and over when it is for each of them: `who` is the one that tells.
    """

    def __init__(self, logger: logging.Logger, what: str, level: int = logging.WARNING) -> None:
        self._logger = logger
        self._what = what
        self._level = level
        self._reasons: dict[object, str] = {}

    def lasts(self, reason: str, who: object = None) -> None:
        """It failed just now."""
        if reason not in self._reasons.values():
            self._logger.log(self._level, "%s: %s", self._what, reason)
        self._reasons[who] = reason

    def over(self, who: object = None) -> None:
        """It went well just now."""
        if self._reasons.pop(who, None) is not None and not self._reasons:
            self._logger.log(self._level, "%s no longer", self._what)
