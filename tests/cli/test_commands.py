"""What runs commands in tests: a process is never held up by what it says."""

from __future__ import annotations

import subprocess
import sys

from tests.cli.commands import Log

TALK = "import sys\nfor number in range(5000): print('said', number, 'x' * 100, file=sys.stderr)"


def test_a_process_that_says_more_than_a_pipe_holds_ends_though_nobody_asks() -> None:
    process = subprocess.Popen([sys.executable, "-c", TALK], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    log = Log(process.stderr)
    assert process.wait(60) == 0
    log.ended()
    assert len(log.lines) == 5000
