"""The command line: exit statuses, files, words."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trio
from click.testing import CliRunner, Result

from loadtest.capacity.prices import SHIPPED
from loadtest.cli import main
from loadtest.compare import compare
from loadtest.evidence import Findings
from loadtest.histogram import Latencies
from loadtest.report.figures import number
from loadtest.scenario import members
from tests.loadtest.calibrations import calibration, point
from tests.loadtest.drill import REFERENCE
from tests.loadtest.reports import report
from tests.loadtest.shown import until_shown
from tests.locales import ASCII_ALONE

OUTPUTS = import_module("loadtest.cli.outputs")
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


def run(tmp_path: Path, fault: str, *more: object, lag: float = 60_000) -> Result:
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
        (["run", "smoke", "--share", "1/2/3"], "a share looks like 2/3"),
        (["run", "smoke", "--processes", "-1"], "-1 is not in the range x>=1"),
        (["sweep", "nothing", "--start", "1"], "no scenario"),
        (["run", "smoke", "--url", "http://127.0.0.1:1/"], "a server's address looks like ws://"),
        (["run", "smoke", "--url", "ws://[::1:8787/x"], "a server's address looks like ws://"),
        (["run", "smoke", "--url", "ws://a:99999/x"], "a server's address looks like ws://"),
        (
            ["run", "smoke", "--url", "ws://a/x", "--admin-url", "http://h:99999"],
            "looks like http://HOST:8788",
        ),
        (["run", "smoke", "--url", "ws://a/x", "--admin-url", "http://[::1"], "looks like http://HOST:8788"),
        (["run", "smoke", "--scale", "nan"], "'nan' is no number from 0.001 to 1,000,000"),
        (["run", "smoke", "--scale", "-1"], "'-1' is no number from 0.001"),
        (["run", "smoke", "--scale", "0"], "'0' is no number from 0.001"),
        (["run", "smoke", "--duration-scale", "0"], "'0' is no number from 0.001"),
        (["run", "smoke", "--duration-scale", "inf"], "'inf' is no number from 0.001"),
        (["run", "smoke", "--rate-scale", "much"], "'much' is no number from 0"),
        (["sweep", "smoke", "--start", "1", "--scale", "nan"], "'nan' is no number from 0"),
        (["run", "smoke", "--url", "wss://127.0.0.1:1/"], "before its TLS proxy"),
        (["run", "smoke", "--url", "ws://127.0.0.1:1/realtime"], "needs --token-secret-file"),
        (["run", "smoke", "--json", "no/such/folder/r.json"], "there is no folder"),
        (["sweep", "smoke", "--start", "1", "--json", "no/such/folder/c.json"], "there is no folder"),
        (["sweep", "smoke", "--start", "1", "--repeats", "0"], "--repeats"),
        (["sweep", "smoke", "--start", "1", "--steps", "0"], "--steps"),
        (["sweep", "smoke", "--start", "1", "--factor", "1"], "--factor"),
        (["sweep", "smoke", "--start", "nan"], "'nan' is no number from 0.001 to"),
        (["sweep", "smoke", "--start", "1", "--hold-s", "nan"], "'nan' is no number from 0.1 to"),
        (["sweep", "smoke", "--start", "1", "--hold-s", "0"], "'0' is no number from 0.1 to"),
        (
            ["sweep", "smoke", "--start", "0.1", "--vary", "connections"],
            "at least one stage with connections",
        ),
        (
            ["sweep", "smoke", "--start", "1e8", "--vary", "fanout", "--steps", "1", "--repeats", "1"],
            "connections are more than can be played (10,000,000)",
        ),
        (["calibrate", "--hold-s", "-1", "--json", "/dev/null"], "'-1' is no number from 0.1 to"),
        (["compare", "/dev/null", "/dev/null", "--threshold", "nan"], "'nan' is no number from 0 to"),
        (["run", "smoke", "--start-at", "1", "--server-command", "no/such"], "--start-at 1 is in the past"),
        (["run", "smoke", "--start-at", "inf"], "'inf' is no number from 0 to"),
        (["run", "smoke", "--server-command", "'"], "is no command line: No closing quotation"),
        (["run", "smoke", "--server-command", " "], "this is empty: leave it out to test the gateway"),
        (["run", "smoke", "--run-name", "a/b"], "is no run's name: it is at most 64 of A-Z a-z 0-9"),
        (["run", "smoke", "--server-command", "no/such"], "can't be started: No such file or directory"),
        (["run", "smoke", "--json", "x" * 300], "can't be written here: File name too long"),
        (["run", "smoke", "--html", "/proc/x"], "/proc/x can't be written here"),
        (["run", "smoke", "--html", "/dev/shm/x", "--json", "/dev/shm/./x"], "x is named twice"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("module", ["loadtest", "gateway"])
def test_commands_load_with_a_click_whose_types_are_not_generic(module: str) -> None:
    older = "import click, runpy, sys; click.ParamType.__class_getitem__ = None; sys.argv[1:] = ['--help']; "
    script = f"{older}runpy.run_module('{module}', run_name='__main__')"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("name", ["list", "agent"])
def test_an_output_that_takes_nothing_is_told_in_a_line(tmp_path: Path, name: str) -> None:
    """What is printed from within a nursery was a traceback, with the status of a fault."""
    secret = tmp_path / "secret"
    secret.write_text("s" * 32)
    options = ["--secret-file", str(secret), "--listen", "127.0.0.1:0"] if name == "agent" else []
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "loadtest", name, *options]
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (said.returncode, said.stderr) == (2, "loadtest: No space left on device\n")


def test_a_reader_that_has_gone_changes_neither_reports_nor_status(tmp_path: Path) -> None:
    """It ended with the status of a fault, and without the report."""
    parts = [str(saved(tmp_path / f"{n}.json", report(share=(n, 2)))) for n in (1, 2)]
    made = tmp_path / "all.json"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for arguments in (["list"], ["merge", *parts, "--json", str(made)]):
            command = [sys.executable, "-m", "loadtest", *arguments]
            said = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
            assert (said.returncode, said.stderr) == (0, "")
    finally:
        os.close(writing)
    assert json.loads(made.read_text())["verdict"]["status"] == "pass"


def test_a_run_whose_output_takes_nothing_leaves_its_report(tmp_path: Path) -> None:
    """It was neither printed nor written: the first line that couldn't be printed ended the run."""
    scenario, files = tmp_path / "short.toml", [tmp_path / "r.json", tmp_path / "r.html"]
    scenario.write_text(SCENARIO.replace("LAG", "60000"))
    server = f"{sys.executable} {REFERENCE} --fault none"
    command = [sys.executable, "-m", "loadtest", "run", str(scenario), "--server-command", server]
    with open("/dev/full", "w") as full:
        said = subprocess.run(
            [*command, "--json", str(files[0]), "--html", str(files[1])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert said.returncode == 2, said.stderr
    assert said.stderr.count("PASS") == 1
    assert said.stderr.endswith("Error: standard output takes nothing: No space left on device\n")
    assert json.loads(files[0].read_text())["verdict"]["status"] == "pass"
    assert "</html>" in files[1].read_text()


def elsewhere(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Call it where the locale's encoding is ASCII, and Python doesn't put UTF-8 in its place."""
    command = [sys.executable, "-m", "loadtest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=ASCII_ALONE)


def test_a_run_is_judged_and_told_in_a_locale_of_another_encoding_than_utf_8(tmp_path: Path) -> None:
    """Once it was over it ended in a traceback, with the status of a fault: its page has dashes. Without a
    page it said nothing about the server, for the terminal had no letter for a dash."""
    scenario, page = tmp_path / "short.toml", tmp_path / "r.html"
    scenario.write_text(
        SCENARIO.replace("LAG", "60000").replace("a second", "eine Sekunde für 東京"), "utf-8"
    )
    server = f"{sys.executable} {REFERENCE} --fault none"
    said = elsewhere("run", scenario, "--server-command", server, "--html", page)
    assert (said.returncode, b"PASS" in said.stdout) == (0, True), said.stderr
    assert "eine Sekunde für 東京" in page.read_text("utf-8")


def test_what_a_terminal_has_no_letters_for_is_a_question_mark_in_errors_too() -> None:
    command = [sys.executable, "-m", "loadtest", "run", "東京.toml"]
    western = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    said = subprocess.run(command, capture_output=True, encoding="latin-1", env=western)
    assert (said.returncode, "no scenario '??.toml'" in said.stderr) == (2, True), said.stderr


def test_what_is_read_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    """Reports and calibrations as jq leaves them, and what people write into a list of prices."""
    files = {"r.json": report(name="東京"), "cal.json": {"points": calibration(), "of": "東京"}}
    made, costs, prices, page = (tmp_path / name for name in (*files, "own.toml", "page.html"))
    for name, data in files.items():
        (tmp_path / name).write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    prices.write_text(f"# 東京\n{(SHIPPED / 'rfc002.toml').read_text('utf-8')}", "utf-8")
    said = elsewhere("html", made, page)
    assert said.returncode == 0, said.stderr
    assert "東京" in page.read_text("utf-8")
    wish = ["--connections", 1000, "--ops-per-user-s", 0.1, "--viewers", 4]
    said = elsewhere("plan", costs, *wish, "--prices", prices)
    assert said.returncode == 0, said.stderr


def test_the_scenarios_are_listed_with_what_they_do() -> None:
    result = call("list")
    assert "headline" in result.output
    assert "30,000 edits a second" in " ".join(result.output.split())


def test_the_keys_of_a_scenario_are_whole_in_a_narrow_terminal() -> None:
    """Eight were cut off with "…", and the table was three words wide."""
    listed = subprocess.run(
        [sys.executable, "-m", "loadtest", "list", "--keys"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "…" not in listed
    headings = [line for line in listed.splitlines() if not line.startswith(" ")]
    assert headings == list(dict.fromkeys(key.table or "at the top" for key in members()))
    assert {key.name for key in members()} <= set(listed.split())


def test_help_names_the_keys_of_the_report_and_the_exit_statuses() -> None:
    said = " ".join(call("run", "--help").output.split())
    for wanted in ("kernel_socket_bytes", "lag_p99_ms", "Exit status: 0 pass; 1 fail", "--duration-scale"):
        assert wanted in said


def saved(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def wished(tmp_path: Path, command: str, *options: object, connections: int = 1000) -> Result:
    """What a command makes of a calibration."""
    points = saved(tmp_path / "cal.json", {"points": calibration()})
    wish = ["--connections", connections, "--ops-per-user-s", 0.1, "--viewers", 4]
    return call(command, points, *wish, *options)


def test_compare_exits_with_1_on_a_regression(tmp_path: Path) -> None:
    good, slow = saved(tmp_path / "a.json", report()), saved(tmp_path / "b.json", report(delivery_ms=40))
    assert call("compare", good, good).exit_code == 0
    result = call("compare", good, slow)
    assert result.exit_code == 1
    assert "worse" in result.output
    assert call("compare", slow, good).exit_code == 0
    assert call("compare", good, slow, "--threshold", 5).exit_code == 0


def faulty(**options: Any) -> dict[str, Any]:
    findings = Findings()
    findings.add("lost_acknowledged", "doc: version 3", 2)
    return report(findings=findings, **options)


@pytest.mark.parametrize(
    ("before", "after", "status", "told"),
    [
        (report(delivery_ms=300), faulty(delivery_ms=300), 1, "lost_acknowledged: 0 -> 2"),
        (report(others=0.8, delivery_ms=300), faulty(), 1, "lost_acknowledged: 0 -> 2"),
        (report(), report(delivery_ms=300), 1, "verdict: pass -> fail"),
        (faulty(), faulty(), 0, "verdict: fail -> fail"),
        (faulty(), report(), 0, "verdict: fail -> pass"),
        (report(ended_early="cut off"), report(ended_early="cut off"), 2, "invalid and says nothing"),
        (report(), report(ended_early="cut off", delivery_ms=300), 2, "the run after is invalid"),
        (report(ended_early="cut off"), report(delivery_ms=300), 2, "the run before is invalid"),
    ],
)
def test_faults_count_whatever_failed_before_and_invalid_runs_say_nothing(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], status: int, told: str
) -> None:
    """A run that lost edits was no regression of one that failed for its p95, nor was an invalid one told."""
    paths = saved(tmp_path / "a.json", before), saved(tmp_path / "b.json", after)
    result = call("compare", *paths, "--threshold", 50)
    assert (result.exit_code, told in " ".join(result.output.split())) == (status, True), result.output


def test_a_run_that_says_nothing_is_no_baseline(tmp_path: Path) -> None:
    made, folder = saved(tmp_path / "a.json", report(ended_early="interrupted")), tmp_path / "kept"
    result = call("baseline", "main", made, "--baselines", folder)
    assert (result.exit_code, folder.exists()) == (2, False)
    assert "its run is invalid: interrupted" in " ".join(result.output.split())


def test_a_comparison_is_whole_on_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes had so many digits that the names of rates were cut off."""
    monkeypatch.setenv("COLUMNS", "80")
    made = report()
    made["server"] = {**made["server"], "rss_bytes": 127_787_008}
    result = call("compare", *[saved(tmp_path / "r.json", made)] * 2)
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    wanted = [*compare(made, made, 0.1)]
    assert all(any(one.figure.name in line for line in lines) for one in wanted)
    assert "122 MiB" in result.output


def test_merge_and_html_make_reports_of_reports(tmp_path: Path) -> None:
    parts = [saved(tmp_path / f"{n}.json", report(share=(n, 2))) for n in (1, 2)]
    page, whole = tmp_path / "all.html", tmp_path / "all.json"
    assert call("merge", *parts, "--json", whole).exit_code == 0
    held = json.loads(whole.read_text())["stages"][-1]
    assert [held[name] for name in ("connections", "connections_first", "connections_last")] == [80] * 3
    assert call("html", whole, page).exit_code == 0
    assert "<svg" in page.read_text()
    assert call("merge", parts[0]).exit_code == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["merge"], ["--json", "no/such/folder/x"]),
        (["export"], ["--csv", "no/such/folder/x"]),
        (["html"], ["no/such/folder/x"]),
        (["baseline", "main"], ["--baselines", "/dev/null/x"]),
        (["plan", "--connections", 9, "--ops-per-user-s", 1, "--viewers", 1], ["--json", "no/such/folder/x"]),
    ],
)
def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, before: list[object], after: list[object]
) -> None:
    made = saved(tmp_path / "r.json", {**report(), "points": calibration()})
    result = call(*before, made, *after)
    assert result.exit_code == 2
    assert "there is no folder" in result.output or "can't be made: Not a directory" in result.output


