"""The command line: exit statuses, files, words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadtest.cli import main
from tests.loadtest.reports import report
from tests.loadtest.test_capacity import calibration

REFERENCE = Path(__file__).with_name("reference.py")
SCENARIO = """
description = "a second of edits"
[[stages]]
name = "edit"
duration_s = 1
connections = 8
operations_per_s = 60
[population]
documents = 2
[activity.mix]
title = 1
[targets]
operations_achieved_min = 0.5
[generator]
lag_p99_ms_max = LAG
missed_max = 1.0
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def run(tmp_path: Path, fault: str, *more: object, lag: float = 1000) -> Result:
    scenario = tmp_path / "short.toml"
    scenario.write_text(SCENARIO.replace("LAG", str(lag)))
    server = f"{sys.executable} {REFERENCE} --fault {fault} --one-in 31"
    return call("run", scenario, "--server-command", server, *more)


def test_a_run_that_passes_exits_with_0_and_writes_its_reports(tmp_path: Path) -> None:
    files = tmp_path / "r.json", tmp_path / "r.html"
    result = run(tmp_path, "none", "--json", files[0], "--html", files[1], "--seed", 4)
    assert result.exit_code == 0, result.output
    assert "PASS" in result.output
    made = json.loads(files[0].read_text())
    assert (made["verdict"]["status"], made["environment"]["seed"]) == ("pass", 4)
    assert files[1].read_text().startswith("<!doctype html>")


def test_a_run_that_fails_exits_with_1_and_names_the_fault(tmp_path: Path) -> None:
    result = run(tmp_path, "duplicate")
    assert result.exit_code == 1
    assert "x duplicates" in result.output


def test_a_run_that_says_nothing_exits_with_2(tmp_path: Path) -> None:
    result = run(tmp_path, "none", lag=0.0001)
    assert result.exit_code == 2
    assert "INVALID" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nothing"], "give a file ending in .toml, or one of"),
        (["run", "smoke", "--share", "3/2"], "N is from 1 to M"),
        (["run", "smoke", "--share", "half"], "a share looks like 2/3"),
        (["sweep", "nothing", "--start", "1"], "no scenario"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_the_scenarios_are_listed_with_what_they_do() -> None:
    result = call("list")
    assert "headline" in result.output
    assert "30,000 edits a second" in " ".join(result.output.split())


def test_help_names_the_keys_of_the_report_and_the_exit_statuses() -> None:
    said = " ".join(call("run", "--help").output.split())
    for wanted in ("kernel_socket_bytes", "lag_p99_ms", "Exit status: 0 pass; 1 fail", "--duration-scale"):
        assert wanted in said


def saved(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_compare_exits_with_1_on_a_regression(tmp_path: Path) -> None:
    good, slow = saved(tmp_path / "a.json", report()), saved(tmp_path / "b.json", report(delivery_ms=40))
    assert call("compare", good, good).exit_code == 0
    result = call("compare", good, slow)
    assert result.exit_code == 1
    assert "worse" in result.output
    assert call("compare", slow, good).exit_code == 0
    assert call("compare", good, slow, "--threshold", 5).exit_code == 0


def test_merge_and_html_make_reports_of_reports(tmp_path: Path) -> None:
    parts = [saved(tmp_path / f"{n}.json", report(share=(n, 2))) for n in (1, 2)]
    page, whole = tmp_path / "all.html", tmp_path / "all.json"
    assert call("merge", *parts, "--json", whole).exit_code == 0
    assert call("html", whole, page).exit_code == 0
    assert "<svg" in page.read_text()
    assert call("merge", parts[0]).exit_code == 2


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    other = saved(tmp_path / "x.json", {"hello": 1})
    assert "no report of" in call("html", other, tmp_path / "y.html").output
    assert (
        "no model can be made"
        in call("plan", other, "--connections", 1, "--ops-per-user-s", 1, "--viewers", 1).output
    )


def test_a_plan_names_what_binds_and_checks_its_prediction(tmp_path: Path) -> None:
    points = saved(tmp_path / "cal.json", {"points": calibration()})
    run_report, answer = saved(tmp_path / "run.json", report()), tmp_path / "plan.json"
    options = ["--connections", 100_000, "--ops-per-user-s", 0.1, "--viewers", 4, "--p95-ms", 20]
    result = call("plan", points, *options, "--check", run_report, "--json", answer)
    assert result.exit_code == 0, result.output
    for wanted in ("descriptors binds", "extrapolated:", "assumed:", "Predicted and measured"):
        assert wanted in " ".join(result.output.split())
    scaling = ["--scaling", "1=100", "--scaling", "2=190"]
    assert "at least three numbers of workers" in call("plan", points, *options, *scaling).output
    result = call("plan", points, *options, *scaling, "--scaling", "4=340", "--cores-a-node", 8)
    assert result.exit_code == 0
    assert "Universal Scalability Law" not in result.output
    made = json.loads(answer.read_text())
    assert made["answer"]["nodes"] >= 2
    assert made["check"][0]["cpu_cores"]["measured"] == pytest.approx(0.5)
    assert made["costs"]["cpu_us_of_deliveries_per_s"]["value"] == pytest.approx(5, rel=0.01)
