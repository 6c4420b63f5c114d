"""The systemd unit: what it starts exists, and the gateway speaks to systemd as the unit promises."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

from gateway.config import Config, load
from gateway.runtime.interpreter import DESCRIPTORS_RESERVED
from tests.cli.commands import gateway, served
from tests.deploy.units import SETTINGS, UNIT, complaints, unit
from tests.waiting import PATIENCE_S


async def test_the_unit_starts_a_command_with_options_that_exist():
    program, command, *words = unit()["ExecStart"].split()
    assert (Path(program).name, command) == ("gateway", "serve")
    shown = (await gateway("serve", "--help")).out
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"^\s+{word}\b", shown, re.MULTILINE), word


def test_the_unit_leaves_the_gateway_the_time_and_the_descriptors_that_it_needs():
    config = Config()
    service = unit()
    assert int(service["TimeoutStopSec"]) > config.timeouts.drain_grace_s + 5
    assert int(service["LimitNOFILE"]) >= config.server.connections_max + DESCRIPTORS_RESERVED
    assert service["KillMode"] == "mixed"


def test_a_gateway_that_dies_again_and_again_is_started_again_but_for_wrong_settings():
    service = unit()
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "2")
    assert unit("Unit").get("StartLimitIntervalSec") == "0"  # by default systemd gives up after five starts


def test_a_worker_that_the_kernel_ends_for_want_of_memory_takes_no_others_with_it():
    assert unit().get("OOMPolicy") == "continue"  # by default systemd stops the whole service


def test_its_settings_are_valid_for_a_lone_node_and_with_what_is_commented_out_for_one_of_a_cluster(
    tmp_path: Path,
) -> None:
    assert load(SETTINGS).server.workers == 1
    cluster = tmp_path / "gateway.toml"
    cluster.write_text(re.sub(r"^# (?=\[|\w+ = )", "", SETTINGS.read_text(), flags=re.MULTILINE))
    config = load(cluster)
    assert (config.server.workers, config.server.proxies) == (2, ("10.0.0.7",))
    assert config.redis.urls and config.postgres.dsn and config.auth.secret_file


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    assert not complaints(UNIT, directory=tmp_path)


async def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(PATIENCE_S)
        async with served(tmp_path / "data", NOTIFY_SOCKET=address) as server:
            assert systemd.recv(100) == b"READY=1"
            assert await server.stop(signal.SIGTERM) == 0
            assert systemd.recv(100) == b"STOPPING=1"