def test_a_report_for_which_there_is_no_space_is_told_and_the_others_are_written(tmp_path: Path) -> None:
    made, page = saved(tmp_path / "r.json", report()), tmp_path / "r.html"
    result = call("export", made, "--json", "/dev/full", "--html", page)
    assert (result.exit_code, "</html>" in page.read_text()) == (2, True)
    assert "/dev/full can't be written: No space left on device" in result.output


def test_each_report_for_which_there_is_no_space_is_told(tmp_path: Path) -> None:
    """Only the last was."""
    folder = tmp_path / "full"
    folder.mkdir()
    links = [folder / "one", folder / "two"]
    for link in links:
        link.symlink_to("/dev/full")
    result = call("export", saved(tmp_path / "r.json", report()), "--json", links[0], "--html", links[1])
    assert result.exit_code == 2
    for link in links:
        assert f"{link} can't be written: No space left on device" in result.output


@pytest.mark.parametrize("command", ["export", "html", "merge", "plan", "simulate"])
def test_what_is_read_is_not_written_over(tmp_path: Path, command: str) -> None:
    """Half an hour's report became a page, for who named one file twice."""
    made = saved(tmp_path / "r.json", {**report(), "points": calibration()})
    whole, load = made.read_text(), ["--connections", 9, "--ops-per-user-s", 1, "--viewers", 1]
    more = {"html": [made], "plan": [*load, "--json", made], "simulate": [*load, "--html", made]}
    result = call(command, made, *more.get(command, ["--html", made]))
    assert (result.exit_code, made.read_text()) == (2, whole)
    assert "is named twice" in " ".join(result.output.split())


