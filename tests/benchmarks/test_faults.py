"""The drills, small: real servers are broken under a real load, and the harness finds nothing wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from rich.console import Console

from benchmarks.faults import restore
from benchmarks.faults.__main__ import Wanted, drilled, main
from benchmarks.faults.bystanders import PAIRS, SILENCE_S, Bystanders, Pair, told
from benchmarks.faults.drills import DRILLS, elsewhere
from benchmarks.faults.table import summary, table
from gateway.cli.client import GatewayAccess
from loadtest.evidence import COUNTED, Findings
from loadtest.options import RunError
from loadtest.scenario import load
from loadtest.server import embedded
from loadtest.users import token
from tests.loadtest.drill import REFERENCE
from tests.loadtest.reports import report
from tests.locales import ASCII_ALONE
from tests.waiting import unawaited, until

pytestmark = [pytest.mark.untraced, pytest.mark.long]


def small() -> Wanted:
    """Thirty users for a quarter of a minute; something breaks after four seconds."""
    return Wanted(load("drill").scaled(users=0.1, durations=0.3), 4.0, None, 0.0)


def test_a_drill_is_told_and_its_page_written_in_a_locale_of_another_encoding_than_utf_8(
    tmp_path: Path,
) -> None:
    scenario = tmp_path / "small.toml"
    stage = 'name = "edit"\nduration_s = 1\nconnections = 4\noperations_per_s = 20'
    scenario.write_text(
        f'description = "für 東京"\n[[stages]]\n{stage}\n[population]\ndocuments = 1\n', "utf-8"
    )
    command = [sys.executable, "-m", "benchmarks.faults", "--drill", "none", "--scenario", str(scenario)]
    said = subprocess.run([*command, "--html", str(tmp_path)], capture_output=True, env=ASCII_ALONE)
    assert "für 東京" in (tmp_path / "none.html").read_text("utf-8"), said.stderr
    assert b"longest wait" in said.stdout, said.stderr


@pytest.mark.parametrize("name", ["worker", "redis", "part", "cut", "shard"])
async def test_a_drill_breaks_a_cluster_and_nothing_is_lost(name: str) -> None:
    found = await drilled(DRILLS[name], small())
    made = summary(name, found)
    assert made["faults"] == dict.fromkeys(COUNTED, 0), found["verdict"]["reasons"]
    [done] = [one for one in found["disruptions"] if one["name"] == name]
    assert done["at_s"] >= 4.0
    assert done["until_s"] is not None
    assert made["acknowledged"] > 0.9 * made["scheduled"] > 0
    assert made["pss_bytes"] > 50_000_000
    assert sum(value for key, value in found["metrics"].items() if key.startswith("gateway_batches")) > 0
    if name == "worker":
        assert made["disconnected"] > 0
    if name == "part":
        seen = found["bystanders"]
        assert (seen["pairs"], seen["deliveries"] > 0) == (PAIRS, True), found["verdict"]["reasons"]


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
    assert found.compared > 0


def test_a_document_that_is_older_after_a_restore_lost_edits() -> None:
    before = {"load-1": 7, "load-2": 7, "load-3": 7}
    lost = restore.behind(before, {"load-1": 7, "load-2": 6, "load-3": 9})
    assert lost == ["load-2 is at version 6, and was at 7 before the backup"]
    found = restore.Found(compared=3, behind=lost)
    assert not found.ok and replace(found, behind=[]).ok
    assert not restore.Found().ok, "nothing was looked at"


BROKEN = [{"name": "takeover", "at_s": 4.0, "until_s": 4.5}]


@pytest.mark.parametrize(("status", "judged"), [("pass", "fail"), ("fail", "fail"), ("invalid", "invalid")])
def test_bystanders_say_nothing_about_the_server_where_the_run_says_nothing(status: str, judged: str) -> None:
    made = {**report(), "disruptions": BROKEN}
    made["verdict"]["status"] = status
    Bystanders().judge(made, "takeover", 200.0, 9.0)
    assert made["verdict"]["status"] == judged
    assert made["verdict"]["reasons"] == ["target: bystanders' p95 is nothing, 200.0 ms wanted"]


@pytest.mark.parametrize(("spared", "judged"), [(elsewhere, "fail"), (None, "pass")])
def test_where_a_fault_spares_documents_nobody_in_them_is_refused(
    spared: Callable[[str], bool] | None, judged: str
) -> None:
    made = {**report(), "disruptions": BROKEN}
    bystanders = Bystanders(spared)
    bystanders.pairs[0].took_ms.append((0.1, 5.0))
    for pair in bystanders.pairs[1:]:
        pair.lost = True
    bystanders.judge(made, "takeover", 200.0, 9.0)
    told = f"target: {PAIRS - 1} of {PAIRS} bystanders were refused or cut off, none may be"
    assert (made["verdict"]["status"], told in made["verdict"]["reasons"]) == (judged, judged == "fail")


WAITED = (
    f"target: 1 of {PAIRS} bystanders waited for more than 5 s for an answer, or for what the other wrote; "
    "none may"
)


async def test_a_bystander_that_gets_neither_answer_nor_refusal_has_not_stayed() -> None:
    """It counted as one who stays, and the others' times were all there was."""
    made, bystanders = {**report(), "disruptions": BROKEN}, Bystanders()
    [pair, *_] = bystanders.pairs
    for other in bystanders.pairs[1:]:
        other.took_ms.append((0.1, 5.0))
    async with embedded({}, [sys.executable, str(REFERENCE), "--fault", "mute"]) as server:
        bearer = token(server.secret, "bystander", "editor", 1 << 31)
        async with unawaited() as nursery:
            nursery.start_soon(pair.work, GatewayAccess(server.url, bearer))
            await until(lambda: len(pair.took_ms) == 1 and pair.waits_s is not None)
    assert pair.waits_s is not None
    for waited_s, status, pairs in ((1.0, "pass", PAIRS), (SILENCE_S + 1, "fail", PAIRS - 1)):
        bystanders.judge(made, "takeover", 200.0, pair.waits_s + waited_s)
        assert (made["verdict"]["status"], made["bystanders"]["pairs"]) == (status, pairs)
    assert made["verdict"]["reasons"] == [WAITED]


