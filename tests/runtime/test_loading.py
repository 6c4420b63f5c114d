"""Ctrl-C, and the collector, while a command's modules load."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.runtime.loading import loading
from tests.cli.commands import ROOT, environment

PRESSED = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    ("package", "command", "module"),
    [("gateway", "token", "click"), ("gateway", "token", "jwt"), ("loadtest", "list", "numpy")],
)
def test_it_ends_the_command_in_silence(
    tmp_path: Path, package: str, command: str, module: str, interrupts: None
) -> None:
    """It was a traceback of whatever was being imported."""
    (tmp_path / f"{module}.py").write_text(PRESSED)
    said = subprocess.run(
        [sys.executable, "-m", package, command],
        env=environment(PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT)))),
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stdout, said.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
def test_it_is_afterwards_what_it_was(before: signal.Handlers, interrupts: None) -> None:
    signal.signal(signal.SIGINT, before)
    with loading():
        while_loading = signal.getsignal(signal.SIGINT)
    assert while_loading == (signal.SIG_IGN if before == signal.SIG_IGN else signal.SIG_DFL)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("before", [True, False])
def test_nothing_is_looked_through_for_garbage(before: bool) -> None:
    if not before:
        gc.disable()
    try:
        with loading():
            assert not gc.isenabled()
        assert gc.isenabled() == before
    finally:
        gc.enable()
