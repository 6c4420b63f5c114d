"""What is measured now and then, because nobody's event tells it: capacity, disk, extremes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable

import trio

from gateway.config import Config
from gateway.node.capacity import Capacity
from gateway.rooms.room import Room
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0
# Of the rooms that are looked at, without a look at the clock.
ROOMS_AT_ONCE = 100


class Gauges:
    """See the module. `rooms` gives the open ones, `users` how many are connected; `run` never ends."""

    def __init__(
        self,
        config: Config,
        counters: Counters,
        capacity: Capacity,
        rooms: Callable[[], Iterable[Room]],
        users: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        self._config = config
        self._counters = counters
        self._capacity = capacity
        self._rooms = rooms
        self._users = users
        self._now_s = now_s

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await trio.to_thread.run_sync(self.measure)
            await self._measure_rooms()
            await trio.sleep(INTERVAL_S)

    def measure(self) -> None:
        """Capacity and disk; in a thread, for it asks the system."""
        counters = self._counters
        left = self._capacity.measure()
        counters.connections_left_by = dict(left)  # anew: what bounds nothing now isn't told
        counters.connections_left = min(left.values())
        counters.cpu_share = self._capacity.cpu_share
        counters.users = self._users()
        data_dir = self._config.server.data_dir
        try:
            disk = shutil.disk_usage(data_dir)
            counters.disk_free_bytes, counters.disk_bytes = disk.free, disk.total
        except OSError as error:
            logger.debug("the disk of %s says nothing: %s", data_dir, error)

    async def _measure_rooms(self) -> None:
        """The room with the most readers, the largest document, the most edits on their way."""
        slices = Slices(self._now_s)
        readers = document_bytes = pending_bytes = 0
        rooms = list(self._rooms())
        for first in range(0, len(rooms), ROOMS_AT_ONCE):
            part = rooms[first : first + ROOMS_AT_ONCE]
            readers = max(readers, *(room.subscriber_count for room in part))
            document_bytes = max(document_bytes, *(room.history.size[0] for room in part))
            pending_bytes = max(pending_bytes, *(room.pending_bytes for room in part))
            await slices.pause()
        counters = self._counters
        counters.room_readers_max = readers
        counters.room_document_bytes_max = document_bytes
        counters.room_pending_bytes_max = pending_bytes
