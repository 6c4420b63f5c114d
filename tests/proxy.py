"""A TCP proxy on loopback that breaks the network on demand: cut, delay, swallow.

async with tcp_proxy(server.port) as proxy:
    ... connect to proxy.port ...
    proxy.swallow_replies = True     # requests arrive, answers don't
    proxy.cut()                      # every connection ends; new ones are refused until heal()
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

CHUNK_BYTES = 65536


class Proxy:
    """Forwards connections to `target_port`. The attributes may be changed at any time.

    `delay_s` holds back each chunk; `swallow_requests` and `swallow_replies` drop what goes that way, without
    ending anything: a network that loses packets for ever; `swallowed` counts them. From a request with
    `unanswered` in it on, answers don't come. `meanwhile` is awaited with each chunk before it goes on.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.delay_s = 0.0
        self.swallow_requests = False
        self.swallow_replies = False
        self.swallowed = 0
        self.unanswered = b""
        self.meanwhile: Callable[[bytes], Awaitable[object]] | None = None
        self.connections = 0
        self._refusing = False
        self._scopes: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """End every connection, and accept none that lasts until `heal`."""
        self._refusing = True
        for scope in self._scopes:
            scope.cancel()

    def heal(self) -> None:
        """Forward again, both ways, at once."""
        self._refusing = self.swallow_requests = self.swallow_replies = False
        self.delay_s = 0.0

    async def serve(self, client: trio.SocketStream) -> None:
        """Forward one connection until either end closes it, or it's cut."""
        if self._refusing:
            await trio.aclose_forcefully(client)
            return
        self.connections += 1
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                server = await trio.open_tcp_stream("127.0.0.1", self.target_port)
                async with client, server, trio.open_nursery() as nursery:
                    nursery.start_soon(self._forward, client, server, lambda: self.swallow_requests, scope)
                    nursery.start_soon(self._forward, server, client, lambda: self.swallow_replies, scope)
            except OSError:
                await trio.aclose_forcefully(client)
            finally:
                self._scopes.discard(scope)

    async def _forward(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        swallows: Callable[[], bool],
        scope: trio.CancelScope,
    ) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                if self.delay_s:
                    await trio.sleep(self.delay_s)
                if self.meanwhile is not None:
                    await self.meanwhile(data)
                if swallows():
                    self.swallowed += 1
                else:
                    self.swallow_replies |= bool(self.unanswered) and self.unanswered in data
                    await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def tcp_proxy(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy that runs, on a free port."""
    proxy = Proxy(target_port)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, proxy.serve, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