def test_neither_a_scenario_nor_prices_are_written_over(tmp_path: Path) -> None:
    made, costs = tmp_path / "made.toml", saved(tmp_path / "r.json", {**report(), "points": calibration()})
    made.write_text(SCENARIO.replace("LAG", "60000"))
    whole, load = made.read_text(), ["--connections", 9, "--ops-per-user-s", 1, "--viewers", 1]
    for words in (
        ["run", made],
        ["sweep", made, "--start", 1],
        ["plan", costs, *load, "--prices", made],
        ["simulate", costs, *load, "--prices", made],
    ):
        result = call(*words, "--json", made)
        assert (result.exit_code, made.read_text()) == (2, whole)
        assert "is named twice" in " ".join(result.output.split())


def test_a_report_that_is_refused_is_not_written_either(tmp_path: Path) -> None:
    wrong, kept = saved(tmp_path / "r.json", {"verdict": {}}), tmp_path / "kept.json"
    kept.write_text("kept")
    result = call("merge", wrong, "--json", kept)
    assert (result.exit_code, kept.read_text()) == (2, "kept"), result.output


def test_where_nothing_can_be_told_each_report_is_written(tmp_path: Path) -> None:
    """After the first the second wasn't: the disk was found full again. And the status was a fault's."""
    made, files = saved(tmp_path / "r.json", report()), [tmp_path / "a.json", tmp_path / "b.html"]
    command = [
        sys.executable,
        "-m",
        "loadtest",
        "merge",
        str(made),
        "--json",
        str(files[0]),
        "--html",
        str(files[1]),
    ]
    with open("/dev/full", "w") as full:
        said = subprocess.run(command, stdout=full, stderr=full)
    assert said.returncode == 2
    assert [path.is_file() for path in files] == [True, True]


