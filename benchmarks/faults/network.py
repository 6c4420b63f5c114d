"""The network between each node and Redis, which can be cut for one of them.

The routing table names a Redis server by one address for all nodes, so they share a proxy; whose connection
it is tells the process that opened it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.proxy import Proxy


class Network:
    """One Proxy a node, behind one port. `families` gives the processes of each node, by pid."""

    def __init__(self, target_port: int, families: Callable[[], Sequence[Sequence[int]]]) -> None:
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
        link = f"socket:[{_inode(port)}]"
        for number, family in enumerate(self._families()):
            if any(_holds(pid, link) for pid in family):
                return number
        return 0  # of a process that has just ended, or of one that isn't a node


def _inode(port: int) -> str:
    """Of the socket at this end of a loopback connection (proc(5), /proc/net/tcp)."""
    own_end = f": 0100007F:{port:04X} "
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if own_end in line:
            return line.split()[9]
    return ""


def _holds(pid: int, link: str) -> bool:
    """Whether a process has this file open. psutil would parse every connection of the machine each time."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(_target(entry.path) == link for entry in entries)
    except FileNotFoundError:
        return False


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


@asynccontextmanager
async def network(
    target_port: int, families: Callable[[], Sequence[Sequence[int]]]
) -> AsyncIterator[Network]:
    """A network that runs, on a free port."""
    made = Network(target_port, families)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, made.serve, listeners)
        yield made
        nursery.cancel_scope.cancel()
