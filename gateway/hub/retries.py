"""Rooms that are brought to the log's head soon, each tried again until the log answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio

from gateway.errors import LogDamaged, LogUnavailable
from gateway.hub.log_errors import counted
from gateway.rooms.room import Room
from gateway.runtime.background import Background
from gateway.runtime.metrics import Counters

PAUSE_S = 1.0


class Retries:
    """See the module. `now` brings a room there or raises LogUnavailable; `rooms` are the open ones."""

    def __init__(
        self,
        now: Callable[[Room], Awaitable[None]],
        rooms: Mapping[str, Room],
        counters: Counters,
        background: Background,
    ) -> None:
        self._now = now
        self._rooms = rooms
        self._counters = counters
        self._background = background
        self._due: set[str] = set()
        self._under_way: dict[str, trio.Event] = {}  # set once the log was away, or at the end

    def soon(self, resource: str) -> None:
        """Bring a room to the log's head, trying until the log answers.

        Where that is under way it looks once more: what it has read may be older than what asks for it now.
        """
        self._due.add(resource)
        if resource not in self._under_way:
            self._under_way[resource] = trio.Event()
            self._background.start(self._until_done, resource)

    async def reached(self, room: Room) -> bool:
        """Bring a room to the log's head; False: the log is away, and it is tried until that answers.

        One that is being tried again isn't asked for once more. A damaged or closed one stays.
        """
        under_way = self._under_way.get(room.resource)
        if under_way is None or not under_way.is_set():
            self.soon(room.resource)
            await self._under_way[room.resource].wait()
        return room.resource not in self._under_way

    async def _until_done(self, resource: str) -> None:
        try:
            while resource in self._due:
                self._due.discard(resource)
                if (room := self._rooms.get(resource)) is not None:
                    await self._try(room)
        finally:
            self._under_way.pop(resource).set()

    async def _try(self, room: Room) -> None:
        """Bring a room to the log's head; where the log doesn't answer it stays due, after a pause."""
        try:
            await self._now(room)
        except LogUnavailable as error:
            counted(self._counters, error)
            if not isinstance(error, LogDamaged):
                self._under_way[room.resource].set()
            await trio.sleep(PAUSE_S)
