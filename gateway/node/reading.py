"""What callers that aren't WebSocket clients read: documents, history, and what is new."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import orjson

from gateway.errors import LogEnds, LogTrimmed, LogUnavailable, Refusal
from gateway.http.port import News, Revision
from gateway.hub import replay
from gateway.hub.catch_up import Seen
from gateway.hub.hub import Hub
from gateway.node.request_charges import RequestCharges
from gateway.ports.resources import Resource
from gateway.rooms.room import Room
from gateway.sessions.context import SessionContext


class Reading(RequestCharges):
    """The part of the port `gateway.http.port.Resources` that reads."""

    def __init__(self, hub: Hub, sessions: SessionContext) -> None:
        super().__init__(sessions)
        self._hub = hub

    async def read(self, resource: Resource, version: int | None) -> Revision:
        """The resource at a version, at head for None; raises Refusal VERSION_AHEAD, UNAVAILABLE."""
        caught_up = False
        while True:
            room = await self._hub.open(str(resource))
            try:
                found = await self._revision(room, room.version if version is None else version)
            except LogEnds:  # the log may have another history, of which nobody told
                if caught_up:
                    raise
                await self._hub.catch_up.now(room)
                caught_up = True
                continue
            if room.epoch == found.epoch:
                return found  # else it was purged meanwhile, and this is of neither history

    async def _revision(self, room: Room, version: int) -> Revision:
        if version > room.version:  # another worker may have told of it
            await self._hub.catch_up.now(room)
        epoch, head, document = room.epoch, room.version, room.document
        if version > head:
            raise Refusal("VERSION_AHEAD", f"{room.resource} ends at version {head}.", version=head)
        if version < head:
            document = await replay.document_at(self._hub.log, room.resource, version)
        return Revision(version, epoch, orjson.dumps(document), await self._timestamp(room, version))

    async def catch_up(self, resource: Resource, user_id: str) -> None:
        """Bring the room to the log's head, which is a read of this user's."""
        self.charge_read(user_id)
        await self._hub.catch_up.now(await self._hub.open(str(resource)))

    async def _timestamp(self, room: Room, version: int) -> int | None:
        if version == 0:
            return None
        try:
            records = await self._hub.log.read(room.resource, version - 1, 1)
        except LogTrimmed:
            return None  # of a named version, whose change went
        return records[0].timestamp if records else None

    async def oldest(self, resource: Resource) -> int:
        """The newest version whose change isn't kept any more; 0: all are."""
        try:
            await self._hub.log.read(str(resource), 0, 1)
        except LogTrimmed as error:
            return error.version
        return 0

    async def version_at(self, resource: Resource, at_ms: int) -> int:
        """The newest version that isn't younger than this: timestamps never decrease, so halving finds it."""
        room = await self._hub.open(str(resource))
        oldest = known = await self.oldest(resource)
        beyond = room.version + 1
        while beyond - known > 1:
            middle = (known + beyond) // 2
            stamp_ms = await self._timestamp(room, middle)
            if stamp_ms is None:  # it went meanwhile, and so did all before it
                oldest = known = middle
            elif stamp_ms <= at_ms:
                known = middle
            else:
                beyond = middle
        if known == oldest > 0:
            text = f"{LogTrimmed(room.resource, oldest)}; ask for a later time."
            raise Refusal("VERSION_TOO_OLD", text, version=oldest)
        return known

    @asynccontextmanager
    async def watched(self, resource: Resource, changed: Callable[[], None]) -> AsyncIterator[None]:
        """Meanwhile `changed` is called for each change."""
        room = await self._hub.open(str(resource))
        with room.watched(changed):
            yield

    async def news(self, resource: Resource, since: int, epoch: int | None) -> News:
        """The changes where there are few of them, else the document."""
        room = await self._hub.open(str(resource))
        catch_up, limits = self._hub.catch_up, self._hub.config.limits
        seen, bytes_max = Seen(since, epoch, limits.changes_default), limits.changes_bytes_max
        changes = await catch_up.changes_after(room, seen, bytes_max, catch_up.bodies_after, len)
        if changes is None:
            return News(room.version, room.epoch, document=orjson.dumps(room.document))
        return News(room.version, room.epoch, changes=changes or None)

    async def history(self, resource: Resource, after: int, limit: int) -> Sequence[bytes]:
        """The bodies of changes after a version."""
        try:
            records = await self._hub.log.read(str(resource), after, limit)
        except LogUnavailable as error:
            self._hub.counters.log_errors += not isinstance(error, LogTrimmed)  # that it went is no failure
            raise
        return [record.body for record in records]