def test_a_report_may_have_the_longest_name_that_a_file_may_have(tmp_path: Path) -> None:
    """A name of many bytes was refused once the run was over."""
    made = tmp_path / ("日" * 85)
    result = call("export", saved(tmp_path / "r.json", report()), "--json", made)
    assert (result.exit_code, made.is_file()) == (0, True), result.output


def test_a_report_for_which_there_is_no_space_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    made, kept = saved(tmp_path / "r.json", report()), tmp_path / "kept.json"
    kept.write_text("kept")
    kept.chmod(0o640)
    room = ["prlimit", "--fsize=100", sys.executable, "-m", "loadtest", "export", made, "--json", kept]
    unkept = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # what is compiled would be cut off, too
    said = subprocess.run(room, capture_output=True, text=True, env=unkept)
    assert (said.returncode, kept.read_text()) == (2, "kept")
    assert "can't be written: File too large" in " ".join(said.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.json", "r.json"]
    assert call("export", made, "--json", kept).exit_code == 0
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (made.read_text(), 0o640)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '"points"',
        '{"points": 5}',
        '{"points": [1]}',
        '{"points": [{}]}',
        '{"server": 1}',
        '{"hello": 1}',
        "{",
    ],
)
@pytest.mark.parametrize("command", [["plan"], ["plan", "--check"], ["simulate"]])
def test_what_is_no_calibration_is_refused(tmp_path: Path, command: list[str], text: str) -> None:
    wrong, points = tmp_path / "wrong.json", saved(tmp_path / "cal.json", {"points": calibration()})
    wrong.write_text(text)
    name, *check = command
    options = ["--connections", 1000, "--ops-per-user-s", 0.1, "--viewers", 4]
    result = call(name, *([points, *check, wrong] if check else [wrong]), *options)
    assert result.exit_code == 2
    assert "no model can be made of this: " in result.output.replace("\n", " ")
    assert "Error(" not in result.output


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    other = saved(tmp_path / "x.json", {"hello": 1})
    for none in (other, saved(tmp_path / "list.json", [1]), saved(tmp_path / "number.json", 1)):
        assert "no report of" in call("html", none, tmp_path / "y.html").output
    assert (
        "no model can be made"
        in call("plan", other, "--connections", 1, "--ops-per-user-s", 1, "--viewers", 1).output
    )


