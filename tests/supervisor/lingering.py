"""A client that holds up the end of its worker: its answer to the closing handshake never arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.cli.commands import Server
from tests.clients.wire import Wire, wire
from tests.proxy import Proxy, tcp_proxy
from tests.waiting import PATIENCE_S, until

# A worker that drains waits for it.
LINGERS = ("--set", "timeouts.close_timeout_s=600", "--set", "timeouts.drain_grace_s=600")


class Lingering(NamedTuple):
    """The client, and the name of its worker; until `leave` it stays."""

    opened: Wire
    worker: str
    proxy: Proxy

    async def sent_away(self) -> None:
        """Wait until it was told to go, and its answer is lost."""
        await until(lambda: self.proxy.swallowed, "a closing handshake that isn't answered")

    async def leave(self) -> int:
        """End the connection; returns the close code that it was told before."""
        self.proxy.cut()
        return await self.opened.closed()


@asynccontextmanager
async def lingering(server: Server) -> AsyncIterator[Lingering]:
    """A client of a node that `LINGERS`."""
    port = urlsplit(server.url).port
    assert port is not None
    async with tcp_proxy(port) as proxy:
        url = server.url.replace(f":{port}/", f":{proxy.port}/")
        async with wire(url, server.token(), close_timeout=PATIENCE_S) as opened:
            worker = (await opened.take("AUTH_ACK"))["node"]
            proxy.swallow_requests = True
            try:
                yield Lingering(opened, worker, proxy)
            finally:
                proxy.cut()
