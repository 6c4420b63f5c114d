"""The author of an edit that nobody's connection waits for: an import, an index."""

from __future__ import annotations

import trio

from gateway.errors import Refusal
from gateway.ports import Connection
from gateway.rooms.submission import Submission


class Waiter:
    """Waits for the answer to one submission."""

    connection: Connection | None = None
    extended = True

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._version = 0
        self._refusal: Refusal | None = None

    def worked(self, units: int) -> None:
        """See the port `Author`; it is on nobody's account."""

    def committed(self, submission: Submission, version: int) -> None:
        """See the port `Author`."""
        self._version = version
        self._answered.set()

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        """See the port `Author`."""
        self._refusal = refusal
        self._answered.set()

    async def version(self) -> int:
        """The committed version; raises the Refusal."""
        await self._answered.wait()
        if self._refusal is not None:
            raise self._refusal
        return self._version
