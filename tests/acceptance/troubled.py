"""A gateway in this process, over a log that fails or waits as a test says."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from gateway.admission import create_secret, issue
from gateway.config import Config
from gateway.node import Node
from gateway.ports import Batch, Failed, Opening, Outcome
from tests.doubles.backend import MemoryBackend
from tests.doubles.log import MemoryHistory, MemoryLog


class Disk(MemoryLog):
    """A log that can be told to hold appends back, to answer them wrongly, or to fail on opening."""

    def __init__(self) -> None:
        super().__init__(MemoryHistory())
        self.gate = trio.Event()
        self.gate.set()
        self.held = 0
        self.outcome: Failed | None = None
        self.error: Exception | None = None

    async def open(self, resource: str) -> Opening:
        if self.error is not None:
            raise self.error
        return await super().open(resource)

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        self.held += sum(len(batch.records) for batch in batches)
        await self.gate.wait()
        self.held = 0
        if self.outcome is not None:
            return [self.outcome] * len(batches)
        return await super().append(batches)


class InProcess:
    """What the desk needs of a node that runs in this process."""

    def __init__(self, url: str, secret: bytes) -> None:
        self.url = url
        self._secret = secret

    def token(self, user: str = "ann", grants: Mapping[str, str] | None = None, ttl_s: float = 3600) -> str:
        return issue(self._secret, user, grants or {"event:*": "editor"}, ttl_s, time.time())


@asynccontextmanager
async def served(data: Path, **limits: Any) -> AsyncIterator[tuple[InProcess, Disk]]:
    disk = Disk()
    create_secret(data / "jwt-secret")
    config = Config().with_(
        server={"data_dir": str(data), "port": 0, "admin_port": 0},
        limits={"operations_per_minute": 0, **limits},
        timeouts={"drain_grace_s": 1.0},
    )
    node = Node(config, backend=MemoryBackend(disk), admin=False)
    async with trio.open_nursery() as nursery:
        [(host, port)] = (await nursery.start(node.run)).websocket
        yield InProcess(f"ws://{host}:{port}/realtime", (data / "jwt-secret").read_bytes().strip()), disk
        disk.gate.set()
        node.drain()
