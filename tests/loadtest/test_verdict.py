"""The verdict: every kind of fault by its name, targets, and the generator that convicts itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtest.recorder import Sum
from loadtest.replica import digest
from loadtest.scenario import Targets, parse
from loadtest.verdict import (
    Acknowledged,
    Copy,
    Evidence,
    Findings,
    Reader,
    conclude,
    judge_document,
)

SCENARIO = parse(
    {
        "name": "x",
        "description": "",
        "stages": [{"name": "all", "duration_s": 1, "connections": 2}],
        "population": {"documents": 1},
        "targets": {"delivery_p95_ms": 100},
    }
)


def change(version: int, client: str, seq: int | None, operation: dict[str, Any]) -> dict[str, Any]:
    return {"version": version, "operations": [operation], "client_id": client, "seq": seq}


def title(value: str) -> dict[str, Any]:
    return {"op": "replace", "path": "/title", "value": value}


def evidence() -> Evidence:
    """Two users, three changes, everything right."""
    history = [
        change(1, "setup", None, {"op": "add", "path": "", "value": {"title": "a"}}),
        change(2, "ann", 1, title("b")),
        change(3, "bob", 1, title("c")),
    ]
    return Evidence(
        resource_id="doc",
        state={"title": "c"},
        version=3,
        history=history,
        history_after=0,
        acknowledged=[Acknowledged(2, "ann", 1), Acknowledged(3, "bob", 1)],
        readers=[Reader("ann", 3), Reader("bob", 3)],
        copies=[Copy("ann", 3, {"title": "c"}, None, [0, 0, digest([title("c")])])],
    )


def test_nothing_wrong_is_nothing_found() -> None:
    found = judge_document(evidence())
    assert not found.counts
    assert not found.reasons


def lose_from_history(case: Evidence) -> None:
    case.history = case.history[:2]
    case.version, case.state = 2, {"title": "b"}
    case.readers, case.copies = [], []


def hole_in_history(case: Evidence) -> None:
    case.history = [case.history[0], case.history[2]]


def version_of_another(case: Evidence) -> None:
    case.acknowledged = [Acknowledged(2, "bob", 1), Acknowledged(3, "bob", 2)]


def committed_twice(case: Evidence) -> None:
    case.history = [*case.history, change(4, "ann", 1, title("b"))]
    case.version, case.state, case.readers, case.copies = 4, {"title": "b"}, [], []


def version_twice(case: Evidence) -> None:
    case.history = [*case.history, case.history[2]]


def reader_left_behind(case: Evidence) -> None:
    case.readers = [Reader("ann", 2)]


def replica_differs(case: Evidence) -> None:
    case.copies = [Copy("ann", 3, {"title": "z"}, None)]


def state_is_not_the_history(case: Evidence) -> None:
    case.state = {"title": "z"}
    case.copies = []


def hidden_wrong_change(case: Evidence) -> None:
    case.copies = [Copy("ann", 3, {"title": "c"}, None, [0, digest([title("wrong")]), 0])]


def hidden_wrong_change_to_a_plain_client(case: Evidence) -> None:
    case.copies = [Copy("ann", 3, {"title": "c"}, None, [0, digest([title("wrong")]), 0], plain=True)]


def cannot_be_applied(case: Evidence) -> None:
    case.copies = [Copy("ann", 2, {"title": "b"}, "version 3: nothing at 'titel'")]


@pytest.mark.parametrize(
    ("break_it", "name", "times"),
    [
        (lose_from_history, "lost_acknowledged", 1),
        (hole_in_history, "lost_acknowledged", 1),
        (hole_in_history, "gaps", 1),
        (version_of_another, "lost_acknowledged", 2),
        (committed_twice, "duplicates", 1),
        (version_twice, "duplicates", 2),
        (reader_left_behind, "gaps", 1),
        (replica_differs, "diverged", 1),
        (state_is_not_the_history, "diverged", 1),
        (hidden_wrong_change, "diverged", 1),
        (hidden_wrong_change_to_a_plain_client, "diverged", 1),
        (cannot_be_applied, "diverged", 1),
    ],
)
def test_each_fault_is_named(break_it: Callable[[Evidence], None], name: str, times: int) -> None:
    case = evidence()
    break_it(case)
    found = judge_document(case)
    assert found.counts[name] == times
    assert any(reason.startswith(f"{name}: doc") for reason in found.reasons)


@pytest.mark.parametrize(
    "operations",
    [[{"op": "inc", "path": "/n", "value": 0}, title("c")], [], [title("c")] * 17],
)
def test_what_a_plain_client_is_told_in_other_words_is_no_wrong_change(operations: list[Any]) -> None:
    case = evidence()
    case.history = [
        change(1, "setup", None, {"op": "add", "path": "", "value": {"title": "c", "n": 0}}),
        change(2, "ann", 1, title("c")),
        {**change(3, "bob", 1, title("c")), "operations": operations},
    ]
    case.state = {"title": "c", "n": 0}
    told = [0, digest([title("c")]), digest([{"op": "noop"}])]
    case.copies = [Copy("ann", 3, case.state, None, told, plain=True)]
    assert not judge_document(case).counts
    case.copies = [Copy("ann", 3, case.state, None, told)]
    assert judge_document(case).counts == {"diverged": 1}


def test_a_replica_that_left_early_is_brought_to_the_end_by_the_history() -> None:
    case = evidence()
    case.copies = [Copy("ann", 1, {"title": "a"}, None)]
    assert not judge_document(case).counts
    case.copies = [Copy("ann", 1, {"title": "a", "more": 1}, None)]
    assert judge_document(case).counts == {"diverged": 1}


def test_a_replica_given_up_after_a_gap_is_noted_not_accused_again() -> None:
    case = evidence()
    case.copies = [Copy("ann", 3, {"title": "?"}, "version 3 came after 1")]
    found = judge_document(case)
    assert not found.counts
    assert "given up" in found.notes[0]


def test_without_the_whole_history_only_the_known_part_is_compared() -> None:
    case = evidence()
    case.history_after, case.history = 2, case.history[1:]
    assert not judge_document(case).counts
    case.acknowledged = [Acknowledged(2, "bob", 1)]
    assert judge_document(case).counts == {"lost_acknowledged": 1}


def test_what_was_acknowledged_and_could_not_be_read_is_unverified() -> None:
    case = evidence()
    case.history_after, case.history = 2, case.history[2:]
    found = judge_document(case)
    assert found.counts == {"unverified": 1}
    assert "--admin-url" in found.reasons[0]


def test_judging_changes_no_evidence() -> None:
    case = evidence()
    before = copy.deepcopy((case.history, case.state, case.copies[0].document))
    judge_document(case)
    assert (case.history, case.state, case.copies[0].document) == before


# ---------------------------------------------------------------------------------------- conclusions


def good_run() -> Sum:
    total = Sum()
    total.counts.update({"attempted": 100, "succeeded": 100, "scheduled": 1000, "acks": 1000})
    total.histograms["delivery"].record(20_000, 1000)
    total.histograms["lag"].record(500, 1000)
    total.intervals = 10
    return total


def status(total: Sum, findings: Findings | None = None, **targets: Any) -> tuple[str, list[str]]:
    scenario = replace(SCENARIO, targets=replace(Targets(delivery_p95_ms=100), **targets))
    verdict = conclude(scenario, total, total, findings or Findings())
    return verdict.status, list(verdict.reasons)


def test_a_good_run_passes() -> None:
    assert status(good_run()) == ("pass", [])


def test_who_was_put_off_has_not_failed_to_connect() -> None:
    total = good_run()
    total.counts.update({"attempted": 50, "deferred": 50})
    assert status(total) == ("pass", [])


def test_a_server_that_puts_everybody_off_lets_nobody_in() -> None:
    total = good_run()
    total.counts.update({"attempted": -50, "succeeded": -100, "deferred": 50})
    assert status(total) == ("fail", ["target: 0.00% of connections succeeded, 99.50% wanted"])


def test_a_run_in_which_nothing_was_measured_says_nothing() -> None:
    total = good_run()
    total.intervals = 0
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


def test_findings_survive_json_and_add_up() -> None:
    findings = Findings()
    findings.add("gaps", "one", 3)
    again = Findings.of(findings.document())
    again.merge(findings)
    assert again.counts == {"gaps": 6}
    assert again.reasons == ["gaps: one", "gaps: one"]
