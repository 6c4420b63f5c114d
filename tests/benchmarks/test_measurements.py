"""The benchmarks of the transports, run small: they start their servers, measure and render."""

from __future__ import annotations

import collections
import itertools
import json
import math
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import (
    accept,
    attack,
    behind,
    broadcast,
    echo,
    edit,
    gateways,
    holds,
    long_history,
    measure,
    memory,
    node,
    overload,
    pace,
    shares,
    steady,
    transports,
)
from tests.locales import ASCII_ALONE
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("name", [transports.FLOOR, transports.FAST, transports.TRIO_WEBSOCKET])
def test_broadcast_and_echo_measure_cpu(name: str) -> None:
    assert 0 < broadcast.measured(name, 5, 200, 200)["cpu_us"] < 100_000
    assert 0 < echo.measured(name, 5, 200, 200)["cpu_us"] < 100_000


def test_accept_and_memory_measure_a_whole_node() -> None:
    # Another process's clock goes on by ticks of some ms while it runs: enough accepts for several.
    assert 0 < accept.measured(node.NAME, 400)["cpu_us"] < 1_000_000
    found = memory.node_memory(30, 0.1, 3600.0)
    assert 0 <= found["idle_cpu_share"] < 1


@pytest.mark.parametrize("name", ["undo", "cursors", "many", "renewals", *attack.HTTP])
def test_an_honest_client_is_measured_beside_attackers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "BEGIN_TIMEOUT_S", PATIENCE_S)
    found = attack.measured(name, "fast", 1, 0.3, nice=0)  # a nice one hardly starts on a busy machine
    for when in ("rest", "attack"):
        assert 0 < found[when]["ping_ms"]["p50"] <= found[when]["ping_ms"]["max"]
        assert found[when]["edit_ms"]["p95"] > 0 and found[when]["rss_mb"] > 10
    assert "| undo |" in attack.table({"undo": found})


def test_each_message_of_an_attack_by_many_rooms_opens_as_many_again() -> None:
    with (
        gateways.flooded("fast", attack.SETTINGS["many"]) as node,
        closing(attack.Client(node.port, "many", "viewer")) as client,
    ):
        client.ask("SUBSCRIBE", resource="event", resource_id="many")
        assert client.receive()["type"] == "PRESENCE_STATE"
        for message in itertools.islice(attack.SOCKET["many"][2](client, "many"), 2):
            client.socket.sendall(message)
            kinds = collections.Counter(client.receive()["type"] for _ in range(3 * 999))
            assert kinds == dict.fromkeys(("SUBSCRIBE_ACK", "PRESENCE_STATE", "UNSUBSCRIBE_ACK"), 999)


def test_the_document_of_each_attack_is_one_that_a_node_takes() -> None:
    with gateways.flooded("fast") as node:
        for name in attack.ATTACKS:
            if attack.document_of(name) is not None:
                attack.made(name, node.port, name, f"{name}-maker")


@pytest.mark.parametrize(
    ("name", "role", "said"),
    [("unknown", "nobody", "UNAUTHENTICATED"), ("no room", "viewer", "INVALID_MESSAGE")],
)
def test_an_attacker_who_is_refused_attacks_nothing_and_ends(
    name: str, role: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attack, "SOCKET", {name: (None, role, attack.SOCKET["pings"][2])})
    with gateways.flooded("fast") as node, pytest.raises(attack.Refused, match=said):
        attack.attack(name, node.port, 0)


def test_an_attacker_who_ends_is_missed_and_one_who_is_put_off_comes_back() -> None:
    with (
        gateways.flooded("fast", ["limits.connections_per_user_max=1"]) as node,
        closing(attack.Honest(node.port, node.pid)) as honest,
    ):
        missed = attack.attackers("nonsuch", node.port, 1, 0, honest)
        with pytest.raises(RuntimeError, match="ended before it attacked"), missed:
            pass
        with pytest.raises(ConnectionError, match="4429"):
            attack.Client(node.port, "honest-0")


@pytest.mark.parametrize("name", ["heedless", "waiting"])
def test_an_overload_is_offered_and_every_edit_is_accounted_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, seconds in {
        "FILL_S": 0.2,
        "WARM_S": 0.2,
        "HALF_S": 0.2,
        "MAXIMUM_S": 0.6,
        "AFTER_S": 1,
    }.items():
        monkeypatch.setattr(overload, constant, seconds)
    monkeypatch.setattr(overload, "RECOVERED_S", 0)
    found = overload.measured(name == "waiting", 0.5, 2, rounds=2)
    assert found["lost"] == 0
    assert len(found["rounds"]) == 2
    for one in found["rounds"]:
        assert one["offered"] > one["maxima"][0] > 0 and one["goodput"] > 0
    assert found["rounds"][1]["maxima"][0] == found["rounds"][0]["maxima"][1]
    assert f"| {name} |" in overload.table({name: found})


