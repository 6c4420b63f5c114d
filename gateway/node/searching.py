"""Answers searches, and keeps the process that feeds a lone node's index."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import trio

from gateway.errors import LogUnavailable, Refusal
from gateway.http.port import FoundPage
from gateway.ports.search import Erasure, SearchIndex, Wanted
from gateway.runtime import logs
from gateway.runtime.metrics import Counters

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0
RETRY_AFTER_MS = 1000
# A node that serves for a moment only, as for a command, needs no index.
START_DELAY_S = 2.0
RESTART_MIN_S, RESTART_MAX_S = 0.5, 30.0


class Searcher:
    """Searches an index. An answer leaves at a multiple of `step_ms` after its question, so that it doesn't
    show how long the index was busy with what may not be read.

    `erases`: what is purged is erased from here."""

    def __init__(self, index: SearchIndex, counters: Counters, step_ms: float, erases: bool = False) -> None:
        self._erases = erases
        self._index = index
        self._counters = counters
        self._step_s = step_ms / 1000
        self._trouble = ""

    async def search(self, wanted: Wanted, count_most: int | None) -> FoundPage:
        """A page, and how many there are up to `count_most` where that is given; raises Refusal."""
        started_s = trio.current_time()
        try:
            with trio.fail_after(TIMEOUT_S):
                entries = await self._index.find(wanted)
                count = None if count_most is None else await self._index.count(wanted, count_most)
        except (LogUnavailable, trio.TooSlowError) as error:
            self._counters.searches_failed += 1
            self._note_trouble(str(error) or f"no answer in {TIMEOUT_S:g} s")
            text = "The index can't answer at the moment; try again."
            refusal = Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=RETRY_AFTER_MS)
            raise refusal from error
        finally:
            self._counters.search_seconds.observe(trio.current_time() - started_s)
            await self._until_step(started_s)
        self._trouble = ""
        return FoundPage(entries, count)

    def _note_trouble(self, trouble: str) -> None:
        """Log why searches fail, once until one is answered or they fail for another reason."""
        if trouble != self._trouble:
            logger.warning("searches fail: %s", trouble)
        self._trouble = trouble

    async def erase(self, name: str, epoch: int) -> None:
        """A resource was purged. The index hears of it from the log too, a moment later."""
        if not self._erases:
            return
        try:
            with trio.fail_after(TIMEOUT_S):
                await self._index.erase([Erasure(name, epoch)])
        except (LogUnavailable, trio.TooSlowError) as error:
            logger.warning("%s leaves the index of searches a moment later: %s", name, error)

    async def _until_step(self, started_s: float) -> None:
        if self._step_s:
            steps = math.ceil((trio.current_time() - started_s) / self._step_s)
            await trio.sleep_until(started_s + max(1, steps) * self._step_s)


class IndexProcess:
    """The follower's process (`gateway.log.search.follower`): started, started again, and what it tells."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = Path(data_dir)
        self._said: dict[str, Any] = {}
        self._said_s = time.monotonic()
        self._counted: dict[str, int] = {}
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def trouble(self) -> str:
        """Why indexing waits, for people, "" while it doesn't."""
        return str(self._said.get("trouble", ""))

    def measure(self, counters: Counters) -> None:
        """Bring the counters up to date. What a silent process is behind grows."""
        silent_s = time.monotonic() - self._said_s
        lag_s = self._said.get("lag_ms", 0) / 1000
        counters.search_lag_seconds = lag_s + (silent_s if silent_s > RESTART_MAX_S else 0)
        counters.search_changes = self._counted.get("changes", 0)
        counters.search_failures = self._counted.get("failures", 0)

    async def run(self) -> None:
        """Keep it running until `stop`, or cancelled."""
        try:
            with self._scope:
                await self._keep()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End it; returns when it has let go of the log."""
        self._scope.cancel()
        await self._ended.wait()

    async def _keep(self) -> None:
        await trio.sleep(START_DELAY_S)
        pause_s = RESTART_MIN_S
        while True:
            began_s = trio.current_time()
            trouble = "ended"
            try:
                await self._serve()
            except OSError as error:
                trouble = f"can't be started: {error}"
            lasted_s = trio.current_time() - began_s
            pause_s = RESTART_MIN_S if lasted_s > RESTART_MAX_S else min(RESTART_MAX_S, 2 * pause_s)
            logger.error("the process that indexes for searches %s; it is started again", trouble)
            self._counted["failures"] = self._counted.get("failures", 0) + 1
            await trio.sleep(pause_s)

    async def _serve(self) -> None:
        program = [sys.executable, "-m", "gateway.log.search.follower"]
        command = [*program, str(self._data_dir), *logs.configured()]
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is the node's to heed, also before this one can
        )
        try:
            assert process.stdout is not None
            counted = dict(self._counted)
            rest = b""
            async for chunk in process.stdout:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._heard(orjson.loads(line), counted)
        finally:
            with trio.CancelScope(shield=True):
                await _ended(process)

    def _heard(self, said: dict[str, Any], before: dict[str, int]) -> None:
        self._said, self._said_s = said, time.monotonic()
        for name in ("changes", "failures"):
            self._counted[name] = before.get(name, 0) + said[name]


async def _ended(process: trio.Process) -> None:
    """Its standard input ends, and so does it."""
    assert process.stdin is not None
    await process.stdin.aclose()
    with trio.move_on_after(1):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
