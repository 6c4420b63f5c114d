"""The table of peers: what a server held, and what is said of it."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.__main__ import base, medians, summary, table


def step(rate: float, done: float, late: float, **changes: Any) -> dict[str, Any]:
    made = {
        "rate": rate,
        "edits_per_s": done,
        "late": late,
        "deliveries_per_s": 5 * done,
        "cpu_us": 90.0,
        "rss_bytes": 1e6,
    }
    return {
        **made,
        "cores": 0.5,
        "generator_cores": 0.2,
        "status": "pass",
        "faults": {},
        "limits": [],
        **changes,
    }


def test_what_was_held_is_the_last_rate_below_each_target():
    steps = [
        step(100, 100, 5),
        step(200, 199, 80),
        step(400, 396, 190),
        step(800, 500, 150),
        step(900, 900, 999),
    ]
    found = summary(steps)
    assert (found["held_50"], found["held_200"], found["deliveries_200"]) == (100, 396, 1980)
    assert (found["cpu_us_100"], found["cpu_us_200"]) == (90.0, 90.0)
    assert "cpu_us_400" not in found


def test_a_server_that_held_nothing_says_so():
    assert summary([step(100, 40, 5)])["held_200"] == 0.0


def test_medians_are_of_each_figure_and_faults_of_all():
    climbs = [[step(100, 100, 5, cpu_us=cpu, faults={"gaps": 1})] for cpu in (80.0, 200.0, 90.0)]
    found = medians(climbs)
    assert (found["cpu_us_100"], found["held_50"], found["faults"]) == (90.0, 100, {"gaps": 3})


def test_faults_of_all_steps_are_told_and_steps_that_say_nothing():
    climbs = [
        [step(100, 100, 5, faults={"gaps": 2}), step(200, 200, 9, faults={"gaps": 1}, status="invalid")]
    ]
    text = table({"room": {**medians(climbs), "memory_bytes": 2048.0, "climbs": climbs}}, [100.0, 200.0])
    assert "3 gaps, 1 of 2 steps invalid" in text
    assert " 2 " in text


def test_the_schedule_is_that_of_headline():
    made = base()
    assert (made.users, made.population.documents, made.activity.mix) == (1200, 200, {"title": 1.0})
