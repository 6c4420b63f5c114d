"""Finding the knee: larger and larger loads until latency, the server or the generator gives out.

A sweep's result is a *calibration*, plain JSON data:

    vary, scenario, p95_ms, points [{...}], knee {value, why, faults}, environment

A point is one stage of one run, as `points_of` makes it. A sweep in which the server showed a fault, or
ended, goes no further; another that was ended early has None for its knee. No points are of a run that was.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any, Literal

from loadtest.capacity.model import CPU_TERMS
from loadtest.compression import compressed_share
from loadtest.environment import environment
from loadtest.scenario import Population, Scenario, Stage
from loadtest.verdict import faults_of

Vary = Literal["operations", "connections", "fanout"]
Point = dict[str, Any]
FIGURES = (*CPU_TERMS, "bytes_per_s", "cpu_cores", "pss_bytes", "p95_ms")
COUNTED = ("appends_per_s", "batches_per_s")  # by the server
UNKNOWN = ("cpu_cores", "pss_bytes", "p95_ms", "socket_bytes", *COUNTED)  # of these some may be None
MEMBERS = ("stage", "settled", *FIGURES)  # of each
MAYBE = {"workers": 1, "compressed_share": 0, "socket_bytes": 0, **dict.fromkeys(COUNTED, 0)}  # at least
RunScenario = Callable[[Scenario], Awaitable[Mapping[str, Any]]]


def points_of(report: Mapping[str, Any], vary: str, value: float) -> list[Point]:
    """The stages of a report as points for `loadtest.capacity.model.fit`; of one worker where it is not said.

    `settled` stages are those whose number of connections stands; the others show what connecting costs.
    """
    points, workers, faults = [], report["server"].get("workers") or 1, faults_of(report)
    compressed = compressed_share(report)
    for stage in report["stages"]:
        server, rates, counts = stage["server"], stage["rates"], stage["counts"]
        span_s = max(stage["duration_s"], 0.5)
        start, end = float(stage["connections_first"]), float(stage["connections_last"])
        kernel, slab = server["kernel_socket_bytes"], server["slab_socket_bytes"]
        settled = abs(end - start) < 0.02 * max(start, end, 1)
        points.append(
            {
                "vary": vary,
                "value": value,
                "stage": stage["name"],
                "settled": settled,
                "status": report["verdict"]["status"],
                "faults": faults,
                "server_died": bool(report.get("server_died")),
                "workers": workers,
                "compressed_share": compressed,
                "connections": end if settled else (start + end) / 2,
                "connects_per_s": counts.get("succeeded", 0) / span_s,
                "operations_per_s": rates["operations_per_s"],
                "deliveries_per_s": rates["deliveries_per_s"],
                "bytes_per_s": rates["received_bytes_per_s"],
                **{name: server.get(name) for name in COUNTED},
                "cpu_cores": server["cpu_cores"],
                "pss_bytes": server["pss_bytes"] if settled else None,
                "socket_bytes": (kernel or 0) + (slab or 0) * end if settled and kernel is not None else None,
                "p95_ms": stage["latency_ms"]["delivery"]["p95"],
            }
        )
    return points


def varied(base: Scenario, vary: Vary, value: float, hold_s: float) -> Scenario:
    """The base scenario with one dimension set: an arrival, a moment to settle, a hold."""
    users, rate = base.users, max(stage.operations_per_s or 0.0 for stage in base.stages)
    people = base.population
    if vary == "operations":
        rate = value
    elif vary == "connections":
        scale = value / users
        users = round(value)
        people = replace(people, documents=max(round(people.documents * scale), 1))
        rate *= scale
    else:
        users, people = _with_fanout(people, users, value)
    rate = rate or base.activity.operations_per_user_s * users
    return replace(base, stages=held(users, rate, hold_s), population=people, disruptions=())


def held(users: int, rate: float, hold_s: float, arrive_s: float = 0.0) -> tuple[Stage, ...]:
    """An arrival, by default as long as so many take, a moment to settle, a hold, which is measured."""
    return (
        Stage("arrive", arrive_s or max(users / 500, 2.0), users, 0.0, measured=False),
        Stage("settle", max(hold_s / 4, 1.0), users, rate, measured=False),
        Stage("hold", hold_s, users, rate),
    )


def _with_fanout(people: Population, users: int, viewers: float) -> tuple[int, Population]:
    """As many documents and editors as before, and so many viewers a document."""
    editors = max(round(users * (1 - people.viewer_share) / people.documents), 1)
    size = editors + round(viewers)
    share = (size - editors) / size
    return size * people.documents, replace(people, viewer_share=share)


def obstacle(report: Mapping[str, Any], p95_ms: float) -> str | None:
    """Why a load is beyond the knee; None when it isn't. Of faults see `faults_of`."""
    status, p95 = report["verdict"]["status"], report["latency_ms"]["delivery"]["p95"]
    if status == "invalid":
        return "the run is invalid: " + "; ".join(report["verdict"]["reasons"][:2])
    if p95 is None or p95 > p95_ms:
        cores = report["stages"][-1]["server"]["cpu_cores"] or 0
        text = f"delivery p95 is {p95 or 0:.0f} ms, {p95_ms:.0f} ms are wanted"
        return f"{text}; the server uses {cores:.2f} cores"
    if status == "fail":
        return "the verdict is fail: " + "; ".join(report["verdict"]["reasons"][:2])
    return None


