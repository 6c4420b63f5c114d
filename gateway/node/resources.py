"""Resources for callers that aren't WebSocket clients: reads at any version, imports, deletion, history.

A write is an ordinary change through the room; its author (`_Waiting`) has no connection, just an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import trio

from gateway import ot
from gateway.admin.port import Revision, Written
from gateway.errors import LogUnavailable, PatchError, Refusal
from gateway.hub import replay
from gateway.hub.hub import Hub
from gateway.ports import Connection
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.wire import messages

CLIENT_ID = "admin-http"


class _Waiting:
    """The author of one write: waits for its answer."""

    connection: Connection | None = None
    extended = True

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._version = 0
        self._refusal: Refusal | None = None

    def committed(self, submission: Submission, version: int) -> None:
        self._version = version
        self._answered.set()

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        self._refusal = refusal
        self._answered.set()

    async def version(self) -> int:
        """The committed version; raises the Refusal."""
        await self._answered.wait()
        if self._refusal is not None:
            raise self._refusal
        return self._version


class HubResources:
    """The port `gateway.admin.port.Resources` over a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def types(self) -> Sequence[str]:
        """The resource types that are served."""
        return sorted(self._hub.rules.types)

    async def read(self, resource_type: str, resource_id: str, version: int | None) -> Revision:
        """The resource at a version, at head for None; raises Refusal VERSION_AHEAD, UNAVAILABLE."""
        room = await self._hub.open(f"{resource_type}:{resource_id}")
        head, document = room.version, room.document
        if version is None:
            version = head
        if version > head:
            raise Refusal("VERSION_AHEAD", f"{room.resource} ends at version {head}.", version=head)
        if version < head:
            document = await replay.document_at(self._hub.log, room.resource, version)
        return Revision(version, room.epoch, orjson.dumps(document), await self._timestamp(room, version))

    async def _timestamp(self, room: Room, version: int) -> int | None:
        if version == 0:
            return None
        records = await self._hub.log.read(room.resource, version - 1, 1)
        return records[0].timestamp if records else None

    async def put(
        self,
        user_id: str,
        resource_type: str,
        resource_id: str,
        document: Any,
        expected_version: int | None,
    ) -> Written:
        """Replace the whole document; raises Refusal as the port says."""
        room = await self._hub.open(f"{resource_type}:{resource_id}")
        return await self._replace(room, user_id, document, expected_version)

    async def delete(
        self, user_id: str, resource_type: str, resource_id: str, expected_version: int | None
    ) -> Written:
        """Set the root to null."""
        room = await self._hub.open(f"{resource_type}:{resource_id}")
        if room.document is None and not room.busy:
            return Written(room.version, room.epoch)
        return await self._replace(room, user_id, None, expected_version)

    async def purge(self, user_id: str, resource_type: str, resource_id: str) -> Written:
        """Erase history and documents."""
        room = await self._hub.purge(f"{resource_type}:{resource_id}")
        return Written(room.version, room.epoch)

    async def history(self, resource_type: str, resource_id: str, after: int, limit: int) -> Sequence[bytes]:
        """The bodies of changes after a version."""
        try:
            records = await self._hub.log.read(f"{resource_type}:{resource_id}", after, limit)
        except LogUnavailable:
            self._hub.counters.log_errors += 1
            raise
        return [record.body for record in records]

    async def _replace(self, room: Room, user_id: str, document: Any, expected: int | None) -> Written:
        base = room.version
        if expected not in (None, base):
            raise Refusal("CONFLICT", f"The head is version {base}, not {expected}.", version=base)
        patch = [{"op": "add", "path": "", "value": document}]
        limits = self._hub.config.limits
        try:
            ot.size(document, limits.document_bytes_max, limits.depth_max)
            operations = ot.lower(room.document, patch, None, self._hub.patch_limits)
        except PatchError as error:
            raise Refusal(error.code, str(error)) from None
        author = _Waiting()
        op_id, arrived_s = messages.next_id(), self._hub.now_s()
        submission = Submission(author, user_id, CLIENT_ID, op_id, base, patch, operations, arrived_s, 0)
        submission.expected = expected
        submission.may_delete = document is None
        room.submit(submission)
        return Written(await author.version(), room.epoch)
