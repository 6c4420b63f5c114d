"""What is told of processes is what prometheus_client tells of them, without listing their descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import ProcessCollector

from gateway.admin.processes import ProcessesCollector, booted_s

# They move between two looks.
MOVING = {
    f"process_{name}" for name in ("cpu_seconds", "resident_memory_bytes", "virtual_memory_bytes", "open_fds")
}


def told(pid: int) -> dict[str, float]:
    return {
        family.name: sample.value
        for family in ProcessesCollector([("0", pid)]).collect()
        for sample in family.samples
    }


def test_names_and_values_are_those_of_prometheus_clients_own_collector():
    own = {family.name: family.samples[0].value for family in ProcessCollector(registry=None).collect()}
    ours = told(os.getpid())
    assert ours.keys() == own.keys()
    assert {name: ours[name] for name in own if name not in MOVING} == {
        name: value for name, value in own.items() if name not in MOVING
    }
    for name in MOVING:
        assert abs(ours[name] - own[name]) <= 0.2 * own[name] + 2


def test_descriptors_of_another_process_are_counted():
    script = "import sys; kept = [open('/dev/null') for _ in range(100)]; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        assert 103 <= told(other.pid)["process_open_fds"] <= 110
        assert told(other.pid)["process_max_fds"] > 103
        other.stdin.close()
    assert told(other.pid) == {}  # it is gone


def test_a_process_may_have_any_name():
    """Up to 15 bytes, which need not be text."""
    named = "open('/proc/self/comm', 'wb').write(b') \\xff (')"
    script = f"import sys; {named}; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        assert told(other.pid).keys() == told(os.getpid()).keys()
        other.stdin.close()


def test_a_system_that_does_not_say_when_it_was_started_is_one_that_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3\n")
    with pytest.raises(OSError, match="doesn't say when"):
        booted_s(tmp_path)
