"""What the doctor finds, on this machine and on worse ones."""

from __future__ import annotations

import shlex
import stat
import subprocess

import pytest

from gateway.cli import machine
from gateway.cli.machine import Finding, findings, fsync_time_ms
from gateway.config import Config
from gateway.log.sqlite.log import SqliteLog
from gateway.runtime import interpreter
from tests.log.sqlite.parts import file_size_max


def found(config: Config) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings(config)}


@pytest.fixture
def config(tmp_path) -> Config:
    return Config().with_(server={"data_dir": str(tmp_path / "not" / "yet"), "connections_max": 100})


def test_whatever_is_not_ok_says_what_to_change(config):
    for finding in findings(config):
        assert bool(finding.remedy) == (finding.status != "ok"), finding


def test_too_few_descriptors_are_bad(config):
    assert found(config)["descriptors"].status == "ok"
    greedy = config.with_(server={"connections_max": 1_000_000})
    hard = interpreter.descriptors().hard
    assert (found(greedy)["descriptors"].status == "bad") == (hard < 1_000_256)


def test_kernels_that_are_switched_off_are_a_hint(config, monkeypatch):
    monkeypatch.setenv("GATEWAY_SPEEDUPS", "off")
    kernels = [finding for name, finding in found(config).items() if name.startswith("kernel ")]
    assert kernels
    assert all(finding.status == "hint" for finding in kernels)
    assert all("GATEWAY_SPEEDUPS" in finding.remedy for finding in kernels)


def test_a_narrow_range_of_ports_is_a_hint(config, monkeypatch, tmp_path):
    narrow = tmp_path / "ports"
    narrow.write_text("40000\t41000\n")
    monkeypatch.setattr(machine, "PORT_RANGE", narrow)
    finding = found(config)["port range"]
    assert finding.status == "hint"
    assert "1,001" in finding.found
    assert "ip_local_port_range" in finding.remedy


def test_a_kernel_that_says_nothing_is_no_fault(config, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "PORT_RANGE", tmp_path / "missing")
    monkeypatch.setattr(interpreter, "SOMAXCONN", tmp_path / "missing")
    assert found(config)["port range"].status == "ok"
    assert found(config)["listen backlog"].status == "ok"


def test_a_slow_or_full_disk_is_told(config, monkeypatch):
    monkeypatch.setattr(machine, "FSYNC_GOOD_MS", 0.0)
    monkeypatch.setattr(machine, "FREE_BYTES_MIN", 1 << 62)
    assert found(config)["disk"].status == "hint"
    assert found(config)["free space"].status == "bad"


def test_a_disk_without_room_is_not_to_be_made_writable(config, tmp_path):
    with file_size_max(0):
        disk = found(config)["disk"]
    assert disk.status == "bad"
    assert disk.remedy.startswith("make room there, ")


async def test_a_log_on_a_disk_without_room_is_not_called_damaged(config, tmp_path):
    """To read it SQLite makes a file beside it."""
    await SqliteLog(tmp_path).aclose()
    with file_size_max(0):
        stored = found(config.with_(server={"data_dir": str(tmp_path)}))["stored changes"]
    assert (stored.status, "damaged" in stored.found, "backup" in stored.remedy) == ("bad", False, False)
    assert "can't be read" in stored.found
    assert "room" in stored.remedy


def test_a_directory_that_takes_no_files_is_to_be_made_writable(config):
    """Whoever asks: nobody writes to the kernel's own."""
    disk = found(config.with_(server={"data_dir": "/sys"}))["disk"]
    assert (disk.status, disk.remedy) == ("bad", "make /sys writable, or choose another --data")


def test_a_directory_that_does_not_exist_yet_is_judged_by_its_parent(config, tmp_path):
    assert str(tmp_path) in found(config)["free space"].found
    assert not (tmp_path / "not").exists()


def test_a_file_in_place_of_the_directory_is_not_to_be_made_writable(config, tmp_path):
    file = tmp_path / "file"
    file.touch()
    disk = found(config.with_(server={"data_dir": str(file)}))["disk"]
    assert (disk.status, disk.remedy) == ("bad", "choose another --data")


@pytest.mark.parametrize("section", ["redis", "postgres", "search", "authoriser"])
@pytest.mark.parametrize(("mode", "left"), [(0o644, 0o640), (0o660, 0o640), (0o604, 0o600)])
def test_a_password_that_others_read_is_bad_and_the_remedy_leaves_it_to_the_gateway(
    config, tmp_path, section, mode, left
):
    """Whose user has it by its group (docs/how-to/install.md)."""
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(mode)
    config = config.with_(**{section: {"password_file": str(file)}})
    finding = found(config)["private files"]
    assert (finding.status, finding.found) == ("bad", f"{file} is {mode:04o}")
    subprocess.run(shlex.split(finding.remedy.partition(": ")[2]), check=True)
    assert stat.S_IMODE(file.stat().st_mode) == left
    assert found(config)["private files"].status == "ok"


def test_keys_that_others_could_put_others_into_are_bad_and_reading_them_is_harmless(config, tmp_path):
    file = tmp_path / "keys.json"
    file.write_text("{}")
    config = config.with_(auth={"jwks_file": str(file)})
    for mode, status in ((0o664, "bad"), (0o644, "ok")):
        file.chmod(mode)
        assert found(config)["private files"].status == status


def test_the_time_of_an_fsync_is_measured_and_leaves_nothing_behind(tmp_path):
    assert 0 < fsync_time_ms(tmp_path) < 10_000
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        fsync_time_ms(tmp_path / "missing")
