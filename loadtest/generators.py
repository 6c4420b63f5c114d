"""Generators: processes that play a part of a schedule's users, and what each has said."""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import trio


class WorkerProcess:
    """A process of `loadtest.worker` on this machine: JSON lines in, JSON lines out."""

    def __init__(self) -> None:
        self._process: trio.Process | None = None

    @property
    def pid(self) -> int | None:
        """None while it doesn't run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def run(self, config: dict[str, Any], hear: Callable[[bytes], Awaitable[None]]) -> bool:
        """Start it and pass its lines to `hear` until it ends; False where it ended too early to listen.

        However this ends, the process has ended too.
        """
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "loadtest.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the coordinator's to heed
        )
        try:
            await self.tell(config)
            await self._read(hear)
            await self._process.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        finally:
            with trio.CancelScope(shield=True):
                if self._process.poll() is None:
                    self._process.kill()
                await self._process.wait()
        return True

    async def tell(self, what: dict[str, Any]) -> None:
        """A line to it; raises what a trio stream does."""
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send_all(orjson.dumps(what) + b"\n")

    async def _read(self, hear: Callable[[bytes], Awaitable[None]]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        buffer = b""
        async for data in self._process.stdout:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                await hear(line)


class Generator(ABC):
    """One worker process, wherever it runs.

    `failure` says what kept it from a result. `ready` and `ended` are set whatever happens.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.intervals: deque[dict[str, Any]] = deque()  # that aren't joined with the others' yet
        self.result: dict[str, Any] | None = None
        self.failure = ""
        self.heard_at = 0.0
        self.ready = trio.Event()
        self.ended = trio.Event()

    async def run(self) -> None:
        """Start the process and hear it until it ends."""
        try:
            await self._work()
        finally:
            self.ready.set()
            self.ended.set()

    @abstractmethod
    async def _work(self) -> None:
        """Start the process and pass on to `hear` what it says."""

    @abstractmethod
    async def _tell(self, what: dict[str, Any]) -> None:
        """A line to the process."""

    def hear(self, said: dict[str, Any]) -> None:
        """Keep what the process said."""
        self.heard_at = trio.current_time()
        kind = said.pop("kind")
        if kind == "interval":
            self.intervals.append(said["interval"])
        elif kind == "result":
            self.result = said
        elif kind == "failed":
            self.failure = said["message"]
        elif kind == "ready":
            self.ready.set()

    async def done(self, silence_s: float) -> None:
        """Wait until the process has ended, or said nothing for so long, which is a failure."""
        while not self.ended.is_set() and not self.silent(silence_s):
            with trio.move_on_at(self.heard_at + silence_s):
                await self.ended.wait()

    def silent(self, silence_s: float) -> bool:
        """Whether the process said nothing for so long and hasn't ended, which is a failure."""
        is_silent = not self.ended.is_set() and trio.current_time() >= self.heard_at + silence_s
        if is_silent and not self.failure:
            self.failure = f"a generator process said nothing for {silence_s:.0f} s"
        return is_silent

    async def start(self, start_ns: int) -> None:
        """Have the schedule begin at this moment of this machine's monotonic clock."""
        self.heard_at = trio.current_time()  # from now on it has something to say
        await self._tell({"start_ns": start_ns})

    async def steer(self, rate: float) -> None:
        """Edits at so many times the schedule's rate from now on."""
        if not self.ended.is_set():
            await self._tell({"rate": rate})

    def drifted(self) -> str:
        """What is wrong with the machine's clock; empty where nothing is."""
        return ""

    def about(self) -> dict[str, Any] | None:
        """What a report says of the machine, as plain JSON data; None of this one."""
        return None


class LocalGenerator(Generator):
    """A process of this machine."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.process = WorkerProcess()

    async def _work(self) -> None:
        async def hear(line: bytes) -> None:
            self.hear(orjson.loads(line))

        if not await self.process.run(self.config, hear):
            self.failure = self.failure or "a generator process ended early"

    async def _tell(self, what: dict[str, Any]) -> None:
        await self.process.tell(what)
