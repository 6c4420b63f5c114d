"""What a socket didn't take, written whenever it can take more."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from _speedups.fanout import Frame
from gateway.runtime.metrics import Counters
from gateway.transport.outbox import Outbox

# Buffers of one gathering write (the kernel's IOV_MAX is 1024).
BUFFERS_MAX = 256


class Backlog(Outbox):
    """The outbox of one connection whose socket is full; `progress_s`: when that took something last."""

    __slots__ = ("_fd", "progress_s")

    def __init__(self, fd: int, bytes_max: int, counters: Counters, now_s: float) -> None:
        super().__init__(bytes_max, counters)
        self._fd = fd
        self.progress_s = now_s

    def push_frames(self, queue: Sequence[Frame], offset: int) -> bool:
        """Queue frames, `offset` bytes of the first of which are written; False: see `Outbox.push`."""
        fits = True
        for frame in queue:
            fits &= self.push(frame.data, frame.topic, frame.droppable, frame.ack, offset)
            offset = 0
        return fits

    def write(self, filled: Callable[[], bool], now_s: float) -> None:
        """Write until the socket is full again, or nothing is left; raises OSError when it's broken.

        `filled` says whether there is something to write, and may add to it.
        """
        while filled():
            try:
                self.advance(os.writev(self._fd, self.buffers(BUFFERS_MAX)))
            except BlockingIOError:
                return
            self.progress_s = now_s
