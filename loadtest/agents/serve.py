"""An agent: it waits for coordinators that have its secret, and runs generator processes for them.

A connection is one generator process. The coordinator says, as JSON data:

    {"do": "clock", "number": n}        answered by {"kind": "clock", "number": n, "now_ns": monotonic}
    {"do": "work", "config": {...}}     start a worker; each line it says goes to the coordinator as it is
    {"do": "tell", "line": {...}}       a line to the worker

The first answer is a `hello`: what this machine is. When the connection ends, so does the worker.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import trio

from loadtest.agents.address import Address, AgentError
from loadtest.agents.channel import FIRST_BYTES_MAX, Channel, ChannelError, meet
from loadtest.errors import words
from loadtest.generators import WorkerProcess

GREETING_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 64  # each is a process


def versions() -> dict[str, str]:
    """What must be the same everywhere: the same schedule is drawn on every machine."""
    return {"loadtest": importlib.metadata.version("collab-gateway"), "numpy": np.__version__}


def machine() -> str:
    """The same for all processes of one running system."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


async def listen(address: Address) -> tuple[Address, list[trio.SocketListener]]:
    """(where it listens, what does so) of an agent; raises AgentError."""
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        raise AgentError(f"can't listen on {address}: {error.strerror}; give another --listen") from None
    return Address(address.host, listeners[0].socket.getsockname()[1]), listeners


class Agent:
    """Serves coordinators, one generator process a connection."""

    def __init__(self, secret: bytes, say: Callable[[str], None]) -> None:
        self._secret, self._say = secret, say
        self._places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Serve who comes until cancelled."""
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            peer = str(Address(*stream.socket.getpeername()[:2]))
        except OSError:  # gone already
            return
        try:
            self._places.acquire_on_behalf_of_nowait(stream)
        except trio.WouldBlock:
            self._say(f"{peer} was turned away: {CONNECTIONS_MAX} processes run here")
            return
        try:
            await self._greet(stream, peer)
        except (ChannelError, trio.TooSlowError) as error:
            self._say(f"{peer}: {words(error, 'said nothing')}")
        finally:
            self._places.release_on_behalf_of(stream)

    async def _greet(self, stream: trio.SocketStream, peer: str) -> None:
        with trio.fail_after(GREETING_TIMEOUT_S):
            channel = await meet(stream, self._secret, asks=False)
            first = await channel.receive(FIRST_BYTES_MAX)
        cores = len(os.sched_getaffinity(0))
        await channel.send({"kind": "hello", "versions": versions(), "machine": machine(), "cores": cores})
        self._say(f"{peer}: began")
        await Work(channel).run(first)
        self._say(f"{peer}: ended")


class Work:
    """One connection: a worker, and the messages to and from it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._worker = WorkerProcess()

    async def run(self, first: dict[str, Any]) -> None:
        """Do what the coordinator says until it or the worker is gone."""
        async with trio.open_nursery() as nursery:
            with suppress(ChannelError):
                await self._do(first, nursery)
                while True:
                    await self._do(await self._channel.receive(), nursery)
            nursery.cancel_scope.cancel()

    async def _do(self, said: dict[str, Any], nursery: trio.Nursery) -> None:
        what = said.get("do")
        if what == "clock":
            now_ns = time.monotonic_ns()
            await self._channel.send({"kind": "clock", "number": said["number"], "now_ns": now_ns})
        elif what == "work":
            nursery.start_soon(self._work, said["config"], nursery.cancel_scope)
        elif what == "tell":
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._worker.tell(said["line"])

    async def _work(self, config: dict[str, Any], scope: trio.CancelScope) -> None:
        told = False

        async def hear(line: bytes) -> None:
            nonlocal told
            said = orjson.loads(line)
            told = told or said["kind"] in ("result", "failed")
            await self._channel.send(said)

        with suppress(ChannelError):
            await self._worker.run(config, hear)
            if not told:
                await self._channel.send({"kind": "failed", "message": "a generator process died"})
        scope.cancel()
