"""The fast transport: Trio sockets and the compiled kernels.

    serve ─┬─ poller, flusher, sweep          (fast_loop)
           ├─ connections: one task each      (fast_connection)
           └─ accepting: one task a listener

Accept and connections have nurseries of their own, so that the listeners close while connections drain. TLS
belongs to the portable transport or a load balancer: `obstacle` says so.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import trio

from _speedups import frames, sockets
from _speedups.fanout import FORMS_MAX, Frame, Members, Slots
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.ports import Connection, Endpoint, Rejection
from gateway.ports.values import Own
from gateway.runtime.metrics import Counters
from gateway.transport import upgrade
from gateway.transport.connection_task import ConnectionTask
from gateway.transport.fast_connection import FastConnection
from gateway.transport.fast_handover import Handovers, MovableConnection
from gateway.transport.fast_loop import ACCEPT_FULL, ACCEPT_LOST, Flusher, Poller, Sweep, tick_s
from gateway.transport.listening import addresses, listen
from gateway.transport.siblings import Place

if TYPE_CHECKING:
    from _speedups.fanout import Report

logger = logging.getLogger(__name__)

# Accepted before other tasks run; the kernel's queue keeps the rest.
ACCEPTS_MAX = 32
# Submissions under way beyond which nothing is read: two appends. See Poller.
PENDING_CHANGES_MAX = 2000
# Joined for one connection at most; then it is written at once.
JOINED_BYTES_MAX = 64 * 1024
# Pause when descriptors have run out: the listener stays readable, and trying again at once would spin.
ACCEPT_PAUSE_S = 0.1


def obstacle(config: Config) -> str | None:
    """Why this transport can't be used with this configuration, for people; None when it can."""
    if sys.platform != "linux":
        return "the fast transport needs Linux (epoll)"
    if config.server.tls_cert:
        return (
            "the fast transport has no TLS: set server.transport to auto or portable, "
            "or let the load balancer end TLS"
        )
    return None


