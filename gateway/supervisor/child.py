"""A worker as its supervisor sees it: a process, and a channel to ask it."""

from __future__ import annotations

import logging
import pickle
import socket
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any

import trio

from gateway.config import Config
from gateway.errors import ConfigError, GatewayError, LogLocked, LogUnavailable, StoreAway
from gateway.supervisor.channel import Channel, Frame
from gateway.transport.siblings import Place

logger = logging.getLogger("gateway.supervisor")

MEASURE_INTERVAL_S = 1.0
# Who has missed so much is asked nothing that others can answer.
SILENT_S = 3.0
# A worker that has said nothing for so long hangs: it is ended, for another to take its place.
SILENT_MAX_S = 60.0
START_ERRORS: Mapping[str, type[GatewayError]] = {
    "LogUnavailable": LogUnavailable,
    "LogLocked": LogLocked,
    "StoreAway": StoreAway,
}
# A worker whose end of the channel closed ends by itself in no time.
LAST_WORDS_S = 2.0


class WorkerGone(GatewayError):
    """There is no such worker: it ended before it answered, or couldn't be started."""


class Child:
    """One worker process. `run` it once; it's `ready` when clients can connect."""

    def __init__(self, place: Place, config: Config, log_level: str) -> None:
        self.number = place.number
        self.ready = False
        self.draining = False
        self.ended = trio.Event()
        self.status: int | None = None
        self.addresses: Sequence[tuple[str, int]] = ()
        self.waits_for: Sequence[str] = ()
        self.exported: dict[str, Any] = {}
        # In seconds that we lived through ourselves: whoever stood still with it couldn't have heard it.
        self.silent_s = 0.0
        self._place = place
        self._config = config
        self._log_level = log_level
        self._process: trio.Process | None = None
        self._channel: Channel | None = None
        self._asked: dict[int, tuple[trio.Event, list[Frame]]] = {}
        self._ids = count(1)
        self._unsent: OrderedDict[int, Frame] = OrderedDict()
        self._more = trio.Event()
        self._failure: GatewayError | None = None
        self._measure_wanted = trio.Event()
        self._measured = trio.Event()

    @property
    def pid(self) -> int:
        """The process's id; 0 before it was started."""
        return 0 if self._process is None else self._process.pid

    @property
    def drain_grace_s(self) -> float:
        """How long its clients have to leave."""
        return self._config.timeouts.drain_grace_s

    @property
    def serving(self) -> bool:
        """Whether it takes new clients."""
        return self.ready and not self.draining and not self.ended.is_set()

    @property
    def silent(self) -> bool:
        """Whether it seems to hang."""
        return self.silent_s >= SILENT_S

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The process's life; started when it is ready. Raises what kept it from starting; kills it when
        cancelled."""
        try:
            await self._begin()
        except OSError as error:
            self.ended.set()
            raise WorkerGone(f"the machine has no room for it: {error}") from error
        assert self._process is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._keep_measured)
                nursery.start_soon(self._count_silence)
                await self._listen(task_status)
                with trio.move_on_after(LAST_WORDS_S):
                    self.status = await self._process.wait()
                nursery.cancel_scope.cancel()
        finally:
            await self._end()
        if not self.ready:
            raise self._failure or ConfigError(f"a worker didn't start (status {self.status}); see its log")

    async def _begin(self) -> None:
        """Start the process, connected to here; raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as failed:
            failed.enter_context(ours)
            command = [sys.executable, "-m", "gateway.supervisor.worker", str(theirs.fileno())]
            self._process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is the supervisor's to heed, also before this one can
            )
            failed.pop_all()
        self._channel = Channel(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))

    async def _write(self) -> None:
        """Tell it its settings, then what it is asked, one after the other: one that hangs takes nothing."""
        assert self._channel is not None
        header = {"type": "setup", "name": self._config.server.node, "log_level": self._log_level}
        try:
            await self._channel.send(header, pickle.dumps((self._config, self._place)))
            while True:
                while self._unsent:
                    _, frame = self._unsent.popitem(last=False)
                    await self._channel.send(*frame)
                self._more = trio.Event()
                await self._more.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("worker %d ended before it was told everything", self.number)

    def _tell(self, number: int, header: dict[str, Any], body: bytes = b"") -> None:
        self._unsent[number] = Frame({**header, "id": number}, body)
        self._more.set()

    async def _count_silence(self) -> None:
        """It answers each second (`_keep_measured`), or says what it waits for; one that hangs is ended."""
        while self.silent_s < SILENT_MAX_S:
            await trio.sleep(MEASURE_INTERVAL_S)
            self.silent_s += MEASURE_INTERVAL_S
        logger.error("worker %d has said nothing for %g s: killing it", self.number, self.silent_s)
        self._failure = StoreAway(f"worker {self.number} said nothing while it started; try again", "none")
        self.kill()

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        assert self._channel is not None
        while (frame := await self._channel.receive()) is not None:
            self.silent_s = 0.0
            kind = frame.header["type"]
            if kind == "ready":
                self.ready = True
                self.waits_for = ()
                self.addresses = [(host, port) for host, port in frame.header["addresses"]]
                task_status.started()
            elif kind == "waits":
                self.waits_for = frame.header["for"]
            elif kind == "failed":
                message = frame.header["message"]
                self._failure = START_ERRORS.get(frame.header["kind"], ConfigError)(message)
                if self.ready:
                    logger.error("worker %d: %s", self.number, message)
            else:
                self._hear(frame)

    def _hear(self, frame: Frame) -> None:
        asked = self._asked.pop(frame.header.get("id", 0), None)  # 0: what only later workers tell
        if asked is not None:
            asked[1].append(frame)
            asked[0].set()

    async def _end(self) -> None:
        assert self._process is not None
        assert self._channel is not None
        with trio.CancelScope(shield=True):
            if self._process.poll() is None:
                self._process.kill()
            self.status = await self._process.wait()
            await self._channel.aclose()
        self.ended.set()
        for answered, _ in self._asked.values():
            answered.set()

    # ---------------------------------------------------------------------------------------- asking

    async def ask(self, header: dict[str, Any], body: bytes = b"") -> Frame:
        """The worker's answer; raises WorkerGone when it ends before."""
        number = next(self._ids)
        answered, frames = self._asked[number] = trio.Event(), []
        self._tell(number, header, body)
        try:
            if not self.ended.is_set():
                await answered.wait()
        finally:
            self._asked.pop(number, None)
            self._unsent.pop(number, None)
        if not frames:
            raise WorkerGone(f"worker {self.number} ended before it answered")
        return frames[0]

    async def measure(self) -> None:
        """Wait until `exported` is up to date; a worker that hangs never brings them."""
        self._measure_wanted.set()
        await self._measured.wait()

    async def _keep_measured(self) -> None:
        """Measure each second too, so that little is missing of what a worker that crashes has counted."""
        while True:
            with trio.move_on_after(MEASURE_INTERVAL_S):
                await self._measure_wanted.wait()
            self._measure_wanted = trio.Event()
            done, self._measured = self._measured, trio.Event()
            if self.ready:
                await self._measure()
            done.set()

    async def _measure(self) -> None:
        try:
            self.exported = (await self.ask({"type": "counters"})).header["counters"]
        except WorkerGone:
            logger.debug("worker %d ended while it was measured", self.number)

    def drain(self) -> None:
        """Have the worker send its clients away and end."""
        self.draining = True
        self._tell(next(self._ids), {"type": "drain"})

    def note(self, act: str, subject: str, details: Mapping[str, Any]) -> None:
        """Have it record what was done to the node."""
        self._tell(next(self._ids), {"type": "note", "act": act, "subject": subject, "details": details})

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
