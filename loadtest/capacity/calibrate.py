"""A calibration that varies one thing at a time, so that each cost can be told from the others.

    idle        connections that do nothing but stay: what a connection costs
    edits       edits that nobody else sees: what an edit costs
    deliveries  few edits that many see: what a write to one of them costs
    crowded     more and more edits that five others see: how latency rises with load
    documents   as many edits and deliveries of few documents and of many: what an append and a batch cost
    connects    people who come and go: what a connect costs

Every run ends as a run does, with a verdict; its stages become points as those of a sweep do. Runs that don't
pass are told: what they measured may be the generator's limit. A part of a calibration is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from loadtest.capacity.sweep import RunScenario, held, points_of
from loadtest.environment import environment
from loadtest.options import RunError
from loadtest.scenario import Activity, Population, Scenario, Targets

IDLE = (500, 2000, 5000)
EDITS = (500.0, 1500.0, 3000.0)
VIEWERS = (10, 40, 80, 160)
CROWDED = (400.0, 1200.0, 3000.0)
CROWDED_DOCUMENTS = 100
DOCUMENTS = (10, 1500)  # with the rates of CROWDED but the first
IDLE_HOLDS = 2.0  # so much longer, since there is so little to measure
SESSIONS = (2, 3, 6)  # of a user within the measured stage
NO_LIMIT = {"limits.operations_per_minute": 0}


def runs(scale: float, hold_s: float) -> Iterator[tuple[str, float, Scenario]]:
    """(what varies, its value, the scenario), from the smallest up; `scale` makes all of them smaller."""
    for users in IDLE:
        count = max(round(users * scale), 2)
        yield "idle", count, idle(count, IDLE_HOLDS * hold_s)
    for rate in EDITS:
        users = max(round(200 * scale), 2)
        yield "edits", rate * scale, _scenario("edits", users, users, rate * scale, hold_s)
    for viewers in VIEWERS:
        documents = max(round(10 * scale), 1)
        users = documents * (viewers + 1)
        share = viewers / (viewers + 1)
        made = _scenario("deliveries", users, documents, 10.0 * documents, hold_s, viewer_share=share)
        yield "deliveries", viewers, made
    for rate in CROWDED:
        documents = max(round(CROWDED_DOCUMENTS * scale), 1)
        yield "crowded", rate * scale, _scenario("crowded", 6 * documents, documents, rate * scale, hold_s)
    for number, rate in product(DOCUMENTS, CROWDED[1:]):
        documents = max(round(number * scale), 1)
        made = _scenario("documents", 6 * documents, documents, rate * scale, hold_s)
        yield "documents", documents, made
    for sessions in SESSIONS:
        users, session_s = max(round(750 * scale), 2), hold_s / sessions
        activity = Activity(session_s=session_s, resume=False)
        made = _scenario("connects", users, max(users // 6, 1), 0.0, hold_s, activity=activity)
        yield "connects", users / session_s, made


def idle(users: int, hold_s: float) -> Scenario:
    """So many who do nothing but stay."""
    return _scenario("idle", users, max(users // 6, 1), 0.0, hold_s)


def _scenario(
    name: str,
    users: int,
    documents: int,
    rate: float,
    hold_s: float,
    viewer_share: float = 0.0,
    activity: Activity = Activity(),  # noqa: B008 (frozen)
) -> Scenario:
    stages = held(users, rate, hold_s, activity.session_s)  # over a session: then they come evenly
    people = Population(documents, viewer_share=viewer_share, replicas=0)
    targets = Targets(connect_success_min=None, operations_achieved_min=None)
    return Scenario(name, "calibration", stages, people, activity, targets, server=NO_LIMIT)


async def calibrate(
    scale: float,
    hold_s: float,
    run: RunScenario,
    say: Callable[[str], None],
    compressed_share: float = 0.0,
) -> dict[str, Any]:
    """Run all of it, with such a share of the users on compressed connections.

    The result is read by `plan` and `simulate` as a sweep's is.

    Raises RunError where a run is ended early.
    """
    points: list[dict[str, Any]] = []
    for what, value, scenario in runs(scale, hold_s):
        people = replace(scenario.population, compressed_share=compressed_share)
        report = await run(replace(scenario, population=people))
        if report["ended_early"]:
            raise RunError(f"{report['ended_early']}: there is no calibration")
        points += points_of(report, what, value)
        hold = points[-1]
        say(
            f"{what} {value:,.0f}: {hold['connections']:,.0f} connections, {hold['connects_per_s']:,.0f} "
            f"connects/s, {hold['operations_per_s']:,.0f} edits/s, {hold['deliveries_per_s']:,.0f} "
            f"deliveries/s, {hold['appends_per_s'] or 0:,.0f} appends/s of {hold['batches_per_s'] or 0:,.0f} "
            f"batches/s: {hold['cpu_cores'] or 0:.3f} cores" + _doubt(report["verdict"])
        )
    return {"format": 1, "vary": "one thing at a time", "points": points, "environment": environment()}


def _doubt(verdict: Mapping[str, Any]) -> str:
    return "" if verdict["status"] == "pass" else f"  <- {verdict['status']}: {verdict['reasons'][0]}"