class TransportContext:
    """What all connections of one transport use."""

    def __init__(self, config: Config, counters: Counters) -> None:
        server = config.server
        self.limits = config.limits
        self.timeouts = config.timeouts
        self.compression = server.compression
        self.counters = counters
        # What is joined isn't in the outbox yet: it must not pass that one's limits at once.
        self.slots = Slots(min(JOINED_BYTES_MAX, config.limits.outbox_bytes_max // 4))
        self.connections: dict[int, FastConnection] = {}  # by handle, the open ones
        self.poller = Poller(lambda: counters.pending_changes > PENDING_CHANGES_MAX)
        self.flusher = Flusher(self.slots, self._report, server.flush_interval_max_ms, server.flush_slice_ms)
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
        self.endpoint: Endpoint | None = None
        self._compression_bytes_min = server.compression_bytes_min

    def known_endpoint(self) -> Endpoint:
        """What `serve` was given."""
        assert self.endpoint is not None, "asked before it serves"
        return self.endpoint

    def decide(self, head: bytes, remote: str) -> upgrade.Accepted | Rejection:
        return upgrade.decide(self.known_endpoint(), head, remote)

    def remember(self, connection: FastConnection) -> None:
        """A connection's handshake was accepted."""
        self.connections[connection.handle] = connection
        self.counters.connections += 1

    def forget(self, connection: FastConnection, code: int | None) -> None:
        """A connection is gone, without a code to another worker; it counts if it ever was a WebSocket."""
        if self.connections.pop(connection.handle, None) is not None:
            self.counters.connections -= 1
            if code is None:
                self.counters.connections_handed_over += 1
            else:
                self.counters.connections_closed[str(code)] += 1

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

    def _report(self, report: Report) -> None:
        handle, error, queue, offset = report
        connection = self.connections.get(handle)
        if connection is not None:
            connection.take_report(error, queue, offset)


class FastGroup:
    """Implements `gateway.ports.Group` with the fan-out kernel."""

    __slots__ = ("_forms", "_members", "_shared")

    def __init__(self, shared: TransportContext) -> None:
        self._shared = shared
        self._members = Members()
        self._forms: dict[int, int] = {}  # members of each form

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Connection) -> None:
        fast = cast(FastConnection, connection)
        if self not in fast.groups and fast.handle in self._shared.connections:
            fast.groups += (self,)
            self._members.add(fast.handle)
            self._forms[fast.form] = self._forms.get(fast.form, 0) + 1

    def discard(self, connection: Connection) -> None:
        fast = cast(FastConnection, connection)
        if self._members.discard(fast.handle):
            fast.groups = tuple(group for group in fast.groups if group is not self)
            self._forms[fast.form] -= 1
            if not self._forms[fast.form]:
                del self._forms[fast.form]

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        """See `gateway.ports.Group.publish`."""
        shared = self._shared
        forms: list[list[Frame] | None] = [None] * FORMS_MAX
        for form in self._forms:
            forms[form] = [Frame(shared.encode(payload, form), topic, droppable) for payload in payloads]
        substitutes = {}
        for connection, places in own.items():
            fast = cast(FastConnection, connection)
            frames_of_form = forms[fast.form]
            if frames_of_form is not None:
                substitutes[fast.handle] = self._substitute(frames_of_form, places, fast.form, topic)
        blocked = shared.slots.publish(self._members, tuple(forms), substitutes)
        for handle in blocked:
            slow = shared.connections.get(handle)
            if slow is not None:
                slow.enqueue_published(substitutes.get(handle, forms[slow.form]) or ())
        size = 0
        for payload in payloads:
            size += len(payload)
        shared.counters.messages_sent += len(self) * len(payloads)
        shared.counters.bytes_sent += len(self) * size
        shared.flush_soon()

    def _substitute(
        self, shared_frames: list[Frame], places: Mapping[int, Own], form: int, topic: str
    ) -> list[Frame]:
        """One member's frames: its own in the places that `places` names."""
        mine: list[Frame] = []
        for index, frame in enumerate(shared_frames):
            substitute = places.get(index)
            if substitute is None:
                mine.append(frame)
            elif substitute.payload is not None:
                data = self._shared.encode(substitute.payload, form)
                mine.append(Frame(data, topic, False, substitute.ack))
        return mine


class FastTransport:
    """Implements `gateway.ports.Transport`. Raises ConfigError where `obstacle` names one.

    A worker of a node has a `place` there: it listens on the port that all of them share.
    """

    name = "fast"
    connection_type: type[FastConnection] = MovableConnection

    def __init__(self, config: Config, counters: Counters, place: Place | None = None) -> None:
        reason = obstacle(config)
        if reason is not None:
            raise ConfigError(reason)
        self._config = config
        self._reuse_port = place is not None
        self._shared = TransportContext(config, counters)
        self._accepting = trio.CancelScope()
        self._idle: list[ConnectionTask] = []
        self._connections: trio.Nursery | None = None
        self._handovers: Handovers | None = None
        if place is not None and place.folder and config.server.hand_over:
            self._handovers = Handovers(place, self._connect_movable, self._shared.known_endpoint)

    @property
    def connection_count(self) -> int:
        return len(self._shared.connections)

    def group(self) -> FastGroup:
        return FastGroup(self._shared)

    async def hand_over(
        self, connection: Connection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> bool:
        """See `gateway.ports.Transport.hand_over`."""
        if self._handovers is None:
            return False
        movable = cast(MovableConnection, connection)
        return await self._handovers.hand_over(movable, resource, pack, message)

    def stop_accepting(self) -> None:
        self._accepting.cancel()
        if self._handovers is not None:
            self._handovers.close()

    async def serve(
        self,
        endpoint: Endpoint,
        *,
        task_status: trio.TaskStatus[Sequence[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `gateway.ports.Transport.serve`."""
        self._shared.endpoint = endpoint
        listeners = await listen(self._config.server, self._reuse_port)
        try:
            await self._serve(listeners, task_status)
        finally:
            self._shared.poller.close()

    async def _serve(
        self,
        listeners: Sequence[trio.SocketListener],
        task_status: trio.TaskStatus[Sequence[tuple[str, int]]],
    ) -> None:
        async with trio.open_nursery() as shared:
            shared.start_soon(self._shared.poller.run)
            shared.start_soon(self._shared.flusher.run)
            shared.start_soon(self._shared.sweep.run)
            async with trio.open_nursery() as self._connections:
                if self._handovers is not None:
                    await shared.start(self._handovers.run)
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        task_status.started(addresses(listeners))
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener)
                await trio.sleep_forever()

    async def _accept(self, listener: trio.SocketListener) -> None:
        # Without Trio's wrapper, several connections can be accepted between two checkpoints.
        with socket.socket(fileno=listener.socket.detach()) as bare:
            bare.setblocking(False)
            bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
            while True:
                await trio.lowlevel.wait_readable(bare)
                try:
                    self._accept_some(bare.fileno())
                except OSError as error:
                    if error.errno in ACCEPT_FULL:
                        logger.error("can't accept a connection: %s; trying again", error)
                        await trio.sleep(ACCEPT_PAUSE_S)
                    elif error.errno not in ACCEPT_LOST:
                        raise

    def _accept_some(self, listener: int) -> None:
        self._shared.poller.now_s = trio.current_time()
        for fd, remote in sockets.accept(listener, ACCEPTS_MAX):
            self._connect(fd, remote).begin()

    def _connect(self, fd: int, remote: str) -> FastConnection:
        """A connection with a task of its own."""
        if self._idle:
            task = self._idle.pop()
        else:
            assert self._connections is not None, "accepted before it serves"
            task = ConnectionTask(self._idle)
            self._connections.start_soon(task.run)
        task.connection = connection = self.connection_type(fd, remote, task, self._shared)
        return connection

    def _connect_movable(self, fd: int, remote: str) -> MovableConnection:
        self._shared.poller.now_s = trio.current_time()
        return cast(MovableConnection, self._connect(fd, remote))
