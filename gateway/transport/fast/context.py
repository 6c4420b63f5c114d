"""What all connections of one fast transport share: limits, the fan-out kernel, the poller, the timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from _speedups import frames
from _speedups.fanout import Frame, Slots
from gateway.config import Config
from gateway.ports import Endpoint
from gateway.runtime.labels import close_label
from gateway.runtime.metrics import Counters
from gateway.transport.fast.loop import Flusher, Poller, Rests, Sweep, tick_s
from gateway.transport.unfinished import Unfinished

if TYPE_CHECKING:
    from _speedups.fanout import Report

# Submissions under way beyond which nothing is read: ten appends. Edits are refused before (`hub.overload`).
PENDING_CHANGES_MAX = 10_000
# Up to this share of busy time of the loop, reading waits for the commits that gather.
READS_WAIT_BUSY_MAX = 0.5
# Joined for one connection at most; then it is written at once.
JOINED_BYTES_MAX = 64 * 1024


class Reported(Protocol):
    """A connection, as the fan-out kernel's reports need it."""

    handle: int

    def take_report(self, error: int, queue: list[Frame], offset: int) -> None:
        """The kernel didn't take these frames."""
        ...


class TransportContext:
    """See the module's docstring. `endpoint` is what `serve` was given."""

    def __init__(self, config: Config, counters: Counters) -> None:
        server = config.server
        self.limits = config.limits
        self.timeouts = config.timeouts
        self.compression = server.compression
        self.counters = counters
        # What is joined isn't in the outbox yet: it must not pass that one's limits at once.
        self.slots = Slots(min(JOINED_BYTES_MAX, config.limits.outbox_bytes_max // 4))
        self.connections: dict[int, Any] = {}  # by handle, the open ones
        self.poller = Poller(
            lambda: counters.pending_changes > PENDING_CHANGES_MAX,
            overloaded=lambda: counters.overloaded > 0,
            reads_wait_s=self._reads_wait_s,
        )
        self.flusher = Flusher(
            self.slots,
            self._report,
            server.flush_interval_max_ms,
            server.flush_slice_ms,
            counters.step_seconds["flush"],
        )
        times = config.timeouts
        self.sweep = Sweep(
            tick_s(
                (
                    times.ping_interval_s,
                    times.upgrade_timeout_s,
                    times.stall_timeout_s,
                    times.close_timeout_s,
                )
            )
        )
        self.rests = Rests()
        self.unfinished = Unfinished(config.limits)
        self.endpoint: Endpoint | None = None
        self._compression_bytes_min = server.compression_bytes_min

    def known_endpoint(self) -> Endpoint:
        """What `serve` was given."""
        assert self.endpoint is not None, "asked before it serves"
        return self.endpoint

    def remember(self, connection: Reported) -> None:
        """A connection is open."""
        self.connections[connection.handle] = connection
        self.counters.connections += 1

    def forget(self, connection: Reported, code: int | None) -> None:
        """A connection is gone, without a code to another worker."""
        del self.connections[connection.handle]
        self.counters.connections -= 1
        if code is None:
            self.counters.connections_handed_over += 1
        else:
            self.counters.connections_closed[close_label(code)] += 1

    def encode(self, payload: bytes, form: int, opcode: int = frames.TEXT) -> bytes:
        """A message's frame for connections of this form (see `FastConnection.form`)."""
        if form and len(payload) >= self._compression_bytes_min:
            return frames.encode(opcode, frames.deflate(payload, form + 8), True)
        return frames.encode(opcode, payload)

    def flush_soon(self) -> None:
        """Frames were queued for many: write at once on a quiet node, joined on a busy one."""
        if not self.flusher.load.interval_s:
            self.flusher.flush_slice()
        if self.slots.dirty_slots:
            self.flusher.wake()

    def _reads_wait_s(self) -> float:
        """A loop that has little time left doesn't spend it waiting."""
        if self.flusher.load.busy > READS_WAIT_BUSY_MAX:
            return 0.0
        return self.known_endpoint().edits_wait_s()

    def _report(self, report: Report) -> None:
        handle, error, queue, offset = report
        connection: Reported | None = self.connections.get(handle)
        if connection is not None:
            connection.take_report(error, queue, offset)
