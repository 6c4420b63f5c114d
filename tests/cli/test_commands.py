"""What runs commands in tests: a process is never held up by what it says, and leaves nobody behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.cli.commands import START_TIMEOUT_S, Log, served
from tests.waiting import PATIENCE_S, until

TALK = "import sys\nfor number in range(5000): print('said', number, 'x' * 100, file=sys.stderr)"


def test_a_process_that_says_more_than_a_pipe_holds_ends_though_nobody_asks() -> None:
    process = subprocess.Popen([sys.executable, "-c", TALK], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    log = Log(process.stderr)
    assert process.wait(PATIENCE_S) == 0
    log.ended()
    assert len(log.lines) == 5000


async def test_the_children_of_a_gateway_that_is_killed_at_the_end_have_ended_then(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        children = psutil.Process(server.command.process.pid).children
        indexers = await until(children, "the process that indexes", START_TIMEOUT_S)
    # Who isn't reaped yet has no memory any more.
    assert not any(map(has_memory, indexers))


def has_memory(process: psutil.Process) -> bool:
    try:
        return bool(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return False
