"""What is below a process that is killed ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
import trio

from loadtest.processes import TIMEOUT_S, family, has_ended, until_ended
from loadtest.server import end

# It heeds no SIGTERM, nor does its child, which sees no end of it.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    subprocess.Popen([sys.executable, "-c", sys.argv[1]])
    os.write(1, b"begun\\n")
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_nobody_below_a_killed_process_is_left(how: signal.Signals) -> None:
    command = [sys.executable, "-c", STUBBORN, STUBBORN]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        assert await process.stdout.receive_some() == b"begun\n"
    [first, child] = family(process.pid)
    assert first.pid == process.pid
    try:
        await end(process, how, 0.1)
        assert process.returncode == -signal.SIGKILL
        assert has_ended(child)
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def test_who_has_ended_is_not_waited_for_though_nobody_took_note_of_it() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    try:
        process = psutil.Process(ended.pid)
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert process.status() == psutil.STATUS_ZOMBIE
        assert list(until_ended([process])) == []
    finally:
        ended.wait()
    assert list(until_ended([process])) == []


def test_who_does_not_end_is_waited_for_a_bounded_time() -> None:
    assert sum(until_ended([psutil.Process()])) == pytest.approx(TIMEOUT_S)