async def after_losses(one_in: int, seen: Callable[[Pair], bool]) -> Bystanders:
    """Bystanders, one of them at a server that loses one change in so many, once `seen` is true of it."""
    bystanders, faults = Bystanders(), ["--fault", "lose-delivery", "--one-in", f"{one_in}"]
    [pair, *others] = bystanders.pairs
    for other in others:
        other.took_ms.append((0.1, 5.0))
    async with embedded({}, [sys.executable, str(REFERENCE), *faults]) as server:
        bearer = token(server.secret, "bystander", "editor", 1 << 31)
        async with unawaited() as nursery:
            nursery.start_soon(pair.work, GatewayAccess(server.url, bearer))
            await until(lambda: seen(pair))
    return bystanders


async def test_bystanders_whose_changes_reach_nobody_have_not_stayed() -> None:
    """Each edit was answered, so they counted as ones who stay."""
    made = {**report(), "disruptions": BROKEN}
    bystanders = await after_losses(1, lambda pair: pair.waits_s is None and waits_later(pair))
    bystanders.judge(made, "takeover", 200.0, trio.current_time() + SILENCE_S + 1)
    assert (made["bystanders"]["pairs"], made["bystanders"]["silenced"]) == (PAIRS - 1, 1)
    assert (made["verdict"]["status"], made["verdict"]["reasons"]) == ("fail", [WAITED])


async def test_who_lost_a_change_and_read_a_later_one_waits_for_none() -> None:
    [pair, *_] = (await after_losses(2, lambda pair: len(pair.took_ms) > 1 and not waits_later(pair))).pairs
    assert not pair.lost


def waits_later(pair: Pair) -> bool:
    """Whether they have waited for too long, unless something comes."""
    return pair.is_silenced(trio.current_time() + SILENCE_S + 1)


def test_a_run_that_was_ended_before_the_fault_is_not_judged_by_bystanders() -> None:
    made = report()
    Bystanders().judge(made, "takeover", 200.0, 9.0)
    assert (made["verdict"]["status"], "bystanders" in made) == ("pass", False)


async def test_a_drill_that_would_come_after_the_end_does_not_begin() -> None:
    short = Wanted(load("drill").scaled(users=0.1, durations=0.1), 75.0, None, 0.0)
    with pytest.RaisesGroup(RunError, flatten_subgroups=True) as raised:
        await drilled(DRILLS["worker"], short)
    assert "worker at 75 s never happens: drill is over after 4.8 s" in str(raised.value.exceptions)


@pytest.mark.parametrize("name", COUNTED)
def test_whatever_the_harness_counts_is_seen(name: str) -> None:
    findings = Findings()
    findings.add(name, "load-1: something", 4711)
    made = report(findings=findings)
    assert restore.faults(made) == [f"the load's own documents: {name}"]
    assert "4711" in shown([summary("worker", made)])


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
