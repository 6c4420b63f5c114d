"""The fast transport: Trio sockets and the compiled kernels.

    serve ─┬─ poller, flusher, sweep          (loop)
           ├─ connections: one task each      (connection; before that arrival)
           └─ accepting: one task a listener

Accept and connections have nurseries of their own, so that the listeners close while connections drain. TLS
belongs to the portable transport or a load balancer: `obstacle` says so.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import trio

from _speedups import sockets
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.http.stream import RequestStream
from gateway.ports import Connection, Endpoint, HttpService
from gateway.runtime.metrics import Counters
from gateway.transport import upgrade
from gateway.transport.fast import compression
from gateway.transport.fast.arrival import Arrivals
from gateway.transport.fast.connection import FastConnection
from gateway.transport.fast.connection_task import ConnectionTask
from gateway.transport.fast.context import TransportContext
from gateway.transport.fast.group import FastGroup
from gateway.transport.fast.handover import Handovers
from gateway.transport.fast.loop import ACCEPT_FULL, ACCEPT_LOST
from gateway.transport.handshakes import Handshakes
from gateway.transport.listening import addresses, listen
from gateway.transport.siblings import Place

logger = logging.getLogger(__name__)

# Accepted before other tasks run; the kernel's queue keeps the rest.
ACCEPTS_MAX = 32
# Pause when descriptors have run out: the listener stays readable, and trying again at once would spin.
ACCEPT_PAUSE_S = 0.1


def obstacle(config: Config) -> str | None:
    """Why this transport can't be used with this configuration, for people; None when it can."""
    if sys.platform != "linux":
        return "the fast transport needs Linux (epoll)"
    if config.server.tls_cert:
        return "the fast transport has no TLS (a load balancer before it may end that)"
    return None


class FastTransport:
    """Implements `gateway.ports.Transport`. Raises ConfigError where `obstacle` names one.

    A worker of a node has a `place` there: it listens on the port that all of them share.
    """

    name = "fast"
    connection_type = FastConnection

    def __init__(self, config: Config, counters: Counters, place: Place | None = None) -> None:
        reason = obstacle(config)
        if reason is not None:
            raise ConfigError(reason)
        self._config = config
        self._reuse_port = place is not None
        self._shared = TransportContext(config, counters)
        self._arrivals = Arrivals(self._shared, Handshakes(config, counters), self._welcome, self._pass_on)
        self._accepting = trio.CancelScope()
        self._idle: list[ConnectionTask] = []
        self._connections: trio.Nursery | None = None
        self._handovers: Handovers | None = None
        if place is not None and place.folder and config.server.hand_over:
            arrive = self._arrivals.add_sent_on
            self._handovers = Handovers(place, self._arrived, arrive, self._shared.known_endpoint)
            self._arrivals.send_on = self._handovers.send_on

    def group(self) -> FastGroup:
        return FastGroup(self._shared)

    async def hand_over(
        self, connection: Connection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> bool:
        """See `gateway.ports.Transport.hand_over`."""
        if self._handovers is None:
            return False
        assert isinstance(connection, FastConnection)
        return await self._handovers.hand_over(connection, resource, pack, message)

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
            self._arrivals.close()
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
            shared.start_soon(self._shared.rests.run)
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
            self._arrivals.add(fd, remote)

    def _welcome(self, fd: int, accepted: upgrade.Accepted, rest: bytes) -> None:
        """A handshake was accepted."""
        window_bits, extension = 0, ""
        shake = accepted.handshake
        if self._shared.compression:
            window_bits, extension = compression.agree(shake.request.headers)
        answer = upgrade.acceptance(shake.key, accepted.admission.subprotocol, extension)
        connection = self._connect(fd, shake.request.remote, window_bits - 8 if window_bits else 0)
        connection.begin(answer, accepted.admission.open, rest)

    def _pass_on(self, fd: int, remote: str, service: HttpService, received: bytes) -> None:
        """No handshake: another server answers on this socket."""
        assert self._connections is not None, "accepted before it serves"
        bare = trio.socket.from_stdlib_socket(socket.socket(fileno=fd))
        timeouts = self._config.timeouts
        stream = RequestStream(
            trio.SocketStream(bare), bare, received, timeouts.stall_timeout_s, timeouts.close_timeout_s
        )
        stream.remote = remote
        self._connections.start_soon(self._serve_requests, service, stream)

    async def _serve_requests(self, service: HttpService, stream: RequestStream) -> None:
        with stream.socket:  # closed here, but for a handshake that goes on
            await service.serve(stream)
            if stream.handshake:
                self._shared.poller.now_s = trio.current_time()
                self._arrivals.add_sent_on(stream.socket.detach(), stream.remote, stream.handshake, 0)

    def _arrived(self, fd: int, remote: str, form: int) -> FastConnection:
        """Another worker gave this client away."""
        self._shared.poller.now_s = trio.current_time()
        return self._connect(fd, remote, form)

    def _connect(self, fd: int, remote: str, form: int) -> FastConnection:
        """A connection with a task of its own."""
        if self._idle:
            task = self._idle.pop()
        else:
            assert self._connections is not None, "accepted before it serves"
            task = ConnectionTask(self._idle)
            self._connections.start_soon(task.run)
        return self.connection_type(fd, remote, form, task, self._shared)
