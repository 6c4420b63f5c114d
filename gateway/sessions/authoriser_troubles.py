"""What is wrong with the authoriser: told once, to the log and to operators, until it is well again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.errors import AuthoriserError
from gateway.runtime.metrics import Counters

logger = logging.getLogger(__name__)


class AuthoriserTroubles:
    """By what it is asked for."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._texts: dict[str, str] = {}

    @property
    def problems(self) -> Sequence[str]:
        """What an operator should mend, for people."""
        text = "the authoriser has no usable answer"
        return [f"{text}: {why}. What it has to {what} is refused" for what, why in self._texts.items()]

    def failed(self, what: str, error: AuthoriserError) -> None:
        """It had no usable answer."""
        self._counters.authoriser_failures[error.reason] += 1
        self._counters.authoriser_failing = 1
        if what not in self._texts:
            text = "the authoriser has no usable answer, what it has to %s is refused: %s"
            logger.warning(text, what, error)
        self._texts[what] = str(error)

    def well(self, what: str) -> None:
        """It answered."""
        if self._texts.pop(what, ""):
            logger.info("the authoriser answers again what it has to %s", what)
            self._counters.authoriser_failing = int(bool(self._texts))

    def has(self, what: str) -> bool:
        """Whether it had no usable answer to this lately."""
        return what in self._texts
