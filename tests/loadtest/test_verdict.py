"""The verdict: faults, targets, and the generator that convicts itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtest.evidence import Findings
from loadtest.recorder import Sum
from loadtest.scenario import Targets, parse
from loadtest.verdict import conclude, generator_limits

SCENARIO = parse(
    {
        "name": "x",
        "description": "",
        "stages": [{"name": "all", "duration_s": 1, "connections": 2}],
        "population": {"documents": 1},
        "targets": {"delivery_p95_ms": 100},
    }
)


def good_run() -> Sum:
    total = Sum()
    total.counts.update({"attempted": 100, "succeeded": 100, "scheduled": 1000, "acks": 1000})
    total.histograms["delivery"].record(20_000, 1000)
    total.histograms["lag"].record(500, 1000)
    total.seconds = 5.0
    return total


def status(total: Sum, findings: Findings | None = None, **targets: Any) -> tuple[str, list[str]]:
    scenario = replace(SCENARIO, targets=replace(Targets(delivery_p95_ms=100), **targets))
    verdict = conclude(scenario, total, total, findings or Findings())
    return verdict.status, list(verdict.reasons)


def test_a_good_run_passes() -> None:
    assert status(good_run()) == ("pass", [])


@pytest.mark.parametrize("why", ["deferred", "given_up"])
def test_who_was_put_off_or_cut_by_the_schedule_has_not_failed_to_connect(why: str) -> None:
    total = good_run()
    total.counts.update({"attempted": 50, why: 50})
    assert status(total) == ("pass", [])


def test_a_server_that_puts_everybody_off_lets_nobody_in() -> None:
    total = good_run()
    total.counts.update({"attempted": -50, "succeeded": -100, "deferred": 50})
    assert status(total) == ("fail", ["target: 0.00% of connections succeeded, 99.50% wanted"])


def test_who_is_put_off_to_the_end_was_not_let_in() -> None:
    """No attempt had failed, and edits that never left were no loss: a server that took in half passed."""
    total = good_run()
    total.counts.update({"attempted": 5000, "deferred": 5000})
    series = [{"at_s": SCENARIO.duration_s, "span_s": 0.5, "connections": 50, "put_off": 50}]
    for least, missed in ((0.995, 1), (None, 0), (0.5, 0)):
        scenario = replace(SCENARIO, targets=Targets(connect_success_min=least))
        verdict = conclude(scenario, total, total, Findings(), series=series)
        assert (verdict.status, len(verdict.reasons)) == (("pass", "fail")[missed], missed)


def test_a_run_in_which_nothing_was_measured_says_nothing() -> None:
    total = good_run()
    total.seconds = 0.0
    said = "generator: it measured nothing: no stage of half a second or more is `measured`"
    assert status(total) == ("invalid", [said])
    assert status(Sum(), delivery_p95_ms=None) == ("invalid", [said])


def test_a_target_that_nothing_was_measured_for_is_not_met() -> None:
    said = "target: ack p95 is unknown, 50 ms wanted: no ack was measured"
    assert status(good_run(), ack_p95_ms=50) == ("invalid", [said])
    total = good_run()
    total.counts.update({"acks": -1000})
    assert status(total, ack_p95_ms=50)[0] == "fail", "nobody was answered"


def test_slow_cursors_fail_where_that_is_a_target() -> None:
    total = good_run()
    assert status(total, presence_p95_ms=50)[0] == "invalid", "none moved"
    total.histograms["presence"].record(60_000, 100)
    assert status(total) == ("pass", [])
    code, (said,) = status(total, presence_p95_ms=50)
    assert (code, said.startswith("target: presence p95 is 60."), said.endswith("50 ms wanted")) == (
        "fail",
        True,
        True,
    )


def test_lost_connections_have_to_come_back_where_that_is_wanted() -> None:
    total = good_run()
    total.counts.update({"disconnected": 100, "recovered": 98})
    assert status(total) == ("pass", [])
    wanted = "target: 98.00% of 100 lost connections came back, 99.00% wanted"
    assert status(total, recovered_min=0.99) == ("fail", [wanted])


def test_slow_deliveries_fail() -> None:
    total = good_run()
    total.histograms["delivery"].record(150_000, 100)
    assert status(total) == ("fail", ["target: delivery p95 is 150.0 ms, 100 ms wanted"])


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"succeeded": -1}, "99.00% of connections succeeded"),
        ({"acks": -20}, "98.00% of the scheduled edits were acknowledged"),
        ({"refused": 5}, "0.50% of the edits were refused"),
        ({"stalled": 5}, "0.50% of the edits were refused"),
    ],
)
def test_missed_shares_fail(counts: dict[str, int], said: str) -> None:
    total = good_run()
    total.counts.update(counts)
    verdict, reasons = status(total)
    assert verdict == "fail"
    assert any(said in reason for reason in reasons)


def test_why_connections_failed_is_told_beside_how_many_did() -> None:
    total = good_run()
    total.counts.update({"succeeded": -90, "refused": 50})
    errors = {
        "connect closed 4401 TOKEN_EXPIRED": 90,
        "TOKEN_EXPIRED": 90,
        "RATE_LIMITED": 100,
        "connect closed 4429 RATE_LIMITED": 1,
    }
    verdict = conclude(SCENARIO, total, total, Findings(), errors=errors)
    connections, edits = verdict.reasons[:2]
    assert "10.00% of connections succeeded" in connections
    assert "90 x connect closed 4401 TOKEN_EXPIRED: a clock was set" in connections
    assert "99 x RATE_LIMITED" not in connections
    assert "99 x RATE_LIMITED" in edits and "TOKEN_EXPIRED" not in edits


def test_a_refusal_names_its_code_and_the_way_out() -> None:
    total = good_run()
    total.counts.update({"refused": 50})
    errors = {"RATE_LIMITED": 49, "STRANGE": 1}
    verdict = conclude(SCENARIO, total, total, Findings(), errors=errors)
    [said] = [reason for reason in verdict.reasons if "refused" in reason]
    assert "49 x RATE_LIMITED: raise limits.operations_per_minute" in said
    assert "1 x STRANGE: see the log" in said


def test_edits_that_the_schedule_took_back_are_not_missed() -> None:
    total = good_run()
    total.counts.update({"scheduled": 30, "merged_offline": 10, "unsent": 15, "nothing_to_undo": 5})
    assert status(total) == ("pass", [])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda total: total.histograms["lag"].record(80_000, 50), "edits left 80 ms late"),
        (lambda total: total.histograms["loop"].record(90_000, 50), "its loop ran 90 ms late"),
        (lambda total: total.counts.update({"missed": 11}), "11 of 1000 edits left more than 50 ms late"),
        (lambda total: total.counts.update({"local_errors": 1}), "descriptors or ports"),
    ],
)
def test_a_generator_that_was_the_limit_makes_the_run_invalid(
    spoil: Callable[[Sum], None], said: str
) -> None:
    total = good_run()
    spoil(total)
    verdict, reasons = status(total)
    assert verdict == "invalid"
    assert any(said in reason for reason in reasons)


def few_edits(late: int, delivery_us: int = 20_000) -> Sum:
    """Twenty edits, of which so many left 80 ms late, and a delivery of each; one took so long."""
    total = Sum()
    total.counts.update({"attempted": 2, "succeeded": 2, "scheduled": 20, "acks": 20, "missed": late})
    total.histograms["lag"].record(500, 20 - late)
    total.histograms["lag"].record(80_000, late)
    total.histograms["delivery"].record(20_000, 39)
    total.histograms["delivery"].record(delivery_us)
    total.seconds = 5.0
    return total


def test_one_late_edit_of_few_is_a_note_and_no_reason() -> None:
    total, said = few_edits(1), "generator: edits left 80 ms late once in 20: so few don't tell their p99"
    verdict = conclude(SCENARIO, total, total, Findings())
    assert (verdict.status, verdict.reasons, verdict.notes) == ("pass", [], [said])
    assert status(few_edits(2))[0] == "invalid"


def test_one_edit_that_left_late_of_less_than_a_hundred_is_a_note_and_a_reason_where_a_target_is_missed() -> (
    None
):
    total = few_edits(1)
    total.histograms["lag"].record(500, 40)
    total.counts.update({"scheduled": 40, "acks": 40})
    said = "generator: 1 of 60 edits left more than 50 ms late: of so few, one doesn't tell"
    verdict = conclude(SCENARIO, total, total, Findings())
    assert (verdict.status, verdict.reasons, verdict.notes) == ("pass", [], [said])
    total.histograms["delivery"].record(900_000, 40)
    verdict = conclude(SCENARIO, total, total, Findings())
    assert (verdict.status, verdict.reasons[0], verdict.notes) == ("invalid", said, [])
    strict = replace(SCENARIO, generator=replace(SCENARIO.generator, missed_max=0))
    assert any("1 of 60 edits" in limit for limit in generator_limits(strict, total, total))


def test_what_was_missed_may_be_for_the_one_late_edit_of_few() -> None:
    total = few_edits(1)
    total.histograms["delivery"].record(150_000, 4)
    verdict = conclude(SCENARIO, total, total, Findings())
    assert (verdict.status, verdict.notes) == ("invalid", [])
    assert verdict.reasons[0].startswith("generator: edits left 80 ms late once in 20")
    total.histograms["lag"].record(500, 500)
    total.counts.update({"scheduled": 500, "acks": 500})
    assert status(total)[0] == "fail"


def test_one_delivery_of_few_does_not_tell_a_percentile() -> None:
    said = (
        "target: delivery p99 is unknown, 200 ms wanted: one of 40 took 300.0 ms, and one alone doesn't tell"
    )
    total = few_edits(0, delivery_us=300_000)
    assert status(total, delivery_p99_ms=200) == ("invalid", [said])
    total.histograms["delivery"].record(300_000)
    assert status(total, delivery_p99_ms=200)[0] == "fail"


def test_a_generator_that_was_lost_makes_the_run_invalid_by_its_name() -> None:
    total, lost = good_run(), "agent 10.0.0.7:7719 was lost"
    verdict = conclude(SCENARIO, total, total, Findings(), lacking=[lost])
    assert (verdict.status, list(verdict.reasons)) == ("invalid", [f"generator: {lost}"])


def test_slow_deliveries_of_a_starved_generator_prove_nothing() -> None:
    total = good_run()
    total.histograms["lag"].record(80_000, 50)
    total.histograms["delivery"].record(500_000, 500)
    assert status(total)[0] == "invalid"


def test_a_fault_of_the_server_is_a_fault_whoever_was_starved() -> None:
    total = good_run()
    total.histograms["lag"].record(80_000, 50)
    findings = Findings()
    findings.add("gaps", "doc: ann expected version 2 and got 3")
    verdict, reasons = status(total, findings)
    assert verdict == "fail"
    assert reasons[0] == "1 x gaps: versions were skipped"


def test_a_server_that_died_fails() -> None:
    total = good_run()
    verdict = conclude(SCENARIO, total, total, Findings(), server_died="the server ended by itself")
    assert verdict.status == "fail"
