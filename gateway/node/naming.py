"""Giving a version a name, and taking it away: it stays readable for as long as it has one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.errors import LogDamaged, Refusal
from gateway.http.port import Revision
from gateway.hub.hub import Hub
from gateway.hub.names import NamedVersion, NamedVersions, hidden
from gateway.ports import Snapshot
from gateway.ports.retention import HistoryKeeper
from gateway.rooms.room import Room

Granted = Callable[[], Awaitable[None]]


class Naming:
    """`names` are those of every resource; `keeper` has the documents that stay for them, where history goes.

    Methods raise Refusal, LogUnavailable. `granted` raises Refusal where the right to it is gone by then.
    """

    def __init__(self, hub: Hub, keeper: HistoryKeeper | None) -> None:
        self._hub = hub
        self._keeper = keeper
        self.names = NamedVersions(hub.open, hub.now_s, hub.wall_ms)

    async def give(
        self, resource: str, found: Revision, name: str, user_id: str, granted: Granted
    ) -> NamedVersion:
        """Give a version that was read a name; refuses VERSION_TOO_OLD where it was purged meanwhile."""
        snapshot = Snapshot(found.version, found.document)
        # Old history may be on its way out without this name.
        await self._keep(resource, found.epoch, snapshot)
        before = await self.names.version_of(resource, name)
        await granted()
        named = await self.names.give(resource, name, snapshot, user_id)
        # It may have come into the archive only now, and be on its way out.
        await self._keep(resource, found.epoch, snapshot)
        room = await self._hub.open(resource)
        if room.epoch != found.epoch:
            await self.names.drop(resource, name, user_id)
            text = f"{resource} has another history since: its versions are other ones."
            raise Refusal("VERSION_TOO_OLD", text, version=room.version)
        await self._let_go(room, before)
        return named

    async def drop(self, resource: str, name: str, user_id: str, granted: Granted) -> bool:
        """Take a name away; whether there was one."""
        room = await self._hub.open(resource)
        before = await self.names.version_of(resource, name)
        await granted()
        was_there = await self.names.drop(resource, name, user_id)
        await self._let_go(room, before)
        return was_there

    async def purge(self, resource: str) -> None:
        """Erase all names of a resource, be they damaged."""
        try:
            has_names = bool(await self.names.of(resource))
        except Refusal as refusal:
            if not isinstance(refusal.__cause__, LogDamaged):
                raise
            has_names = True
        if has_names:
            await self._hub.purge(hidden(resource))

    async def _keep(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        if self._keeper is not None and snapshot.version:
            await self._keeper.keep(resource, epoch, snapshot)

    async def _let_go(self, room: Room, version: int | None) -> None:
        """A version had a name: where that was its last one and its history went, it is gone too."""
        if self._keeper is None or version is None:
            return
        if all(item.version != version for item in await self.names.of(room.resource)):
            await self._keeper.let_go(room.resource, room.epoch, version)
