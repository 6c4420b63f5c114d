"""The process of one worker: a node without an admin port of its own, on the port that it shares.

`python -m gateway.supervisor.worker DESCRIPTOR`: the descriptor is the worker's end of a channel. The first
message brings the configuration; the end of the channel, as when the supervisor dies, drains the worker.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import signal
import socket
import sys
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

import trio
from starlette.applications import Starlette

from gateway.admin.insight import REPEATED
from gateway.config import Config
from gateway.errors import GatewayError, first_of
from gateway.node import Addresses, Node
from gateway.runtime import logs
from gateway.runtime.clock import SteadyClock
from gateway.supervisor.channel import Channel, Frame
from gateway.transport.siblings import Place

logger = logging.getLogger("gateway.worker")

REFUSED_STATUS = 2
TELL_INTERVAL_S = 0.25


class Worker:
    """A node that answers its supervisor."""

    def __init__(self, channel: Channel, config: Config, place: Place) -> None:
        self._channel = channel
        self._folder = place.folder
        self._node = Node(config, admin=False, place=place)
        self._application: Starlette | None = None

    async def run(self) -> None:
        """Serve until drained."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery)
            nursery.start_soon(self._obey_signals, nursery.cancel_scope)
            await self._serve()
            nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_what_it_waits_for)
            addresses: Addresses = await nursery.start(self._node.run)
            self._application = self._node.admin_application(addresses.websocket[0])
            await self._tell({"type": "ready", "addresses": addresses.websocket})

    async def _tell_what_it_waits_for(self) -> None:
        """Again and again, though it be nothing: who is silent hangs.

        A supervisor of before an upgrade takes it for the answer to what it never asked.
        """
        while self._application is None:
            await self._tell({"type": "waits", "id": 0, "for": self._node.awaited()})
            await trio.sleep(TELL_INTERVAL_S)

    def _end(self, scope: trio.CancelScope) -> None:
        """Drain; who still waits for servers has nothing to drain, and ends at once."""
        self._node.drain()
        if self._application is None:
            scope.cancel()

    async def _obey_signals(self, scope: trio.CancelScope) -> None:
        # Whoever tells all processes of a node by SIGINT tells the supervisor too, which drains us in order.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    self._end(scope)

    async def _listen(self, nursery: trio.Nursery) -> None:
        while (frame := await self._channel.receive()) is not None:
            if frame.header["type"] == "counters":
                await self._answer(frame, {"counters": self._node.counters().export()})
            elif frame.header["type"] == "http":
                nursery.start_soon(self._respond, frame)
            elif frame.header["type"] == "note":
                self._node.note(frame.header["act"], frame.header["subject"], **frame.header["details"])
            else:
                self._end(nursery.cancel_scope)
        logger.warning("the supervisor is gone: draining")
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)  # what it couldn't clear away
        self._end(nursery.cancel_scope)

    async def _respond(self, frame: Frame) -> None:
        assert self._application is not None, "asked before it was ready"
        header, body = await respond(self._application, frame)
        await self._answer(frame, header, body)

    async def _answer(self, frame: Frame, header: dict[str, Any], body: bytes = b"") -> None:
        await self._tell({"type": "answer", "id": frame.header["id"], **header}, body)

    async def _tell(self, header: dict[str, Any], body: bytes = b"") -> None:
        try:
            with trio.CancelScope(shield=True):  # half a message would be the last; who listens always reads
                await self._channel.send(header, body)
        except trio.BrokenResourceError:
            self._node.drain()


async def respond(application: Starlette, frame: Frame) -> tuple[dict[str, Any], bytes]:
    """Give a request to an ASGI application: the answer's status and headers, and its body."""
    asked = frame.header
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked["method"],
        "scheme": "http",
        "path": unquote(asked["path"]),
        "raw_path": asked["path"].encode("latin-1"),
        "query_string": asked["query"].encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in asked["headers"]],
        "client": asked.get("client"),  # a supervisor of before an upgrade doesn't tell
        "server": None,
        REPEATED: asked["repeated"],
    }
    header: dict[str, Any] = {"status": 500, "headers": []}
    body = bytearray()

    async def send(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            pairs = event.get("headers", ())
            header["status"] = event["status"]
            header["headers"] = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        else:
            body.extend(event.get("body", b""))

    try:
        async with aclosing(_events(frame.body)) as incoming:
            await application(scope, incoming.__anext__, send)
    except Exception:  # of a bug, once it is answered: starlette leaves it to the server
        logger.exception("a request of operators failed: %s %s", asked["method"], asked["path"])
    return header, bytes(body)


async def _events(body: bytes) -> AsyncGenerator[dict[str, Any], None]:
    """What the application receives: the body, and never the end of the client."""
    yield {"type": "http.request", "body": body, "more_body": False}
    await trio.sleep_forever()


async def _main(descriptor: int) -> int:
    with socket.socket(fileno=descriptor) as connected:
        connected.set_inheritable(False)
        channel = Channel(trio.SocketStream(trio.socket.from_stdlib_socket(connected)))
        setup = await channel.receive()
        if setup is None:
            return 1
        name, level = setup.header["name"], setup.header["log_level"]
        # from our own parent, through a socket nobody else has
        config, place = pickle.loads(setup.body)
        logs.configure(level, config.server.log_format, name, folder=place.folder)
        try:
            await Worker(channel, config, place).run()
        except Exception as error:
            refused = first_of(error, alone=True)
            if not isinstance(refused, GatewayError):  # a bug
                raise
            await channel.send({"type": "failed", "kind": type(refused).__name__, "message": str(refused)})
            return REFUSED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(trio.run(_main, int(sys.argv[1]), clock=SteadyClock()))