def test_an_export_into_nothing_is_refused(tmp_path: Path) -> None:
    """It ended well, and had done nothing."""
    result = call("export", saved(tmp_path / "r.json", report()))
    assert result.exit_code == 2
    assert "say in which form" in result.output


VERDICT = {"verdict": {**report()["verdict"], "status": "fine"}}


@pytest.mark.parametrize("command", ["html", "export", "compare"])
@pytest.mark.parametrize(
    "part",
    [{"verdict": "pass"}, {"latency_ms": []}, {"environment": {}}, {"verdict": {}, "series": 5}, VERDICT],
)
def test_a_report_with_parts_of_another_form_is_refused(
    tmp_path: Path, command: str, part: dict[str, Any]
) -> None:
    """It ended in a traceback, and with the status of a regression."""
    odd, good = saved(tmp_path / "odd.json", {**report(), **part}), saved(tmp_path / "r.json", report())
    more = {"html": [tmp_path / "o.html"], "export": ["--html", tmp_path / "o.html"], "compare": [good]}
    result = call(command, odd, *more.get(command, []))
    assert result.exit_code == 2
    assert "no report of `python -m loadtest run --json` has this form" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "histogram",
    ["x", "HISTFAAAAA==", "AAAA", Latencies().encode()[:-9] + "AAAAAAAA=", "HISTFAAAAAd4nJNpmQ=="],
)
def test_a_share_with_a_damaged_histogram_is_refused(tmp_path: Path, histogram: str) -> None:
    """It was a traceback of zlib's or of the library's own."""
    odd = report(share=(2, 2))
    odd["histograms"] = {**odd["histograms"], "delivery": histogram}
    parts = saved(tmp_path / "1.json", report(share=(1, 2))), saved(tmp_path / "2.json", odd)
    result = call("merge", *parts)
    assert result.exit_code == 2
    assert "a histogram can't be read" in " ".join(result.output.split())


@pytest.mark.parametrize("command", ["html", "compare", "plan"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"verdict": NaN}', '{"verdict": 1e999}'])
def test_a_file_that_is_no_json_is_told(tmp_path: Path, command: str, text: str) -> None:
    """One that was nested deeply was a traceback, and what is no number a change within the noise."""
    odd = tmp_path / "odd.json"
    odd.write_text(text)
    wish = ["--connections", 9, "--ops-per-user-s", 1, "--viewers", 1]
    more = {"html": [tmp_path / "o.html"], "compare": [odd], "plan": wish}
    result = call(command, odd, *more[command])
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (2, True)
    assert "is no report" in result.output or "no model can be made of this" in result.output


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"workers": "2"}, "workers of the stage 'hold' is '2': it is a number, 1 or more"),
        ({"workers": 0}, "workers of the stage 'hold' is 0: it is a number, 1 or more"),
        ({"workers": None}, "workers of the stage 'hold' is None"),
        ({"appends_per_s": "many"}, "appends_per_s of the stage 'hold' is 'many'"),
        ({"socket_bytes": [1]}, "socket_bytes of the stage 'hold' is [1]"),
        ({"compressed_share": -1}, "compressed_share of the stage 'hold' is -1"),
        ({"faults": 5}, "faults of the stage 'hold' are no list"),
    ],
)
def test_a_point_of_another_form_is_told(tmp_path: Path, odd: dict[str, Any], told: str) -> None:
    measured = calibration()
    cal = saved(tmp_path / "odd.json", {"points": [{**measured[0], **odd}, *measured[1:]]})
    for files in ([cal], [saved(tmp_path / "cal.json", {"points": measured}), "--check", cal]):
        result = call("plan", *files, "--connections", 9, "--ops-per-user-s", 1, "--viewers", 1)
        assert (result.exit_code, isinstance(result.exception, SystemExit)) == (2, True)
        assert told in " ".join(result.output.split())


def test_appends_without_batches_are_taken_as_not_counted(tmp_path: Path) -> None:
    """They were a division by zero."""
    counted = [{**one, "appends_per_s": 100.0, "batches_per_s": 0} for one in calibration()]
    cal = saved(tmp_path / "cal.json", {"points": counted})
    result = call("plan", cal, "--connections", 1000, "--ops-per-user-s", 0.1, "--viewers", 4)
    assert result.exit_code == 0, result.output