async def sweep(
    base: Scenario,
    vary: Vary,
    start: float,
    factor: float,
    steps: int,
    repeats: int,
    p95_ms: float,
    hold_s: float,
    run: RunScenario,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Step up from `start` by `factor` until something gives out; each step is run `repeats` times.

    What is judged is `p95_ms`, not the latencies that the base scenario wants. A run that is ended early ends
    the sweep, and so does `stopped`. So does a fault of the server at once, whatever the other repeats show;
    the result has them as `faults` of its knee.
    """
    base = replace(base, targets=replace(base.targets, delivery_p95_ms=p95_ms, delivery_p99_ms=None))
    about = {"format": 1, "vary": vary, "scenario": base.document(), "p95_ms": p95_ms}
    about["environment"] = environment()
    points: list[Point] = []
    knee: dict[str, Any] = {"value": None, "why": "the first step was too much already", "faults": []}
    value = start
    for step in range(steps):
        obstacles: list[str] = []
        for repeat in range(repeats):
            scenario = replace(varied(base, vary, value, hold_s), seed=base.seed + 1000 * step + repeat)
            report = await run(scenario)
            ended = report["ended_early"] or ("somebody ended the sweep" if stopped() else "")
            faults = faults_of(report)
            if ended and not faults:
                say(f"{ended}: there is no knee")
                return {**about, "points": points, "knee": None}
            points += [] if ended else points_of(report, vary, value)
            found = "; ".join(faults) or obstacle(report, p95_ms)
            obstacles += [found] if found else []
            say(_line(vary, value, repeat, report, found))
            if faults:
                return {**about, "points": points, "knee": {**knee, "why": found, "faults": faults}}
        if len(obstacles) * 2 > repeats:
            knee = {**knee, "why": obstacles[0]}
            break
        knee = {**knee, "value": value, "why": "not reached: more steps would be needed"}
        value *= factor
    return {**about, "points": points, "knee": knee}


def _line(vary: str, value: float, repeat: int, report: Mapping[str, Any], found: str | None) -> str:
    rates, delivery = report["rates"], report["latency_ms"]["delivery"]
    hold = report["stages"][-1]
    return (
        f"{vary} {value:,.0f} #{repeat + 1}: {rates['operations_per_s']:,.0f} op/s, "
        f"{rates['deliveries_per_s']:,.0f} deliveries/s, p95 {delivery['p95'] or 0:.1f} ms, "
        f"server {hold['server']['cpu_cores'] or 0:.2f} cores, "
        f"generator {hold['generator']['cpu_cores']:.2f} cores" + (f"  <- {found}" if found else "")
    )


def _check_figures(point: Point) -> None:
    """Raises ValueError where a figure is none."""
    for name in (*FIGURES, *MAYBE):
        value, least = point.get(name), MAYBE.get(name, 0)
        known = isinstance(value, int | float) and least <= value < math.inf
        if not known and (name in point and not (value is None and name in UNKNOWN)):
            raise ValueError(
                f"{name} of the stage {point['stage']!r} is {value!r}: it is a number, {least} or more"
            )
    if not isinstance(point.get("faults", []), list):
        raise ValueError(f"faults of the stage {point['stage']!r} are no list")


def stored_points(stored: Mapping[str, Any]) -> list[Point]:
    """The points of a calibration, or of a run's report; raises ValueError for anything else."""
    try:
        points = list(stored["points"]) if "points" in stored else points_of(stored, "run", 0.0)
        for point in points:
            itemgetter(*MEMBERS)(point)
            _check_figures(point)
    except (KeyError, TypeError, AttributeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else "what it has is of another form"
        raise ValueError(f"neither a calibration nor a run's report: {why}") from None
    return points