def test_one_rate_goes_on_and_nothing_of_it_is_lost() -> None:
    found = steady.measured(100, 2, 2, seconds=0.5)
    assert found["lost"] == 0
    assert len(found["rows"]) == 2
    for row in found["rows"]:
        assert row["rate"] > 0 and row["refused"] == 0 and row["rss"] > 10e6
    assert "100 edits a second offered" in steady.table(found)


def test_a_long_history_is_measured_cold_and_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_history, "COLD_ROUNDS", 1)
    found = long_history.run(120)  # its 100 time travels are beyond what one user may read in a minute
    assert {"full_sync_cold", "time_travel_cold", "full_sync", "resume_1000", "time_travel"} == set(found)
    assert all(figures["median_ms"] > 0 for figures in found.values())


def test_who_is_far_behind_is_counted_while_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "DOCUMENTS", 2)
    found = behind.beside(100, seconds=1.0, behind=100)
    assert found["without"]["late"] == 0
    assert 0 < found["with"]["late"] <= behind.LATE / overload.LATE_EACH_S


def test_an_idle_node_is_probed_from_when_a_ping_is_due() -> None:
    found, cores = holds.held(6, 0.2)
    assert 0 < found["p50.0%"] <= found["p100.0%"]
    assert cores >= 0


def test_a_node_that_hangs_up_ends_the_measurement() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.close()
        with client, pytest.raises(ConnectionError):
            holds.await_pong(client)


def test_the_edits_of_a_given_rate_are_counted_until_all_are_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edit, "ROOMS", 2)
    monkeypatch.setattr(pace, "WARM_S", 0.1)
    found = pace.once("gathered", 100, 0.5)
    assert found["edits_a_second"] > 0 and found["latency_ms"] > 0


def test_a_gateway_that_does_not_start_is_said_to(tmp_path: Path) -> None:
    wrong = gateways.served(str(tmp_path), "--set", "limits.nonsense=1")
    with pytest.raises(RuntimeError, match="ended with 2"), wrong:
        pass


def test_the_floor_of_an_edit_answers_as_a_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "DOCUMENTS", 2)
    monkeypatch.setattr(shares, "WARM_S", 0.2)
    found = shares.once(200, 1.0)  # raises where an edit isn't answered
    assert sum(found[shares.OURS]) > 0
    assert found[shares.FLOOR][2:] == [0, 0]  # it has one thread
    assert "| all |" in shares.table(200, found)


def test_figures_of_many_values_and_of_several_runs() -> None:
    assert measure.quantiles(range(100, 0, -1)) == {"p50": 51, "p95": 96, "max": 100}
    assert [measure.percentile([1, 2, 3], share) for share in (0, 0.5, 1)] == [1, 2, 3]
    runs = [{"a": 1, "b": {"c": [9, 2]}}, {"a": 5, "b": {"c": [1, 4]}}, {"a": 3, "b": {"c": [2, 3]}}]
    assert measure.medians(runs) == {"a": 3, "b": {"c": [2, 3]}}


def test_a_program_is_called_as_its_module_says() -> None:
    assert measure.parser(edit.__doc__).prog == "python -m benchmarks.edit"
    assert measure.parser(program.__doc__).prog == "python -m benchmarks"


def test_what_was_measured_becomes_one_table_and_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "OUT", tmp_path / "out")
    measure.save(
        "echo",
        {"title": "Echo", "results": {transports.FAST: {"cpu_us": 9.71}, transports.FLOOR: {"cpu_us": 5.5}}},
        {},
    )
    measure.save("memory", {"title": "Memory", "results": {transports.FAST: {"rss_bytes": 2512.0}}}, {})
    assert program.main(["--render", "--into", str(tmp_path / "docs")]) == 0
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert f"| {transports.FAST} | 9.7 | 2.5 |" in text
    assert f"| {transports.FLOOR} | 5.5 |  |" in text
    assert (tmp_path / "docs" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "echo.json").read_text())["cpus"] >= 1


def test_the_table_is_written_in_a_locale_of_another_encoding_than_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "OUT", tmp_path)
    measure.save("echo", {"title": "Écho", "results": {transports.FAST: {"cpu_us": 9.71}}}, {})
    command = [sys.executable, "-m", "benchmarks", "--render"]
    environment = {**ASCII_ALONE, "BENCHMARKS_OUT": str(tmp_path)}
    said = subprocess.run(command, capture_output=True, env=environment)
    assert (said.returncode, b"echo: ?cho" in said.stdout) == (0, True), said.stderr
    assert "echo: Écho" in (tmp_path / "benchmarks.md").read_text("utf-8")


def test_figures_say_what_was_measured_and_have_no_infinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "OUT", tmp_path)
    path = measure.save("some", {"results": {"late": [math.inf, 1.5]}}, {"rate": 100.0})
    found = json.loads(path.read_text())
    assert found["results"] == {"late": [None, 1.5]}
    assert found["options"] == {"rate": 100.0}
    assert found["commit"] == measure.commit()
