"""The drills, small: real servers are broken under a real load, and the harness finds nothing wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.faults import restore
from benchmarks.faults.__main__ import Wanted, drilled, leaves, main
from benchmarks.faults.bystanders import PAIRS, told
from benchmarks.faults.drills import DRILLS
from benchmarks.faults.table import FAULTS, summary, table
from loadtest.options import RunError
from loadtest.scenario import load
from tests.loadtest.reports import report

pytestmark = pytest.mark.untraced


def small() -> Wanted:
    """Thirty users for a quarter of a minute; something breaks after four seconds."""
    return Wanted(load("drill").scaled(users=0.1, durations=0.3), 4.0, None, 0.0)


@pytest.mark.parametrize("name", ["worker", "redis", "cut", "shard"])
async def test_a_drill_breaks_a_cluster_and_nothing_is_lost(name: str) -> None:
    found = await drilled(DRILLS[name], small())
    made = summary(name, found)
    assert made["faults"] == dict.fromkeys(FAULTS, 0), found["verdict"]["reasons"]
    [done] = found["disruptions"]
    assert (done["name"], done["at_s"] >= 4.0) == (name, True)
    assert done["until_s"] is not None
    assert made["acknowledged"] > 0.9 * made["scheduled"] > 0
    assert made["pss_bytes"] > 50_000_000
    assert sum(value for key, value in found["metrics"].items() if key.startswith("gateway_batches")) > 0
    if name == "worker":
        assert made["disconnected"] > 0


async def test_bystanders_tell_what_they_notice_of_a_storm() -> None:
    storm = Wanted(load("takeover").scaled(users=0.01, durations=0.12), 9.0, None, 0.0)
    found = await drilled(DRILLS["takeover"], storm)
    seen = found["bystanders"]
    assert 0 < seen["pairs"] < PAIRS, "the worker of the others was killed"
    assert seen["deliveries"] > 0
    assert 0 < seen["p50_ms"] <= seen["p95_ms"] <= seen["max_ms"]
    assert 0 < found["connections"]["disconnected"] == found["connections"]["recovered"]
    assert "pairs stayed" in told(seen)


@pytest.mark.parametrize("shape", restore.SHAPES)
async def test_clients_of_the_old_life_agree_after_a_restore(shape: str) -> None:
    found = await restore.drill(shape, restore.load_of(100, 6), 3.0, 6)
    assert found.ok, found
    assert (found.resynced, found.acknowledged > 0, found.committed > 0) == (6, True, True)


def shown(summaries: list[dict[str, Any]]) -> str:
    console = Console(width=220)
    with console.capture() as captured:
        console.print(table(summaries))
    return captured.get()


def test_the_table_shows_verdict_and_outage() -> None:
    made = {**report(), "outages": [
        {"from_s": 3.0, "duration_s": 2.5, "silent_s": 1.0, "recovered_s": 4.5, "wait_max_ms": 1.0},
        {"from_s": 9.0, "duration_s": 0.5, "silent_s": 0.0, "recovered_s": 1.0, "wait_max_ms": 1.0},
    ]}  # fmt: skip
    [line] = [line for line in shown([summary("worker", made)]).splitlines() if "worker" in line]
    for figure in ("pass", "3.0 s", "1.0 s", "5.5 s"):
        assert figure in line


def test_the_drills_are_listed_and_unknown_ones_refused(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["--list"])
    assert listed.exit_code == 0
    wrong = CliRunner().invoke(main, ["--drill", "no-such-drill"])
    assert wrong.exit_code == 2
    unknown = CliRunner().invoke(main, ["--drill", "none", "--scenario", str(tmp_path / "none.toml")])
    assert unknown.exit_code == 2


def test_why_a_run_could_not_take_place_is_found_in_groups_of_groups() -> None:
    inner = ExceptionGroup("of the generators", [RunError("the documents can't be made")])
    found = leaves(ExceptionGroup("of the run", [inner, RunError("another")]))
    assert [str(one) for one in found] == ["the documents can't be made", "another"]
