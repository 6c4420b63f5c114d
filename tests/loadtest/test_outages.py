"""Outages in made-up records: what counts as one, when it began, how long it was, when it was over."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from loadtest.evidence import Findings
from loadtest.outages import Outage, find_outages, joined
from loadtest.recorder import INTERVAL_S, Sum
from loadtest.report.page import render
from loadtest.report.terminal import outage_text
from loadtest.scenario import parse
from loadtest.verdict import conclude
from tests.loadtest.reports import interval, report, scenario_data

RATE = 500.0
FANOUT = 5.0
GOOD = (1.0, 1.0, 20.0)
SILENT = (0.0, 0.0, None)
HALF = (0.5, 0.5, 20.0)
LATE = (1.2, 1.2, 900.0)


def points(*steps: tuple[float, float, float | None], rate: float = RATE) -> list[dict[str, Any]]:
    """A point an interval, of (share answered, share delivered, p95 of deliveries in ms)."""
    shares = list(itertools.accumulate(1 - min(answered, 1.0) for answered, _, _ in steps))
    return [
        {
            "measured": True,
            "waiting": 0 if steps[number][0] >= 1 else shares[number] * rate * INTERVAL_S,
            "at_s": (number + 1) * INTERVAL_S,
            "span_s": INTERVAL_S,
            "due_per_s": rate,
            "answered_per_s": answered * rate,
            "deliveries_per_s": delivered * rate * FANOUT,
            "delivery_ms": {"p95": p95},
            "ack_ms": {"max": None if p95 is None else 1.5 * p95},
        }
        for number, (answered, delivered, p95) in enumerate(steps)
    ]


def test_a_good_run_has_none() -> None:
    assert find_outages(points(*[GOOD] * 8), 200) == []
    assert find_outages([], 200) == []


def test_an_outage_lasts_until_edits_are_answered_and_is_over_when_they_are_quick() -> None:
    found = find_outages(points(GOOD, GOOD, HALF, SILENT, SILENT, LATE, LATE, *[GOOD] * 3), 200)
    assert found == [Outage(1.0, 3.5, 1.5, 1.0, 2.5, 1350.0)]


def test_outages_of_shares_that_overlap_are_one_as_bad_as_the_worst() -> None:
    series = points(*[GOOD] * 20)
    first, second = Outage(1.0, 3.0, 1.0, 0.5, 2.0, 700.0), Outage(2.0, 6.0, 2.0, 2.0, 4.0, None)
    later, open_ended = Outage(8.0, 9.0, 1.0, 1.0, 1.0, 50.0), Outage(8.5, None, 1.0, 1.0, 1.5, None)
    assert joined([first], [second, later], series) == [
        Outage(1.0, 6.0, 2.0, 0.5, 5.0, 700.0),
        replace(later, silent_s=0.0),
    ]
    assert joined([], [later, open_ended], series) == [Outage(8.0, None, 1.0, 0.0, 2.0, None)]
    assert [Outage.of(one.document()) for one in (first, open_ended)] == [first, open_ended]
    seen = Outage(5.0, None, 3.0, 0.0, 4.0, 900.0)  # to 9 s, and two good intervals
    assert joined([], [seen, replace(seen, from_s=6.0, until_s=8.0)], series)[0].lasted_s == 4.0
    for one in series[4:10]:  # what isn't measured counts in no duration
        one["measured"] = False
    assert joined([first], [second], series) == [Outage(1.0, 6.0, 2.0, 0.5, 4.0, 700.0)]


def test_without_a_target_for_latencies_it_is_over_when_edits_are_answered() -> None:
    [found] = find_outages(points(GOOD, SILENT, SILENT, LATE, LATE, *[GOOD] * 3), None)
    assert (found.duration_s, found.recovered_s) == (1.0, 1.0)
    assert found.wait_max_ms == 1350.0, "who waited meanwhile was answered right after it"


def test_slowness_alone_is_no_outage() -> None:
    assert find_outages(points(GOOD, LATE, LATE, GOOD, GOOD), 200) == []
    [found] = find_outages(points(GOOD, LATE, SILENT, *[GOOD] * 3), 200)
    assert found.from_s == 1.0


def test_deliveries_that_stop_are_an_outage_although_edits_are_answered() -> None:
    deaf = (1.0, 0.0, None)
    [found] = find_outages(points(GOOD, GOOD, GOOD, deaf, deaf, *[GOOD] * 3), 200)
    assert (found.from_s, found.duration_s, found.silent_s) == (1.5, 1.0, 1.0)


def test_a_moment_in_between_is_not_the_end() -> None:
    [found] = find_outages(points(GOOD, GOOD, SILENT, GOOD, GOOD, SILENT, *[GOOD] * 3), 200)
    assert (found.duration_s, found.silent_s, found.recovered_s) == (2.0, 1.0, 2.0)
    two = find_outages(points(GOOD, GOOD, SILENT, GOOD, GOOD, GOOD, SILENT, *[GOOD] * 3), 200)
    assert [one.from_s for one in two] == [1.0, 3.0]


def test_a_part_of_the_documents_that_is_away_is_an_outage_while_more_and_more_edits_wait() -> None:
    """A quarter isn't answered; it shows by those that wait. They are answered in the end, a second late."""
    made = points(*[(0.75, 0.75, 20.0)] * 6, *[(1.5, 1.0, 150.0)] * 3, *[GOOD] * 5)
    for point, waiting in zip(made, [60, 120, 180, 240, 300, 360, 240, 120, 60, *[0] * 5], strict=True):
        point["waiting"] = waiting
    [found] = find_outages(made, 200)
    assert (found.from_s, found.duration_s, found.silent_s, found.recovered_s) == (1.0, 2.0, 0.0, 2.5)


