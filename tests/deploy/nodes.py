"""Two nodes behind the real HAProxy, started and stopped by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from tests.cli.commands import Server, served, token
from tests.clients.wire import wire
from tests.deploy import haproxy
from tests.deploy.haproxy import Place
from tests.servers import free_port, redis_server
from tests.waiting import PATIENCE_S


class Cluster:
    """Two nodes with fixed places, started and stopped by the test, and HAProxy before them."""

    def __init__(self, data: Path, redis_url: str, words: tuple[str, ...]) -> None:
        self.places = [Place(free_port(), free_port()) for _ in range(2)]
        self.url = ""
        self._data = data
        self._words = (*words, "--redis", redis_url, "--set", "limits.operations_per_minute=0")
        self._running: list[tuple[AsyncExitStack, Server] | None] = [None, None]

    async def start(self, number: int) -> None:
        place = self.places[number]
        ports = ("--port", str(place.port), "--admin-port", str(place.admin_port))
        stack = AsyncExitStack()
        server = await stack.enter_async_context(
            served(self._data, *ports, "--node", f"node{number + 1}", *self._words)
        )
        self._running[number] = stack, server

    async def stop(self, number: int) -> int:
        """SIGTERM; the exit status."""
        running, self._running[number] = self._running[number], None
        assert running is not None
        stack, server = running
        status = await server.stop()
        await stack.aclose()
        return status

    @property
    def pids(self) -> list[int]:
        """The processes of the nodes that run."""
        return [running[1].command.process.pid for running in self._running if running is not None]

    @property
    def token(self) -> str:
        """A token for everything that tests do."""
        return token(self._data)

    async def close(self) -> None:
        for running in self._running:
            if running is not None:
                await running[0].aclose()

    async def landed(self) -> str:
        """The node that a new client gets to."""
        async with wire(self.url, self.token) as connected:
            return str((await connected.take("AUTH_ACK"))["node"])

    async def until_used(self, *names: str) -> None:
        """Wait until new clients have got to each of these nodes."""
        wanted = set(names)
        with trio.fail_after(PATIENCE_S):
            while wanted:
                wanted.discard(await self.landed())
                await trio.sleep(0.05)


@asynccontextmanager
async def cluster(data: Path, *words: str) -> AsyncIterator[Cluster]:
    with redis_server() as redis:
        nodes = Cluster(data, redis.url, words)
        try:
            for number in range(2):
                await nodes.start(number)
            with haproxy.haproxy(nodes.places) as balancer:
                nodes.url = balancer.url
                await nodes.until_used("node1", "node2")
                yield nodes
        finally:
            with trio.CancelScope(shield=True):
                await nodes.close()
