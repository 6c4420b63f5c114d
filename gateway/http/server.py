"""An ASGI application on sockets: hypercorn's HTTP/1.1 on Trio, bounded and inside the caller's nurseries.

No HTTP/2: what a peer can make one connection do is bounded by answering one request after the other.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ConfigError
from gateway.http.http1 import BODY, BODY_HEADERS, Client, Gate, Http1, Waiting
from gateway.http.stream import Pending, RequestStream
from gateway.runtime.metrics import Counters

BACKLOG = 128
GRACEFUL_TIMEOUT_S = 2.0
KEEP_ALIVE_TIMEOUT_S = 15.0
REQUEST_LINE_BYTES_MAX = 16 * 1024
# Of a connection of the operators' port, on which nobody waits for news.
STALL_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
# Connections of the operators' port, and bytes of answers that may wait to be read there.
OPERATORS_MAX = 256
PENDING_BYTES_MAX = 64 << 20
# Of a request that is answered before it came: what is waited for.
REST_S = 1.0
REST_BYTES_MAX = 64 * 1024

# Bugs of the application, and not that it runs.
logger = logging.getLogger("gateway.http.server")
logger.setLevel(logging.WARNING)


class _Received:
    """An application that answers when the request has come, though it may not have read it.

    Who is refused by his headers can go on with the connection then. Of a body that is longer, or comes more
    slowly, the rest is thrown away: what nobody reads would hold up the connection's end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if BODY_HEADERS.isdisjoint(name for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, scope["state"][BODY])
        async with trio.open_nursery() as nursery:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await body.come()
                    nursery.start_soon(body.discard)
                await send(message)

            await self._app(scope, body.receive, answer)
            nursery.cancel_scope.cancel()


class _Body:
    """What comes of the body of a request. A peer that waits to be asked for it is, when it is read."""

    def __init__(self, receive: Receive, peer: Waiting) -> None:
        self._receive = receive
        self._peer = peer
        self._more = True
        self._bytes = 0

    async def receive(self) -> Message:
        """The next message, for who reads it."""
        await self._peer.ask()
        return await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._more = message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        return message

    async def come(self) -> None:
        """Wait for the rest, for REST_S and while all of it isn't more than REST_BYTES_MAX; for none that is
        still to be asked for."""
        with trio.move_on_after(REST_S):
            while self._more and self._bytes < REST_BYTES_MAX and not self._peer.waits:
                await self._next()

    async def discard(self) -> None:
        """Throw away the rest, until it ends or the connection does."""
        while self._more:
            await self._next()


class _Connection(TCPServer):
    """hypercorn's connection over a stream of ours."""

    stream: RequestStream  # type: ignore[assignment]
    gate: Gate | None = None

    async def run(self) -> None:
        """Answer requests until either side ends."""
        bare = self.stream.socket
        client = _client(self.stream) or parse_socket_addr(bare.family, bare.getpeername())
        server = parse_socket_addr(bare.family, bare.getsockname())
        try:
            async with TaskGroup() as self._task_group:
                self.protocol = self._made_protocol(client, server)  # type: ignore[assignment]
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()
        finally:  # each holds the other: they would be a cycle, for which nobody may look
            vars(self.protocol).clear()
            vars(self).clear()

    def _made_protocol(self, client: Client | None, server: Client | None) -> Http1:
        return Http1(
            self.gate,
            self._hand_back,
            self.app,
            self.config,
            self.context,
            self._task_group,
            ConnectionState(self.state),
            self.stream.encrypted,
            client,
            server,
            self.protocol_send,
        )

    def _hand_back(self, handshake: bytes) -> None:
        self.stream.handshake = handshake


def _client(stream: RequestStream) -> Client | None:
    """Host and port of who a proxy said that it is."""
    host, _, port = stream.remote.rpartition(":")
    return (host.strip("[]"), int(port)) if host else None


class HttpServer:
    """Answers the requests of each stream that it is given, `connections_max` at a time; those that `gate`
    lets in."""

    def __init__(
        self,
        app: ASGIApp,
        connections_max: int,
        counters: Counters | None = None,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._pending = Pending(pending_bytes_max)
        self._app = ASGIWrapper(_Received(app))  # type: ignore[arg-type]
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._connections_max = connections_max
        self._counters = counters
        self._taken = 0
        self._streams: set[RequestStream] = set()
        self._emptied = trio.Event()

    def take(self) -> HttpServer | None:
        """A place for a connection, which is to be served then; None where it would be too many."""
        if self._taken >= self._connections_max:
            return None
        self._taken += 1
        return self

    async def serve(self, stream: RequestStream) -> None:
        """Serve a connection, which has a place, to its end, or to a handshake.

        Never raises for what a peer or the application does.
        """
        self._streams.add(stream)
        stream.pending = self._pending
        if self._counters is not None:
            self._counters.http_connections += 1
        try:
            await self._connection(stream).run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as group:
            logger.debug("a peer left: %s", group.exceptions)
        except* Exception:
            logger.exception("a connection failed")
        finally:
            if not stream.handshake:
                stream.close_now()
            self._streams.discard(stream)
            self._taken -= 1
            if self._counters is not None:
                self._counters.http_connections -= 1
            if not self._taken:
                self._emptied.set()
                self._emptied = trio.Event()

    def _connection(self, stream: RequestStream) -> _Connection:
        state: LifespanState = {}
        connection = _Connection(self._app, self._config, self._context, state, stream)  # type: ignore[arg-type]
        connection.gate = self._gate
        return connection

    async def drain(self) -> None:
        """Have idle connections end, and the others after their answer; waits GRACEFUL_TIMEOUT_S for them."""
        await self._context.terminated.set()
        with trio.move_on_after(GRACEFUL_TIMEOUT_S):
            while self._taken:
                await self._emptied.wait()

    def close(self) -> None:
        """End every connection at once."""
        for stream in self._streams:
            stream.close_now()


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises ConfigError when the address can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"can't listen on {host}:{port} for the admin HTTP: {error.strerror}; "
            "choose another --admin-host or --admin-port, or stop what uses it"
        ) from error
    return bound


async def serve(
    app: ASGIApp,
    bound: socket.socket,
    until: Callable[[], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the operators' port until `until` returns, then let running requests end.

    Takes the socket over; started with its host and port once it listens.
    """
    server = HttpServer(app, OPERATORS_MAX)
    host, port = bound.getsockname()[:2]
    bound.setblocking(False)
    bound.listen(BACKLOG)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))

    async def connected(stream: trio.SocketStream) -> None:
        if server.take() is None:
            await stream.aclose()
        else:
            wrapped = RequestStream(stream, stream.socket, b"", STALL_TIMEOUT_S, CLOSE_TIMEOUT_S)
            await server.serve(wrapped)

    async with trio.open_nursery() as connections:
        try:
            async with trio.open_nursery() as accepting:
                accept = partial(trio.serve_listeners, connected, [listener], handler_nursery=connections)
                await accepting.start(accept)
                task_status.started((host, port))
                await until()
                accepting.cancel_scope.cancel()
            await server.drain()
        finally:
            server.close()
            connections.cancel_scope.cancel()


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = logger
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.h11_max_incomplete_size = REQUEST_LINE_BYTES_MAX
    config.include_server_header = False
    return config
