"""What is tried again and again while it fails is logged when that begins, fails otherwise, and ends."""

from __future__ import annotations

import logging


class Outage:
    """Something that may fail for a while; `what` is true of it meanwhile, in words."""

    def __init__(self, logger: logging.Logger, what: str, level: int = logging.WARNING) -> None:
        self._logger = logger
        self._what = what
        self._level = level
        self._reason: str | None = None

    def lasts(self, reason: str) -> None:
        """It failed just now."""
        if reason != self._reason:
            self._logger.log(self._level, "%s: %s", self._what, reason)
        self._reason = reason

    def over(self) -> None:
        """It went well just now."""
        if self._reason is not None:
            self._logger.log(self._level, "%s no longer", self._what)
        self._reason = None
