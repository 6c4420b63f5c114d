"""The author of an edit that nobody's connection waits for: an import, an index."""

from __future__ import annotations

import trio

from gateway import ot
from gateway.errors import PatchError, Refusal
from gateway.ports import Connection
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.wire import messages


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
        refusal, self._refusal = self._refusal, None  # its traceback knows who waits: no cycle stays
        if refusal is None:
            return self._version
        try:
            raise refusal
        finally:
            del refusal


async def commit(room: Room, user_id: str, client_id: str, patch: ot.Patch, arrived_s: float) -> int:
    """Commit a patch on the head, of what the gateway keeps for itself; the version, or raises Refusal."""
    waiter = Waiter()
    try:
        operations = ot.lower(room.document, patch, budget=ot.budget())
    except PatchError as error:
        raise Refusal(error.code, str(error)) from None
    op_id = messages.next_id()
    submission = Submission(waiter, user_id, client_id, op_id, room.version, patch, operations, arrived_s, 0)
    submission.on_nothing = room.document is None
    room.submit(submission)
    return await waiter.version()