def test_a_share_without_its_scenario_is_refused(tmp_path: Path) -> None:
    result = call("merge", saved(tmp_path / "odd.json", {**report(), "environment": {}}))
    assert (result.exit_code, "has this form" in " ".join(result.output.split())) == (2, True)


def test_a_plan_names_what_binds_and_checks_its_prediction(tmp_path: Path) -> None:
    run_report, answer = saved(tmp_path / "run.json", report()), tmp_path / "plan.json"
    planned = partial(wished, tmp_path, "plan", "--p95-ms", 20, connections=100_000)
    result = planned("--check", run_report, "--json", answer)
    assert result.exit_code == 0, result.output
    for wanted in ("descriptors binds", "extrapolated:", "assumed:", "Predicted and measured"):
        assert wanted in " ".join(result.output.split())
    scaling = ["--scaling", "1=100", "--scaling", "2=190"]
    assert "at least three numbers of workers" in planned(*scaling).output
    result = planned(*scaling, "--scaling", "4=340", "--cores-a-node", 8)
    assert result.exit_code == 0
    assert "Universal Scalability Law" not in result.output
    assert "RFC-002 lists no node of 8 cores and 4 GiB" in " ".join(result.output.split())
    made = json.loads(answer.read_text())
    assert made["answer"]["nodes"] >= 2
    assert made["answer"]["redis_bytes"] > 1e9
    assert made["money"]["redis"] == 180 * 2 * made["answer"]["redis_masters"], "masters and replicas"
    assert made["answer"]["disk_bytes"] > 1e12, "10,000 edits a second for a month"
    parts = ("nodes", "redis", "database", "storage", "transfer")
    assert made["money"]["total"] == pytest.approx(sum(made["money"][part] for part in parts))
    assert made["check"][0]["cpu_cores"]["measured"] == pytest.approx(0.5)
    assert made["costs"]["cpu_us_of_deliveries_per_s"]["value"] == pytest.approx(5, rel=0.01)


