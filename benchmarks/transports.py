"""The servers that are measured, each in a process of its own: `python -m benchmarks.transports NAME`.

All do the same: echo text messages, and on "!all SIZE" send one SIZE-byte message to every other connection
and answer "ok". The first line they print is their port. `floor` (floor.c) and `ws` (ws_peer.cjs) aren't
Python. The gateway's transports run with joining switched off, so that one message is one write.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from benchmarks.echo_server import EchoEndpoint, EchoSession, configuration, transport_of
from benchmarks.measure import CONNECTIONS_MAX, Server
from gateway.ports import Admission, Connection, Group, Own, Rejection, UpgradeRequest
from gateway.runtime.interpreter import raise_descriptors, runtime
from gateway.runtime.metrics import Counters

HERE = Path(__file__).parent
PREFIX = b"!all "

FAST = "gateway fast"
PORTABLE = "gateway portable"
FLOOR = "bare C"
PICOWS = "picows + uvloop"
WEBSOCKETS = "websockets on trio"
TRIO_WEBSOCKET = "trio-websocket"
NPM_WS = "ws (node)"
OTHERS = (PICOWS, NPM_WS, TRIO_WEBSOCKET, WEBSOCKETS)  # of other projects
PEERS = (FLOOR, FAST, *OTHERS, PORTABLE)


class PublishSession(EchoSession):
    """Echoes, and publishes to a group on command."""

    __slots__ = ("_group",)

    def __init__(self, group: Group, connection: Connection) -> None:
        super().__init__(connection)
        self._group = group
        group.add(connection)

    def receive(self, payload: bytes) -> None:
        if not payload.startswith(PREFIX):
            self._connection.send(payload)
            return
        message = b"x" * int(payload[len(PREFIX) :])
        self._group.publish([message], {self._connection: {0: Own(None)}}, "all")
        self._connection.send(b"ok")


class PublishEndpoint(EchoEndpoint):
    def __init__(self, group: Group) -> None:
        self._group = group

    def admit(self, request: UpgradeRequest) -> Admission | Rejection:
        return Admission(None, lambda connection: PublishSession(self._group, connection))


async def serve_gateway(name: str) -> None:
    """One of the gateway's transports."""
    config = configuration(0, flush_interval_max_ms=0, compression=False)
    transport = transport_of(name, config, Counters())
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(transport.serve, PublishEndpoint(transport.group()))
        print(addresses[0][1], flush=True)


async def serve_trio_websocket() -> None:
    import trio_websocket

    connections: set[trio_websocket.WebSocketConnection] = set()

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        author = await request.accept()
        connections.add(author)
        try:
            while True:
                text = str(await author.get_message())
                if not text.startswith("!all "):
                    await author.send_message(text)
                    continue
                message = "x" * int(text[5:])
                for connection in connections:
                    if connection is not author:
                        await connection.send_message(message)
                await author.send_message("ok")
        except trio_websocket.ConnectionClosed:
            pass
        finally:
            connections.discard(author)

    async with trio.open_nursery() as nursery:
        serve = trio_websocket.serve_websocket
        server = await nursery.start(serve, handle, "127.0.0.1", 0, None)
        print(server.port, flush=True)


async def serve_websockets_on_trio() -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.trio.connection import broadcast
    from websockets.trio.server import ServerConnection, serve

    connections: set[ServerConnection] = set()

    async def handle(author: ServerConnection) -> None:
        connections.add(author)
        try:
            async for text in author:
                assert isinstance(text, str)
                if not text.startswith("!all "):
                    await author.send(text)
                    continue
                await broadcast(connections - {author}, "x" * int(text[5:]))
                await author.send("ok")
        except ConnectionClosed:
            pass
        finally:
            connections.discard(author)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve(
                handle,
                0,
                host="127.0.0.1",
                backlog=4096,
                compression=None,
                ping_interval=None,
                task_status=task_status,
            )
        )
        print(server.listeners[0].socket.getsockname()[1], flush=True)


async def serve_picows() -> None:
    import picows

    connections: set[picows.WSTransport] = set()

    class Listener(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            connections.add(transport)

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type != picows.WSMsgType.TEXT:
                transport.disconnect()
                return
            payload = frame.get_payload_as_bytes()
            if not payload.startswith(PREFIX):
                transport.send(picows.WSMsgType.TEXT, payload)
                return
            message = b"x" * int(payload[len(PREFIX) :])
            for connection in connections:
                if connection is not transport:
                    connection.send(picows.WSMsgType.TEXT, message)
            transport.send(picows.WSMsgType.TEXT, b"ok")

        def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
            connections.discard(transport)

    server = await picows.ws_create_server(lambda _: Listener(), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def run_picows() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_picows())


def run_on_trio(serve: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    return lambda: trio.run(serve)


PYTHON_PEERS: Mapping[str, Callable[[], None]] = {
    FAST: run_on_trio(lambda: serve_gateway("fast")),
    PORTABLE: run_on_trio(lambda: serve_gateway("portable")),
    TRIO_WEBSOCKET: run_on_trio(serve_trio_websocket),
    WEBSOCKETS: run_on_trio(serve_websockets_on_trio),
    PICOWS: run_picows,
}


def missing(name: str) -> str | None:
    """Why a peer can't be measured here, or None."""
    if name == FLOOR and shutil.which("cc") is None:
        return "no C compiler"
    if name == NPM_WS and not (shutil.which("node") and (HERE / "node_modules" / "ws").is_dir()):
        return "node or its ws is missing: npm ci --prefix benchmarks"
    if name == PICOWS:
        try:
            import picows
            import uvloop  # noqa: F401
        except ImportError:
            return "pip install picows uvloop"
        assert picows
    return None


@contextmanager
def started(name: str) -> Iterator[Server]:
    """The peer's process, serving."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.transports", name]
        if name == FLOOR:
            command = [f"{folder}/floor"]
            subprocess.run(["cc", "-O2", "-o", command[0], str(HERE / "floor.c")], check=True)
        elif name == NPM_WS:
            command = ["node", str(HERE / "ws_peer.cjs")]
        with Server.started(command) as server:
            yield server


def present(names: Sequence[str]) -> list[str]:
    """Those that can be measured here; says which can't, and why."""
    reasons = {name: missing(name) for name in names}
    for name, reason in reasons.items():
        if reason is not None:
            print(f"{name} is left out: {reason}", file=sys.stderr)
    return list(itertools.filterfalse(reasons.get, names))


if __name__ == "__main__":
    raise_descriptors(CONNECTIONS_MAX)
    with runtime(Counters()) as tuned:
        tuned.started()
        PYTHON_PEERS[sys.argv[1]]()