def test_what_is_not_over_by_the_end_has_no_recovery() -> None:
    [found] = find_outages(points(GOOD, GOOD, GOOD, SILENT, GOOD), 200)
    assert found.recovered_s is None
    assert "not over at the end" in outage_text(found.document())
    assert found.wait_max_ms == 30.0


def test_how_long_users_waited_is_unknown_where_edits_are_never_answered() -> None:
    made = points(GOOD, GOOD, GOOD, HALF, SILENT)
    assert [one.wait_max_ms for one in find_outages(made, 200, unanswered=1)] == [None]
    [over] = find_outages(points(GOOD, SILENT, LATE, *[GOOD] * 4), 200, unanswered=1)
    assert over.wait_max_ms == 1350.0


def test_who_was_due_just_before_it_was_over_and_answered_just_after_it_has_waited() -> None:
    made = points(GOOD, SILENT, *[GOOD] * 5)
    made[2]["ack_ms"]["max"] = 490.0
    made[3]["ack_ms"]["max"] = 495.0  # due when it was over
    assert [one.wait_max_ms for one in find_outages(made, 200)] == [490.0]


def test_who_was_answered_after_the_measured_stages_has_waited_in_the_outage_before() -> None:
    made = points(GOOD, SILENT, *[GOOD] * 5)
    made[-2] |= {"measured": False, "ack_ms": {"max": 2400.0}}
    made[-1] |= {"measured": False}
    assert [one.wait_max_ms for one in find_outages(made, 200)] == [2400.0]


def test_what_is_not_measured_in_between_is_no_part_of_its_duration() -> None:
    made = points(GOOD, SILENT, GOOD, GOOD, GOOD, GOOD, SILENT, LATE, *[GOOD] * 3)
    for point in made[2:5]:
        point["measured"] = False
    [found] = find_outages(made, 200)
    assert (found.from_s, found.until_s, found.duration_s, found.recovered_s) == (0.5, 4.0, 1.5, 2.0)
    assert [found.covers(point["at_s"]) for point in made[6:9]] == [True, True, False]


def test_few_edits_that_happen_to_be_late_are_no_outage() -> None:
    assert find_outages(points(GOOD, (0.6, 0.6, 20.0), GOOD, GOOD, rate=10.0), 200) == []
    assert len(find_outages(points(GOOD, GOOD, SILENT, GOOD, GOOD, rate=20.0), 200)) == 1


# --------------------------------------------------------------------------------------- the verdict


@pytest.mark.parametrize(
    ("until_s", "lasted_s", "status", "said"),
    [
        (4.0, 3.0, "pass", ""),
        (10.0, 9.0, "fail", "was over after 9.0 s"),
        (None, 9.0, "fail", "wasn't over after 9.0 s"),
    ],
)
def test_an_outage_must_be_over_in_time(
    until_s: float | None, lasted_s: float, status: str, said: str
) -> None:
    scenario = parse(scenario_data(targets={"recovery_max_s": 5}))
    outages = [Outage(1.0, until_s, 1.0, 1.0, lasted_s)]
    verdict = conclude(scenario, Sum(), Sum(), Findings(), outages=outages)
    assert verdict.status == status
    assert said in " ".join(verdict.reasons)


def test_an_outage_that_has_just_begun_at_the_end_is_not_late() -> None:
    scenario = parse(scenario_data(targets={"recovery_max_s": 5}))
    outages = [Outage(9.5, None, 0.5, 0.5, 0.5)]
    assert conclude(scenario, Sum(), Sum(), Findings(), outages=outages).status == "pass"


@pytest.mark.parametrize("ended_early", ["", "it was stopped"])
def test_what_is_not_measured_after_an_outage_is_no_part_of_how_long_it_was(ended_early: str) -> None:
    """Nobody is answered in the second before the last stage, which isn't measured and takes longer."""
    stages = [
        {"name": "hold", "duration_s": 5, "connections": 40},
        {"name": "leave", "duration_s": 60 if ended_early else 5, "connections": 0, "measured": False},
    ]
    targets = {"delivery_p95_ms": 100, "recovery_max_s": 2, "operations_achieved_min": 0}
    made = report(intervals=down_for_a_second(8), ended_early=ended_early, stages=stages, targets=targets)
    assert [(one["lasted_s"], one["recovered_s"]) for one in made["outages"]] == [(1.0, None)]
    assert "outage" not in " ".join(made["verdict"]["reasons"])


