"""The benchmarks of the transports, run small: they start their servers, measure and render."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import (
    accept,
    attack,
    broadcast,
    echo,
    measure,
    memory,
    node,
    overload,
    shares,
    steady,
    transports,
)


@pytest.mark.parametrize("name", [transports.FLOOR, transports.FAST, transports.TRIO_WEBSOCKET])
def test_broadcast_and_echo_measure_cpu(name: str) -> None:
    assert 0 < broadcast.measured(name, 5, 200, 200)["cpu_us"] < 100_000
    assert 0 < echo.measured(name, 5, 200, 200)["cpu_us"] < 100_000


def test_accept_and_memory_measure_a_whole_node() -> None:
    # Another process's clock goes on by ticks of some ms while it runs: enough accepts for several.
    assert 0 < accept.measured(node.NAME, 400)["cpu_us"] < 1_000_000
    found = memory.node_memory(30, 0.1, 3600.0)
    assert 0 <= found["idle_cpu_share"] < 1


@pytest.mark.parametrize("name", ["undo", "puts"])
def test_an_honest_client_is_measured_beside_attackers(name: str) -> None:
    found = attack.measured(name, "fast", 1, 0.3)
    for when in ("rest", "attack"):
        assert 0 < found[when]["ping_ms"]["p50"] <= found[when]["ping_ms"]["max"]
        assert found[when]["edit_ms"]["p95"] > 0 and found[when]["rss_mb"] > 10
    assert "| undo |" in attack.table({"undo": found})


@pytest.mark.parametrize("name", ["heedless", "waiting"])
def test_an_overload_is_offered_and_every_edit_is_accounted_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant in ("FILL_S", "WARM_S", "MAXIMUM_S", "HALF_S"):
        monkeypatch.setattr(overload, constant, 0.2)
    monkeypatch.setattr(overload, "AFTER_S", 1)
    monkeypatch.setattr(overload, "RECOVERED_S", 0)
    found = overload.measured(name == "waiting", 0.5, 2)
    assert found["lost"] == 0
    assert found["offered"] > found["maximum"] > 0
    assert found["goodput"] > 0
    assert f"| {name} |" in overload.table({name: found})


def test_one_rate_goes_on_and_nothing_of_it_is_lost() -> None:
    found = steady.measured(100, 2, 2, seconds=0.5)
    assert found["lost"] == 0
    assert len(found["rows"]) == 2
    for row in found["rows"]:
        assert 50 < row["rate"] <= 101 and row["refused"] == 0 and row["rss"] > 10e6
    assert "100 edits a second offered" in steady.table(found)


def test_the_floor_of_an_edit_answers_as_a_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "DOCUMENTS", 2)
    monkeypatch.setattr(shares, "WARM_S", 0.2)
    found = shares.once(200, 1.0)  # raises where an edit isn't answered
    assert sum(found[shares.OURS]) > 0
    assert found[shares.FLOOR][2:] == [0, 0]  # it has one thread
    assert "| all |" in shares.table(200, found)


def test_what_was_measured_becomes_one_table_and_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "OUT", tmp_path / "out")
    measure.save(
        "echo",
        {"title": "Echo", "results": {transports.FAST: {"cpu_us": 9.71}, transports.FLOOR: {"cpu_us": 5.5}}},
    )
    measure.save("memory", {"title": "Memory", "results": {transports.FAST: {"rss_bytes": 2512.0}}})
    assert program.main(["--render", "--into", str(tmp_path / "docs")]) == 0
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert f"| {transports.FAST} | 9.7 | 2.5 |" in text
    assert f"| {transports.FLOOR} | 5.5 |  |" in text
    assert (tmp_path / "docs" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "echo.json").read_text())["cpus"] >= 1
