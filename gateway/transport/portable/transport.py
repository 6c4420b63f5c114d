"""The portable transport: trio-websocket on Trio's sockets or TLS. No compiler needed, no compression.

    serve ─┬─ accepting: its own scope, so that listeners close while connections live
           └─ connections: one task each, with a nursery inside (connection)

trio-websocket is given requests that are checked already and streams of ours (streams): by itself it
closes the socket without a close frame on a protocol error, and bounds neither fragments nor pings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import trio

from gateway.admission.addresses import HEADER_BYTES_MAX, proxy_header
from gateway.config import Config
from gateway.http.heads import bad_request
from gateway.http.stream import RequestStream
from gateway.ports import Connection, Endpoint, HttpService, Own, Rejection
from gateway.runtime.metrics import Counters
from gateway.transport import upgrade
from gateway.transport.handshakes import Handshakes
from gateway.transport.listening import RenewedCertificate, address_text, addresses, listen
from gateway.transport.portable.connection import RECEIVE_BYTES, PortableConnection
from gateway.transport.portable.streams import MeteredStream
from gateway.transport.unfinished import Unfinished

logger = logging.getLogger(__name__)


class PortableGroup:
    """Implements `gateway.ports.Group`."""

    def __init__(self) -> None:
        self._members: set[PortableConnection] = set()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Connection) -> None:
        assert isinstance(connection, PortableConnection)
        self._members.add(connection)
        connection.groups.add(self)

    def discard(self, connection: Connection) -> None:
        assert isinstance(connection, PortableConnection)
        self._members.discard(connection)
        connection.groups.discard(self)

    def publish(
        self,
        payloads: Sequence[bytes],
        own: Mapping[Connection, Mapping[int, Own]],
        topic: str,
        droppable: bool = False,
    ) -> None:
        for member in self._members:
            replaced = own.get(member)
            for i, payload in enumerate(payloads):
                mine = None if replaced is None else replaced.get(i)
                if mine is None:
                    member.send(payload, topic, droppable)
                elif mine.payload is not None:
                    member.send(mine.payload, topic, droppable, mine.ack)


class _Passed(NamedTuple):
    """Who answers the requests of a connection that begins with no handshake, and what was read of them."""

    service: HttpService
    received: bytes


_Opening = tuple[upgrade.Accepted, bytes] | _Passed | Rejection | None


class PortableTransport:
    """Implements `gateway.ports.Transport`. Raises ConfigError where the TLS files don't load.

    `reuse_port` lets the workers of one node listen on the same port.
    """

    name = "portable"

    def __init__(self, config: Config, counters: Counters, reuse_port: bool = False) -> None:
        self._config = config
        self._counters = counters
        self._reuse_port = reuse_port
        self._certificate = RenewedCertificate(config.server, counters)
        self._handshakes = Handshakes(config, counters)
        self._unfinished = Unfinished(config.limits)
        self._accepting = trio.CancelScope()

    def group(self) -> PortableGroup:
        return PortableGroup()

    async def hand_over(
        self, connection: Connection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> bool:
        """Its connections stay: a library's reader and TLS hold what another process couldn't know."""
        return False

    def stop_accepting(self) -> None:
        self._accepting.cancel()

    async def serve(
        self,
        endpoint: Endpoint,
        *,
        task_status: trio.TaskStatus[Sequence[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `gateway.ports.Transport.serve`; ConfigError where the address can't be bound."""
        listeners = await listen(self._config.server, self._reuse_port)
        async with trio.open_nursery() as connections:
            connections.start_soon(self._certificate.follow)
            with self._accepting:
                task_status.started(addresses(listeners))
                handler = partial(self._serve_socket, endpoint)
                await trio.serve_listeners(handler, listeners, handler_nursery=connections)
            await trio.sleep_forever()

    async def _serve_socket(self, endpoint: Endpoint, stream: trio.SocketStream) -> None:
        socket = MeteredStream(stream, self._config.timeouts.stall_timeout_s)
        try:
            remote = address_text(stream.socket.getpeername())
            if self._handshakes.enter(remote):
                await self._serve_peer(endpoint, socket, remote)
        except (trio.BrokenResourceError, OSError) as error:
            logger.debug("a peer left during its handshake: %r", error)
        except Exception:
            self._counters.internal_errors += 1
            logger.exception("a connection failed")
        finally:
            socket.close_now()

    async def _serve_peer(self, endpoint: Endpoint, socket: MeteredStream, remote: str) -> None:
        opening: _Opening = upgrade.LATE
        stream: trio.abc.Stream = socket
        counted = True
        try:
            with trio.move_on_after(self._config.timeouts.upgrade_timeout_s):
                announced = await self._announced(socket, remote)
                if isinstance(announced, str):
                    counted = announced == remote or self._handshakes.announced(remote, announced)
                    if not counted:
                        return
                    remote = announced
                    stream = await self._secured(socket)
                    opening = await self._opening(endpoint, stream, remote)
                else:
                    opening = announced
        finally:
            if counted:
                self._handshakes.leave(remote)
        await self._answer(endpoint, opening, stream, socket, remote)

    async def _answer(
        self,
        endpoint: Endpoint,
        opening: _Opening,
        stream: trio.abc.Stream,
        socket: MeteredStream,
        remote: str,
    ) -> None:
        """Do what was decided about a request; None: none came."""
        if isinstance(opening, Rejection):
            await self._refuse(opening, stream, socket)
        elif isinstance(opening, _Passed):
            await self._pass_on(endpoint, opening, stream, socket, remote)
        elif opening is not None:
            # No checkpoint since the endpoint decided, so it can rely on the count of connections.
            remote = opening[0].handshake.request.remote
            connection = PortableConnection(self._config, self._counters, socket, remote, self._unfinished)
            await connection.run(stream, *opening)

    async def _refuse(self, rejection: Rejection, stream: trio.abc.Stream, socket: MeteredStream) -> None:
        """Say why, unless TLS is spoken here and wasn't agreed on yet: nobody could read it."""
        self._handshakes.count_refusal(rejection.status)
        if stream is socket and self._config.server.tls_cert:
            return
        with trio.move_on_after(self._config.timeouts.close_timeout_s):
            await stream.send_all(upgrade.refusal(rejection))
            await socket.linger()

    async def _announced(self, socket: MeteredStream, remote: str) -> str | Rejection | None:
        """Whose connection it is: what a proxy says first, else the peer's; None: it left before."""
        if not self._handshakes.proxies.announces(remote):
            return remote
        head = b""
        while data := await socket.receive_some(HEADER_BYTES_MAX):
            head += data
            try:
                found = proxy_header(head)
            except ValueError as error:
                return bad_request(str(error))
            if found is not None:
                socket.unread = head[found[0] :]
                return found[1] or remote
        return None

    async def _opening(self, endpoint: Endpoint, stream: trio.abc.Stream, remote: str) -> _Opening:
        receive = partial(stream.receive_some, RECEIVE_BYTES)
        head = await upgrade.read_head(receive, self._config.limits.upgrade_bytes_max)
        return self._decided(endpoint, head, remote)

    def _decided(
        self, endpoint: Endpoint, head: tuple[bytes, bytes] | Rejection | None, remote: str
    ) -> _Opening:
        if head is None or isinstance(head, Rejection):
            return head
        decision = upgrade.decide(endpoint, head[0], remote, self._handshakes.proxies)
        if isinstance(decision, upgrade.Accepted):
            return decision, head[1]
        return decision if isinstance(decision, Rejection) else _Passed(decision, head[0] + head[1])

    async def _pass_on(
        self,
        endpoint: Endpoint,
        passed: _Passed,
        stream: trio.abc.Stream,
        socket: MeteredStream,
        remote: str,
    ) -> None:
        """No handshake: another server answers on this socket, until one comes."""
        timeouts = self._config.timeouts
        requests = RequestStream(
            stream, socket.bare, passed.received, timeouts.stall_timeout_s, timeouts.close_timeout_s
        )
        requests.remote = remote
        await passed.service.serve(requests)
        if requests.handshake:
            reader = upgrade.HeadReader(self._config.limits.upgrade_bytes_max)
            opening = self._decided(endpoint, reader.feed(requests.handshake), remote)
            await self._answer(endpoint, opening, stream, socket, remote)

    async def _secured(self, socket: MeteredStream) -> trio.abc.Stream:
        context = self._certificate.context()
        if context is None:
            return socket
        stream = trio.SSLStream(socket, context, server_side=True, https_compatible=True)
        await stream.do_handshake()
        return stream
