"""A `gateway serve` process that measures for how long each step of its event loop holds everybody else.

It is the real command; only `trio.run` gets an instrument. The measure is CPU of the loop's thread, so that
other processes on the machine don't count. `python -m tests.clients.measured serve ...` answers on standard
input: `reset` begins anew, `read` prints what was measured since, as one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trio
import trio.lowlevel

from tests.cli import commands
from tests.clients.gateway import Gateway

PROGRAM = "tests.clients.measured"


class Held(NamedTuple):
    """The longest step in CPU ms, the task that took it, and the CPU ms of all steps."""

    longest_ms: float
    task: str
    total_ms: float


class HeldSteps(trio.abc.Instrument):
    """Notes the longest step of any task."""

    def __init__(self) -> None:
        self.reset()
        self._began_ns = 0

    def reset(self) -> None:
        """Begin anew."""
        self.longest_ns = 0
        self.task = ""
        self.total_ns = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began_ns = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        held_ns = time.thread_time_ns() - self._began_ns
        self.total_ns += held_ns
        if held_ns > self.longest_ns:
            self.longest_ns, self.task = held_ns, task.name

    def told(self) -> str:
        """What `read` answers."""
        return json.dumps(Held(self.longest_ns / 1e6, self.task, self.total_ns / 1e6))


class MeasuredGateway(Gateway):
    """A node, and for how long its loop was held."""

    def reset(self) -> None:
        """What was measured so far doesn't count."""
        self._say("reset")
        self.held()  # it was read

    def held(self) -> Held:
        """Since `reset`."""
        self._say("read")
        assert self._process.stdout is not None
        return Held(*json.loads(self._process.stdout.readline()))

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        super().close()
        assert self._process.stdin is not None
        self._process.stdin.close()


@contextmanager
def measured_gateway(data: Path, settings: Mapping[str, Any]) -> Iterator[MeasuredGateway]:
    """Serve from a directory with these settings (`section.name`)."""
    started = MeasuredGateway(data, settings, commands.environment(), ("-m", PROGRAM), subprocess.PIPE)
    try:
        yield started
    finally:
        started.close()


def _listen(held: HeldSteps) -> None:
    for line in sys.stdin:
        if line.strip() == "reset":
            held.reset()
        else:
            print(held.told(), flush=True)


def main() -> None:
    from gateway.cli import main as command

    held = HeldSteps()
    run = trio.run

    def measured(*arguments: Any, **options: Any) -> Any:
        return run(*arguments, **options, instruments=[held])

    trio.run = measured
    threading.Thread(target=_listen, args=(held,), daemon=True).start()
    command()


if __name__ == "__main__":
    main()
