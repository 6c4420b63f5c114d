"""Predictions beside what came: said before the run, and a miss has its reason."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks.predictions import (
    CASES,
    Case,
    Reason,
    Tempo,
    known_of,
    predicted,
    reasons,
    rows,
    shown,
    table,
)
from loadtest.capacity.fits import Estimate
from loadtest.schedule import Schedule
from tests.loadtest.calibrations import calibration, exact, point
from tests.loadtest.reports import report

CASE = {case.name: case for case in CASES}


def test_at_least_eight_different_runs_are_predicted() -> None:
    assert len(CASES) >= 8
    assert {case.event for case in CASES} == {"", "kill", "roll"}
    assert len({(*case.load().values(), case.workers) for case in CASES if not case.event}) >= 7


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_runs_schedule_is_the_load_that_was_predicted(case: Case) -> None:
    scenario = case.scenario()
    cast = Schedule(scenario).cast
    assert len(cast.document) == case.users
    if case.operations_per_s:
        assert (~cast.viewer).sum() >= case.documents, "each document has somebody who edits"
    one_editor = case.users / case.documents > 20
    assert cast.viewer.sum() == (case.users - case.documents if one_editor else 0)


def test_two_workers_need_what_each_needs() -> None:
    case = CASE["two-workers"]
    made, truth = predicted(case, exact()), point(600, 600, 5)
    assert made["CPU, cores"].value == pytest.approx(2 * truth["cpu_cores"], rel=0.02)
    assert made["memory, MiB"].value == pytest.approx(2 * truth["pss_bytes"] / (1 << 20), rel=0.02)
    assert made["p95, ms"].value == pytest.approx(truth["p95_ms"], rel=0.05)
    assert made["received, kB/s"].value == pytest.approx(2 * truth["bytes_per_s"] / 1000, rel=0.01)


def test_who_lost_a_worker_is_back_within_a_second() -> None:
    made = predicted(CASE["a-killed-worker"], exact())
    longest = made["longest wait, ms"]
    assert 850 < longest.low < longest.value < longest.high < 1010
    assert 250 < made["came back, users"].value < 350, "about half of them, and exactly so many"
    assert made["came back, users"].low == made["came back, users"].high


def test_a_rolling_restart_gives_everyone_a_turn() -> None:
    made = predicted(CASE["rolling-restart"], exact())
    assert made["came back, users"].value == 300
    assert made["longest wait, ms"].value == pytest.approx(100 + 150 / 500 * 1000, rel=0.05)


def test_a_figure_is_within_bounds_or_has_its_reason() -> None:
    expected = {"CPU, cores": Estimate(1.0, 0.8, 1.2), "p95, ms": Estimate(10.0, 9.0, 11.0)}
    why = [Reason("the reason", ("CPU", "p95"))]
    near = rows(expected, {"CPU, cores": 1.1, "p95, ms": 12.0}, why)
    assert [(one["within"], one["why"]) for one in near] == [(True, []), (True, [])]
    far = rows(expected, {"CPU, cores": 1.19, "p95, ms": 20.0}, why)
    assert [one["within"] for one in far] == [False, False]
    assert [one["why"] for one in far] == [["within the interval", "the reason"], ["the reason"]]
    assert "| 10 (9 to 11) | 20 | -50% **missed** | the reason |" in table(
        [{"case": "x", "cpu_as_it_ran": 1.4, "rows": far}]
    )
    json.dumps(rows(predicted(CASE["mixture"], exact()), Counter({"p95, ms": 1}), []), default=_no_default)


def test_a_reason_stands_only_beside_what_it_can_have_made() -> None:
    expected = {name: Estimate(10.0, 9.0, 11.0) for name in ("CPU, cores", "memory, MiB", "p95, ms")}
    why = [Reason("others used 0.5 cores", ("CPU", "p95"), only_more=True)]
    more = rows(expected, {"CPU, cores": 20.0, "memory, MiB": 20.0, "p95, ms": 20.0}, why)
    assert [one["why"] for one in more] == [[why[0].text], [], [why[0].text]]
    less = rows(expected, {"CPU, cores": 5.0, "memory, MiB": 5.0, "p95, ms": None}, why)
    assert [one["why"] for one in less] == [[], [], [why[0].text]], "others can't have made it less"


def _no_default(value: object) -> None:
    raise AssertionError(f"{value!r} is no plain data")


def test_who_sees_nothing_waits_for_nothing() -> None:
    assert "p95, ms" not in predicted(CASE["4x-edits"], exact())


def test_what_goes_beyond_the_calibration_is_a_reason() -> None:
    found = [one.text for one in reasons(Case("far", 60_000, 10_000, 36_000), exact(), report(others=0.5))]
    assert "others used 0.5 cores" in found
    assert "20x the calibrated connections" in found
    assert "10000 documents where 4 to 600 were calibrated" in found
    assert "4x the calibrated operations_per_s" in found


def test_as_many_documents_as_calibrated_are_no_reason() -> None:
    found = reasons(Case("near", 240, 50, 100), exact(), report())
    assert not any("documents" in one.text for one in found)


def test_a_stretch_on_a_slower_machine_counts_as_much_less() -> None:
    points = [point(600, 600, 5), point(600, 600, 5), {**point(600, 600, 5), "cpu_cores": None}]
    usual, slower, unknown = Tempo(0.05, 0.5).paced(points, [0.05, 0.0605, 0.05])
    assert usual == points[0]
    assert slower == {**points[1], "cpu_cores": pytest.approx(points[1]["cpu_cores"] / 1.1)}
    assert unknown["cpu_cores"] is None


def test_how_much_of_the_controls_changes_a_server_shows_is_found() -> None:
    """A machine whose tempo changes from stage to stage; the server shows it as the power 0.6 of it."""
    controls = [0.05 * (1 + 0.4 * (number % 5)) for number in range(len(calibration()))]
    slowed = [
        {**one, "cpu_cores": one["cpu_cores"] * (cores / 0.05) ** 0.6}
        for one, cores in zip(calibration(), controls, strict=True)
    ]
    model, tempo = known_of({"points": slowed, "control_cores": controls})
    assert (tempo.control_cores, tempo.share) == pytest.approx((0.05 * 1.8, 0.6))
    truth = point(2000, 2000, 4)
    assert model.cpu_used(truth).value == pytest.approx(truth["cpu_cores"] * 1.8**0.6, rel=0.02)


def test_figures_are_medians_of_a_runs_stretches_and_memory_is_the_last() -> None:
    points = [
        {**point(600, 600, 5), "cpu_cores": cores, "pss_bytes": cores * (1 << 30)} for cores in (1, 9, 2)
    ]
    found = shown(CASE["mixture"], report(), points)
    assert (found["CPU, cores"], found["memory, MiB"]) == (2, 2048)
    assert found["received, kB/s"] == points[0]["bytes_per_s"] / 1000
    nothing = shown(CASE["4x-idle"], report(), [{**point(8000, 0, 0), "p95_ms": None}])
    assert nothing["p95, ms"] is None


def test_what_was_used_as_it_ran_stands_beside_what_is_compared() -> None:
    made = rows({"CPU, cores": Estimate(1.0, 0.9, 1.1)}, {"CPU, cores": 1.0}, [])
    assert "| 1 (1.4 as it ran) |" in table([{"case": "x", "cpu_as_it_ran": 1.4, "rows": made}])
