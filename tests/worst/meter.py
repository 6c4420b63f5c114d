"""What a step of the event loop cost, counted where it can be, whatever the machine's mood.

A *step* is what one task does from one of its waits to the next; nobody else is served meanwhile.

- `cpu`: instructions of this thread in user space, where the kernel counts them (perf_event_open); else
  nanoseconds of this thread's CPU. Fast, so the search goes by it.
- `work`: what the budget of work was charged, and the lines of gateway/ that ran. Lines are counted where the
  core runs as plain Python (`GATEWAY_SPEEDUPS=off`), and are the same on every machine: CI judges by it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import trio
import trio.lowlevel

import gateway
from gateway import ot
from gateway.ot import api

_SYSCALLS = {"x86_64": 298, "aarch64": 241}
_HARDWARE, _INSTRUCTIONS = 0, 1
_EXCLUDE_KERNEL_AND_HYPERVISOR = 1 << 5 | 1 << 6
_ATTRIBUTE_BYTES = 112
GATEWAY = str(Path(gateway.__file__).parent)


def instructions() -> Callable[[], int] | None:
    """Reads how many instructions this thread has run in user space; None where the kernel doesn't count."""
    number = _SYSCALLS.get(platform.machine())
    if number is None or sys.platform != "linux":
        return None
    attribute = struct.pack(
        "IIQQQQQ", _HARDWARE, _ATTRIBUTE_BYTES, _INSTRUCTIONS, 0, 0, 0, _EXCLUDE_KERNEL_AND_HYPERVISOR
    )
    packed = ctypes.create_string_buffer(attribute.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(number, packed, 0, -1, -1, 0)
    if descriptor < 0:
        return None
    return lambda: int(struct.unpack("Q", os.read(descriptor, 8))[0])


class Lines:
    """Lines and calls of gateway/ that this thread ran, as plain Python."""

    def __init__(self) -> None:
        self.count = 0
        self._ours: dict[str, bool] = {}

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        ours = self._ours.get(name)
        if ours is None:
            ours = self._ours[name] = name.startswith(GATEWAY)
        return self._line if ours else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.count += 1
        return self._line

    def start(self) -> None:
        """Count from now on."""
        sys.settrace(self._called)

    def stop(self) -> None:
        """Count no longer."""
        sys.settrace(None)


# Compiled modules make budgets without asking `ot`, so their units aren't seen.
SEES_UNITS = str(api.__file__).endswith(".py")


class Units:
    """What all budgets of work together were charged; 0 where they aren't seen."""

    def __init__(self) -> None:
        self._done = 0
        self._open: list[ot.Budget] = []

    def total(self) -> int:
        """Since the beginning."""
        if len(self._open) > 1000:
            self._done += sum(max(0, budget.spent) for budget in self._open)
            self._open.clear()
        return self._done + sum(max(0, budget.spent) for budget in self._open)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Budgets that are made meanwhile count."""
        made = ot.budget

        def counted(*units: int) -> ot.Budget:
            budget = made(*units)
            self._open.append(budget)
            return budget

        vars(ot)["budget"] = counted
        try:
            yield
        finally:
            vars(ot)["budget"] = made


class Step:
    """One step: of which task, and what it cost."""

    __slots__ = ("cpu", "lines", "task", "units")

    def __init__(self, task: str, cpu: int, units: int, lines: int) -> None:
        self.task = task
        self.cpu = cpu
        self.units = units
        self.lines = lines


class Steps(trio.abc.Instrument):
    """Every step of the loop while `recording`, in turn. One thread's: that of `trio.run`."""

    def __init__(
        self, cpu: Callable[[], int], units: Units | None = None, lines: Lines | None = None
    ) -> None:
        self.recording = False
        self.steps: list[Step] = []
        self._cpu = cpu
        self._units = units
        self._lines = lines
        self._began = (0, 0, 0)

    def _now(self) -> tuple[int, int, int]:
        units = 0 if self._units is None else self._units.total()
        lines = 0 if self._lines is None else self._lines.count
        return self._cpu(), units, lines

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = self._now()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.recording:
            self.ended(task.name)

    def record(self) -> None:
        """The attack begins."""
        self.recording = True
        if self._lines is not None:
            self._lines.start()

    def stop(self) -> None:
        """The attack is over."""
        self.recording = False
        if self._lines is not None:
            self._lines.stop()

    def begin(self) -> None:
        """What the task did so far in this step isn't looked at."""
        self._began = self._now()

    def ended(self, task: str) -> None:
        """A step ends here, or is said to: a next one begins."""
        now = self._now()
        cpu, units, lines = (after - before for after, before in zip(now, self._began, strict=True))
        self.steps.append(Step(task, cpu, units, lines))
        self.begin()


class WorkClock(trio.abc.Clock):
    """A clock that runs by work while tasks run: long work is cut at the same places each time."""

    LINE_S = 50e-9
    UNIT_S = 1e-9

    def __init__(self, lines: Lines, units: Units) -> None:
        self._lines = lines
        self._units = units
        self._idle_s = 0.0
        self._began_s = 0.0

    def start_clock(self) -> None:
        """The clock begins at 0."""

    def current_time(self) -> float:
        """Seconds: what was worked, and waited."""
        return self._idle_s + self._lines.count * self.LINE_S + self._units.total() * self.UNIT_S

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How long nobody works until then."""
        return deadline - self.current_time()

    def waited(self, seconds: float) -> None:
        """Nobody worked for so long."""
        self._idle_s += seconds


class Idle(trio.abc.Instrument):
    """Tells a `WorkClock` how long the loop waited."""

    def __init__(self, clock: WorkClock) -> None:
        self._clock = clock
        self._began_s = 0.0

    def before_io_wait(self, timeout: float) -> None:
        self._began_s = time.monotonic()

    def after_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self._clock.waited(time.monotonic() - self._began_s)


def thread_ns() -> int:
    """CPU of this thread, ns."""
    return time.thread_time_ns()
