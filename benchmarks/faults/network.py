"""The network between each node and Redis, which can be cut for one of them.

The routing table names a Redis server by one address for all nodes, so they share a proxy; whose connection
it is tells the process that opened it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import psutil
import trio

from tests.proxy import Proxy


class Network:
    """One Proxy a node, behind one port. `families` gives the processes of each node."""

    def __init__(self, target_port: int, families: Callable[[], Sequence[Sequence[psutil.Process]]]) -> None:
        self.port = 0
        self._target_port = target_port
        self._families = families
        self._ways: dict[int, Proxy] = {}

    def way(self, node: int) -> Proxy:
        """The network of a node, counted from 0: cut it, heal it."""
        return self._ways.setdefault(node, Proxy(self._target_port))

    async def serve(self, client: trio.SocketStream) -> None:
        """Forward one connection."""
        port = client.socket.getpeername()[1]
        await self.way(self._node_of(port)).serve(client)

    def _node_of(self, port: int) -> int:
        for number, family in enumerate(self._families()):
            if any(_holds(process, port) for process in family):
                return number
        return 0  # of a process that has just ended, or of one that isn't a node


def _holds(process: psutil.Process, port: int) -> bool:
    try:
        return any(one.laddr and one.laddr.port == port for one in process.net_connections("tcp"))
    except psutil.NoSuchProcess:
        return False


@asynccontextmanager
async def network(
    target_port: int, families: Callable[[], Sequence[Sequence[psutil.Process]]]
) -> AsyncIterator[Network]:
    """A network that runs, on a free port."""
    made = Network(target_port, families)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, made.serve, listeners)
        yield made
        nursery.cancel_scope.cancel()