def test_without_that_target_outages_are_shown_and_not_judged() -> None:
    scenario = parse(scenario_data(targets={}))
    verdict = conclude(scenario, Sum(), Sum(), Findings(), outages=[Outage(1.0, None, 1.0, 1.0, 9.0)])
    assert verdict.status == "pass"


def with_outage(**targets: float) -> dict[str, Any]:
    """The report of a run in which nothing was answered for a second, and all of that in the next one."""
    made = [interval(number) for number in range(20)]
    for one in made[8:10]:
        one["counts"] |= {"acks": 0, "deliveries": 0}
        one["histograms"] = {}
    made[10:12] = [interval(number, 900.0) for number in (10, 11)]
    for one in made[10:12]:
        one["counts"]["acks"] *= 2
    return report(intervals=made, targets={"delivery_p95_ms": 100, **targets})


def test_latencies_are_judged_outside_of_outages_that_are_expected() -> None:
    expected = with_outage(recovery_max_s=5)
    assert expected["verdict"]["status"] == "pass", expected["verdict"]
    assert [one["recovered_s"] for one in expected["outages"]] == [2.0]
    assert expected["latency_ms"]["delivery"]["max"] > 800, "what users felt is shown all the same"
    assert with_outage()["verdict"]["status"] == "fail"


def test_what_an_outage_at_the_end_holds_up_is_of_the_outage() -> None:
    made = [interval(number) for number in range(20)]
    for one in made[17:]:
        one["counts"] |= {"acks": 0, "deliveries": 0}
        one["histograms"] = {}
    late = interval(20, 900.0)["histograms"]
    targets = {"delivery_p95_ms": 25, "operations_achieved_min": 0}
    expected = report(intervals=made, late=late, targets={**targets, "recovery_max_s": 5})
    assert expected["verdict"]["status"] == "pass", expected["verdict"]
    assert [one["wait_max_ms"] for one in expected["outages"]] == [pytest.approx(810, rel=0.01)]
    assert report(intervals=made, late=late, targets=targets)["verdict"]["status"] == "fail"


def down_for_a_second(since: int) -> list[dict[str, Any]]:
    """Intervals of ten seconds in two of which nobody is answered, but in the next one."""
    made = [interval(number) for number in range(20)]
    for one in made[since : since + 2]:
        one["counts"] |= {"acks": 0, "deliveries": 0}
        one["histograms"] = {}
    for one in made[since + 2 : since + 3]:
        one["counts"]["acks"] *= 3
    return made


def test_what_comes_after_the_schedule_was_not_held_up_by_an_outage_that_was_over() -> None:
    late = interval(20, 9000.0, rate=1)["histograms"]
    targets = {"delivery_p95_ms": 100, "recovery_max_s": 5}
    [over] = report(intervals=down_for_a_second(6), late=late, targets=targets)["outages"]
    assert (over["from_s"], over["until_s"]) == (3.0, 4.0)
    assert over["wait_max_ms"] == pytest.approx(18, rel=0.01)


def test_edits_whose_fate_nobody_knows_were_never_answered() -> None:
    """Those of protocols that don't send again after a lost connection."""
    made, late = down_for_a_second(18), interval(20, 900.0)["histograms"]
    assert [one["wait_max_ms"] for one in report(intervals=made, late=late)["outages"]] != [None]
    made[18]["counts"]["unresolved"] = 1
    assert [one["wait_max_ms"] for one in report(intervals=made, late=late)["outages"]] == [None]


def test_the_page_shows_outages() -> None:
    shown = with_outage(recovery_max_s=5)
    page = render(shown)
    assert "<h2>Outages</h2>" in page
    timed = page.count(">seconds</text>")
    assert (timed, page.count('class="shade"')) == (5, 5 * len(shown["outages"])), "in each picture over time"
    assert "<h2>Outages</h2>" not in render(report())


def spell(number: int, kept: int, resumed: int) -> dict[str, Any]:
    """An interval in which some users are without a connection on purpose, or come back with one patch."""
    one = interval(number, rate=100 - kept + min(resumed, 1))
    one["counts"] |= {"scheduled": 100, "kept_offline": kept, "resumed_offline": resumed}
    one["counts"]["merged_offline"] = max(resumed - 1, 0)
    return one


def test_users_without_a_connection_on_purpose_are_no_outage() -> None:
    spells = {8: spell(8, 30, 0), 9: spell(9, 30, 0), 10: spell(10, 30, 0), 11: spell(11, 0, 90)}
    made = report(intervals=[spells.get(number, interval(number)) for number in range(20)])
    assert made["outages"] == []
    assert max(point["waiting"] for point in made["series"]) == 0
    assert made["verdict"]["status"] == "pass"