@contextmanager
def serving(tmp_path: Path, fault: str = "none") -> Iterator[list[str]]:
    """A server, by the options that reach it."""
    command = [sys.executable, REFERENCE, "--fault", fault, "--port", "0", "--data", tmp_path / "data"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            [url] = re.findall(r"ws://[^\s]+", server.stdout.readline())
            yield ["--url", url, "--token-secret-file", str(tmp_path / "data" / "jwt-secret")]
        finally:
            server.kill()


def begun(*words: object) -> subprocess.Popen[str]:
    """A load test in a process of its own."""
    command = [sys.executable, "-m", "loadtest", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_server_that_is_not_there_is_told_before_anything_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 32)
    result = call("run", "smoke", "--url", "ws://127.0.0.1:1/realtime", "--token-secret-file", secret)
    assert result.exit_code == 2
    assert "no user can connect: ws://127.0.0.1:1/realtime: " in result.output
    assert not result.output.rstrip().endswith("realtime:")


def test_an_admin_address_that_does_not_answer_is_told_before_the_run(tmp_path: Path) -> None:
    with serving(tmp_path) as reach:
        result = call("run", "smoke", *reach, "--admin-url", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "the admin HTTP doesn't answer: " in result.output


def test_ctrl_c_leaves_a_report_of_what_was_measured(tmp_path: Path) -> None:
    scenario, made = tmp_path / "long.toml", tmp_path / "r.json"
    hold = '[[stages]]\nname = "hold"\nduration_s = 120\nconnections = 8\noperations_per_s = 60\n[population]'
    scenario.write_text(SCENARIO.replace("LAG", "1000").replace("[population]", hold))
    server = f"{sys.executable} {REFERENCE} --fault none"
    with begun("run", scenario, "--json", made, "--server-command", server) as process:
        said = process.stdout.readline() + process.stdout.readline()  # progress, each 5 s
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert "the run was ended by Ctrl-C" in said
    report = json.loads(made.read_text())
    assert report["verdict"]["status"] == "invalid"
    assert report["counts"]["acks"] > 0


SERVER = """
import os, sys, time
with open({path!r} + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename({path!r} + ".new", {path!r})
if {ready}:
    os.execv(sys.executable, [sys.executable, {reference!r}, *sys.argv[1:]])
time.sleep(600)
"""


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("ready", [False, True])
def test_no_signal_leaves_the_server_behind(tmp_path: Path, number: signal.Signals, ready: bool) -> None:
    scenario, server, path = tmp_path / "long.toml", tmp_path / "server.py", tmp_path / "pid"
    scenario.write_text(SCENARIO.replace("LAG", "1000").replace("duration_s = 1\n", "duration_s = 120\n"))
    server.write_text(SERVER.format(path=str(path), ready=ready, reference=str(REFERENCE)))
    with begun("run", scenario, "--server-command", f"{sys.executable} {server}") as process:
        said = process.stdout.readline() if ready else ""  # progress
        while not path.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        said += process.stdout.read()
    assert process.returncode == 2, said
    assert "the run was ended " in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_a_server_is_waited_for_is_no_fault_of_its(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C ended with 1, as where a server lost something."""
    secret = tmp_path / "secret"
    secret.write_text("s" * 32)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/realtime"
        load = begun("run", "smoke", "--url", url, "--token-secret-file", secret)
        with load as process, silent.accept()[0]:
            process.send_signal(number)
            said = process.stdout.read()
    assert process.returncode == 2, said
    assert "Error: the run was ended " in said


def test_ctrl_c_while_the_reports_are_written_changes_neither_them_nor_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever pressed it twice had 1, and no report."""
    pressed = Mock(side_effect=lambda *shown: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr(OUTPUTS, "print_report", pressed)
    result = run(tmp_path, "none", "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "r.json").read_text())["verdict"]["status"] == "pass"
    assert "</html>" in (tmp_path / "r.html").read_text()


def test_ctrl_c_is_no_verdict_of_any_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUTPUTS, "print_report", Mock(side_effect=KeyboardInterrupt))
    result = call("merge", saved(tmp_path / "r.json", report()))
    assert (result.exit_code, result.output) == (2, "Error: ended by Ctrl-C\n")


def test_ctrl_c_ends_a_sweep_and_leaves_no_knee(tmp_path: Path) -> None:
    scenario, made = tmp_path / "short.toml", tmp_path / "points.json"
    scenario.write_text(SCENARIO.replace("LAG", "1000"))
    steps = ["--start", "40", "--hold-s", "60"]
    with begun("sweep", scenario, *steps, "--web", "0", "--json", made) as process:
        said = process.stdout.readline()
        trio.run(until_shown, said.split()[-1], lambda state: bool(state["series"]))
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
    assert process.returncode == 2, said
    assert "the run was ended by Ctrl-C: there is no knee" in said
    assert json.loads(made.read_text())["knee"] is None


def test_a_sweep_may_be_of_a_server_that_runs_already(tmp_path: Path) -> None:
    scenario, points = tmp_path / "short.toml", tmp_path / "points.json"
    scenario.write_text(SCENARIO.replace("LAG", "1000"))
    with serving(tmp_path) as reach:
        steps = ["--start", 40, "--steps", 1, "--repeats", 1, "--hold-s", 1]
        result = call("sweep", scenario, *reach, *steps, "--json", points)
    assert result.exit_code == 0, result.output
    point = json.loads(points.read_text())["points"][-1]
    assert point["operations_per_s"] > 10
    assert point["cpu_cores"] is None, "a server of somebody else's doesn't show its CPU"


def test_a_sweep_ends_at_the_first_fault_of_a_server_and_says_which(tmp_path: Path) -> None:
    scenario, points = tmp_path / "short.toml", tmp_path / "points.json"
    scenario.write_text(SCENARIO.replace("LAG", "60000"))
    with serving(tmp_path, "lose-acknowledged") as reach:
        steps = ["--start", 40, "--steps", 3, "--repeats", 3, "--hold-s", 1]
        result = call("sweep", scenario, *reach, *steps, "--json", points)
    assert result.exit_code == 1, result.output
    told = " ".join(result.output.split())
    assert "knee: none operations; beyond it: " in told
    assert "lost_acknowledged: acknowledged operations are missing" in told.partition("knee:")[2]
    found = json.loads(points.read_text())
    assert {one["value"] for one in found["points"]} == {40}
    assert any("lost_acknowledged" in one for one in found["knee"]["faults"])


def test_a_plan_that_rests_on_runs_with_faults_says_so_and_leaves_out_a_dead_server(tmp_path: Path) -> None:
    measured = calibration()
    odd = {"status": "fail", "faults": ["2 x gaps: versions were skipped"]}
    dead = {**measured[1], "cpu_cores": 1e6, "server_died": True}
    points = saved(tmp_path / "cal.json", {"points": [{**measured[0], **odd}, *measured[1:], dead]})
    result = call("plan", points, "--connections", 1000, "--ops-per-user-s", 0.1, "--viewers", 4)
    told = " ".join(result.output.split())
    assert f"1 of {len(measured) + 1} stages are of runs whose server ended: they are left out" in told
    assert "stages are of runs with faults (2 x gaps: versions were skipped): mend the server" in told
    costs = told.partition("CPU of an operation")[2].split(" us")[0]
    assert float(costs.split()[0]) < 100


def test_a_sweep_whose_output_takes_nothing_leaves_its_calibration(tmp_path: Path) -> None:
    """The first line that couldn't be printed ended it, and nothing was kept."""
    scenario, points = tmp_path / "short.toml", tmp_path / "points.json"
    scenario.write_text(SCENARIO.replace("LAG", "60000"))
    steps = ["--start", "40", "--steps", "1", "--repeats", "1", "--hold-s", "1", "--json", str(points)]
    with serving(tmp_path) as reach, open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "loadtest", "sweep", str(scenario), *reach, *steps]
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (said.returncode, said.stderr) == (2, "loadtest: No space left on device\n")
    assert json.loads(points.read_text())["points"]


def test_a_prediction_fits_on_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_report = saved(tmp_path / "run.json", report())
    result = wished(tmp_path, "plan", "--check", run_report, connections=100_000)
    table = result.output.partition("Predicted and measured")[2]
    assert max(map(len, table.splitlines())) <= 80
    assert all(word in table for word in ("CPU, cores", "PSS", "p95", "off by"))


@pytest.mark.parametrize(
    ("wish", "said"),
    [(["--p95-ms", 1], "unreachable"), (["--cores-a-node", 1024], "before anybody connects")],
)
def test_what_no_number_of_nodes_can_give_is_no_plan(tmp_path: Path, wish: list[object], said: str) -> None:
    result = wished(tmp_path, "plan", *wish, connections=100_000)
    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--survive", -3], "'--survive'"),
        (["--connections", "nan"], "'--connections': 'nan' is no number from 1 to"),
        (["--ops-per-user-s", -1], "'--ops-per-user-s': '-1' is no number from 0 to"),
        (["--viewers", 100_001], "viewers"),
        (["--p95-ms", 0], "'--p95-ms'"),
        (["--cores-a-node", 0], "'--cores-a-node'"),
        (["--prices", "nosuch"], "no price list 'nosuch'"),
        (["--connections", 1e9, "--ops-per-user-s", 1000], "connections take"),
        (["--scaling", "x"], "'x': write WORKERS=THROUGHPUT"),
        (["--scaling", "1=nan", "--scaling", "2=3", "--scaling", "4=5"], "'1=nan': write WORKERS=THROUGHPUT"),
        (["--scaling", "0=1"], "'0=1': write WORKERS=THROUGHPUT"),
    ],
)
def test_a_wish_that_makes_no_sense_is_no_traceback(tmp_path: Path, wrong: list[object], said: str) -> None:
    result = wished(tmp_path, "plan", *wrong, connections=100_000)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit), "told, not raised"
    assert said in result.output


def test_a_plan_that_rests_on_invalid_runs_says_so(tmp_path: Path) -> None:
    """They say nothing about a server, and were taken as any."""
    measured = calibration()
    points = saved(tmp_path / "cal.json", {"points": [{**measured[0], "status": "invalid"}, *measured[1:]]})
    for command in ("plan", "simulate"):
        seeds = ["--seeds", 1] if command == "simulate" else []
        options = ["--connections", 1000, "--ops-per-user-s", 0.1, "--viewers", 4, *seeds]
        said = f"1 of {len(measured)} stages are of invalid runs"
        assert said in call(command, points, *options).output


def test_a_run_with_nothing_to_check_is_told(tmp_path: Path) -> None:
    """The plan came without a word of it."""
    moving = saved(tmp_path / "moving.json", {"points": [point(100, 0, 0, connects=20.0)]})
    result = wished(tmp_path, "plan", "--check", moving)
    assert result.exit_code == 0
    assert "--check: nothing to compare" in result.output


@pytest.mark.parametrize(
    "option", ["connections", "ops-per-user-s", "viewers", "p95-ms", "hot-readers", "connections-a-worker"]
)
def test_a_simulation_of_what_is_no_number_is_refused(tmp_path: Path, option: str) -> None:
    result = wished(tmp_path, "simulate", "--seeds", 1, f"--{option}", "nan")
    assert result.exit_code == 2
    assert f"'--{option}': 'nan' is no number from" in result.output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(["--viewers", 1000], "fewer than the 1,000"), (["--prices", "nosuch"], "no price list 'nosuch'")],
)
def test_a_simulation_of_what_makes_no_sense_is_refused(
    tmp_path: Path, wrong: list[object], said: str
) -> None:
    result = wished(tmp_path, "simulate", "--seeds", 1, *wrong)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_plan_whose_only_node_may_not_be_lost_says_so(tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    result = wished(tmp_path, "plan", "--survive", 0, "--json", answer)
    assert "its users stay away; plan a spare" in " ".join(result.output.split())
    assert json.loads(answer.read_text())["answer"]["drain_s"] is None


def test_a_plan_says_how_sure_it_is_of_how_soon_users_are_back(tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    result = wished(tmp_path, "plan", "--json", answer, connections=100_000)
    back_s, low_s, high_s = json.loads(answer.read_text())["answer"]["drain_s"]
    assert low_s <= back_s <= high_s
    told = f"are back in {number(back_s)} s ({number(low_s)} to {number(high_s)} s)"
    assert told in " ".join(result.output.split())


def test_a_plan_fits_on_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = wished(tmp_path, "plan", connections=100_000)
    assert max(map(len, result.output.splitlines())) <= 80
