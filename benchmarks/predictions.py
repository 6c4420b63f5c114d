"""Is it true? What calibrations predict of other runs, said before each run, beside what it showed.

    python -m benchmarks.predictions                        calibrates where it wasn't done, then the runs
    python -m benchmarks.predictions --calibrate embedded   the one calibration alone; `cluster` is the other
    python -m benchmarks.predictions --only 4x-edits        with the calibrations of before

A calibration is twice 20 runs (`cluster`: 21), eleven minutes; the runs take six. Calibrations stay in
out/benchmarks/.

Each run differs from all that was calibrated: four times as many edits, deliveries, idle connections, twice
as many connects; mixtures; Redis in place of SQLite; two workers, one of them killed, or both replaced. A
figure should be within 15 % of what was predicted, a p95 within 25 %; what isn't has beside it what may be
its reason, as far as a run tells.

A figure is the median of STRETCHES stretches of a run, memory that of the last one. CPU, of calibrations and
runs alike, is at the tempo that the machine mostly had when it was calibrated (see `benchmarks.tempo`): where
the control took more, it counts less. What was used as it ran stands beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import trio

from benchmarks import measure
from benchmarks.faults.cluster import Shape, running
from benchmarks.faults.drills import kill_worker, roll_workers
from benchmarks.tempo import control
from gateway.sessions.accepting import UNMEASURED_PER_S
from gateway.transport.siblings import Place
from loadtest.capacity.calibrate import DOCUMENTS, IDLE, IDLE_HOLDS, NO_LIMIT, calibrate, idle
from loadtest.capacity.fits import Estimate
from loadtest.capacity.model import CPU_TERMS, CostModel, fit, misfit
from loadtest.capacity.sweep import Point, points_of
from loadtest.connections import RETRY_MS
from loadtest.coordinator import run
from loadtest.options import Action, Options
from loadtest.scenario import Activity, Population, Scenario, Stage, Targets
from loadtest.schedule import SLICE_S, Schedule
from loadtest.simulate.cluster import Costs
from loadtest.simulate.study import costs_of, interval

SCALE, CALIBRATE_HOLD_S, PASSES = 0.4, 8.0, 2
SETTLE_S, STRETCHES, STRETCH_S = 2.0, 3, 3.0
EVENT_AT_S, EVENT_HOLD_S = 5.0, 12.0
FEWEST, MOST = round(min(DOCUMENTS) * SCALE), round(max(DOCUMENTS) * SCALE)  # documents that are calibrated
WITHIN, WITHIN_P95 = 0.15, 0.25
SEEDS = 199
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
OTHERS_CORES = 0.25
# Figures by the beginnings of their names: those of users who wait, and those that the load makes.
TIMES = ("p95", "longest wait")
BY_LOAD = ("CPU", "received", *TIMES)
GOAWAY_LEAST_MS = 100.0
KILLED = 0  # the number of the worker
AWAY_SLICES = round(
    RETRY_MS[1] / 1000 / SLICE_S
)  # of the schedule, in which users of a killed worker are away
MEBI = 1 << 20
ONE_WORKER = Shape(workers=1, archive=False)
TWO_WORKERS = Shape(workers=2, archive=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One run. `shape` None: an embedded server (SQLite), otherwise workers on Redis; `event` happens at
    EVENT_AT_S of the run."""

    name: str
    users: int
    documents: int
    operations_per_s: float = 0.0
    session_s: float = 0.0
    shape: Shape | None = None
    event: str = ""

    @property
    def workers(self) -> int:
        return 1 if self.shape is None else self.shape.workers

    @property
    def idle(self) -> bool:
        return not (self.operations_per_s or self.session_s)

    def scenario(self) -> Scenario:
        """Users who arrive (over a session, so that those who come and go do so evenly), a moment, what is
        measured. As in a calibration, it is longer where there is little to measure."""
        users, rate = self.users, self.operations_per_s
        arrive_s = self.session_s or max(users / 1500, 1.5)
        longer = IDLE_HOLDS if self.idle else 1.0
        stretches = [Stage(f"hold {n + 1}", STRETCH_S * longer, users, rate) for n in range(STRETCHES)]
        stages = (
            Stage("arrive", arrive_s, users, 0.0, measured=False),
            Stage("settle", SETTLE_S * longer, users, rate, measured=False),
            *([Stage("hold", EVENT_HOLD_S, users, rate)] if self.event else stretches),
        )
        one_editor = self.users / self.documents > 20
        viewers = 1 - self.documents / self.users if one_editor else 0.0
        people = Population(self.documents, viewer_share=viewers, replicas=0)
        activity = Activity(session_s=self.session_s, resume=False)
        targets = Targets(connect_success_min=None, operations_achieved_min=None, recovery_max_s=60.0)
        return Scenario(self.name, "predicted", stages, people, activity, targets, server=NO_LIMIT)

    def load(self) -> dict[str, float]:
        """What each worker bears, as the model's terms."""
        others = self.users / self.documents - 1
        connects = self.users / self.session_s if self.session_s else 0.0
        values = (self.users, connects, self.operations_per_s, self.operations_per_s * others)
        return {term: value / self.workers for term, value in zip(CPU_TERMS, values, strict=True)}


CASES = (
    Case("mixture", 600, 100, 600),
    Case("4x-edits", 80, 80, 4800),
    Case("4x-deliveries", 644, 4, 160),
    Case("4x-idle", 8000, 1300),
    Case("2x-connects", 1200, 200, session_s=2.5),
    Case("3000-users", 3000, 600, 300),
    Case("pairs", 400, 200, 800),
    Case("meetings", 410, 10, 100),
    Case("a-quiet-hour", 600, 100, 60),
    Case("come-and-edit", 600, 100, 300, session_s=10.0),
    Case("redis", 600, 100, 600, shape=ONE_WORKER),
    Case("redis-3000-users", 3000, 600, 300, shape=ONE_WORKER),
    Case("redis-meetings", 410, 10, 100, shape=ONE_WORKER),
    Case("two-workers", 1200, 200, 1200, shape=TWO_WORKERS),
    Case("a-killed-worker", 600, 100, 600, shape=TWO_WORKERS, event="kill"),
    Case("rolling-restart", 300, 50, 300, shape=TWO_WORKERS, event="roll"),
)
EVENTS = {"kill": kill_worker, "roll": roll_workers}


# --------------------------------------------------------------------------------------- predictions


def predicted(case: Case, model: CostModel) -> dict[str, Estimate]:
    """What the run will show, by figure."""
    load, workers = case.load(), case.workers
    found: dict[str, Estimate] = {}
    if case.event:
        found["longest wait, ms"] = _longest_wait(case, model)
        found["came back, users"] = _came_back(case)
        return found
    found["CPU, cores"] = model.cpu_used(load).scaled(workers)
    memory = model.memory_bytes(case.users, case.operations_per_s, workers)
    found["memory, MiB"] = memory.scaled(1 / MEBI)
    if case.operations_per_s:
        found["received, kB/s"] = _exactly(workers * model.bytes_per_s(load) / 1000)
        p95_ms = model.p95_ms(load)
        if p95_ms is not None and load["deliveries_per_s"]:
            found["p95, ms"] = p95_ms
    return found


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def _longest_wait(case: Case, model: CostModel) -> Estimate:
    """Of a killed worker's users, who come back at random; or of those who are given a turn each."""
    costs = costs_of(model, 0)
    if case.event == "roll":
        each = case.users / case.workers
        last_ms = GOAWAY_LEAST_MS + 1000 * each / UNMEASURED_PER_S
        return _exactly(last_ms + 1000 * (costs.connect + costs.operation))
    low, middle, high = interval([_wait_ms(case, costs, seed) for seed in range(SEEDS)])
    return Estimate(middle, low, high)


def _wait_ms(case: Case, costs: Costs, seed: int) -> float:
    """The longest: each edit that is due meanwhile waits until its user is back."""
    rng, lost = np.random.default_rng(seed), _at_home(case)
    back_s = dict(zip(lost, rng.uniform(*RETRY_MS, len(lost)) / 1000, strict=True))
    schedule, first = Schedule(case.scenario()), round(EVENT_AT_S / SLICE_S)
    due = [one for number in range(first, first + AWAY_SLICES) for one in schedule.operations(number)]
    waits = [EVENT_AT_S + back_s[one.user] - one.at_s for one in due if one.user in back_s]
    return 1000 * float(max(waits) + costs.connect + costs.operation)


def _at_home(case: Case) -> list[int]:
    """The users of the worker that is killed: their documents are at home there."""
    place = Place(KILLED, case.workers, "")
    return [
        user
        for user, document in enumerate(Schedule(case.scenario()).cast.document)
        if place.home(f"event:load-{case.name}-{document}") == KILLED
    ]


def _came_back(case: Case) -> Estimate:
    """All of a roll, or those whom the killed worker had."""
    return _exactly(case.users if case.event == "roll" else len(_at_home(case)))


def shown(case: Case, report: Mapping[str, Any], points: Sequence[Point]) -> dict[str, float | None]:
    """The same figures, as the run had them; `points` are its stretches."""

    def median(name: str) -> float | None:
        known = [point[name] for point in points if point[name] is not None]
        return statistics.median(known) if known else None

    bytes_per_s, pss = median("bytes_per_s"), points[-1]["pss_bytes"]
    return {
        "CPU, cores": median("cpu_cores"),
        "memory, MiB": pss / MEBI if pss else None,
        "received, kB/s": bytes_per_s and bytes_per_s / 1000,
        "p95, ms": median("p95_ms"),
        "longest wait, ms": report["stages"][-1]["latency_ms"]["ack"]["max"],
        "came back, users": report["counts"].get("succeeded", 0) - case.users,
    }


class Reason(NamedTuple):
    """What may make a figure other than predicted: one whose name begins so, and maybe only larger."""

    text: str
    figures: tuple[str, ...]
    only_more: bool = False

    def may_explain(self, figure: str, off: float | None) -> bool:
        """`off`: the prediction, by what share it was more than the figure; None: nothing was measured."""
        return figure.startswith(self.figures) and not (self.only_more and off is not None and off > 0)


def reasons(case: Case, model: CostModel, report: Mapping[str, Any]) -> list[Reason]:
    """Why a prediction may have missed, as far as a run tells."""
    found = [
        Reason(text, TIMES, only_more=True)
        for text in report["verdict"]["reasons"]
        if text.startswith("generator")
    ][:1]
    others = report["generator"]["others_cores"]
    if others is not None and others > OTHERS_CORES:
        found.append(Reason(f"others used {others:.1f} cores", ("CPU", *TIMES), only_more=True))
    if case.workers > 1:
        found.append(Reason("edits and deliveries were calibrated with one worker", BY_LOAD))
    if case.session_s and case.operations_per_s:
        text = "who came was sent documents that nobody had edited, when it was calibrated"
        found.append(Reason(text, BY_LOAD, only_more=True))
    documents = case.documents / case.workers
    if case.operations_per_s and not FEWEST <= documents <= MOST:
        text = f"{documents:.0f} documents where {FEWEST} to {MOST} were calibrated"
        found.append(Reason(text, BY_LOAD))
    for term, value in case.load().items():
        if value > 1.05 * model.measured[term]:
            text = f"{value / max(model.measured[term], 1e-9):.0f}x the calibrated {term}"
            found.append(Reason(text, (*BY_LOAD, "memory")))
    return found


def rows(
    expected: Mapping[str, Estimate], measured: Mapping[str, float | None], why: Sequence[Reason]
) -> list[dict[str, Any]]:
    """Each figure, what was predicted of it, what it was, by how much that is off, and why."""
    made = []
    for name, (value, low, high) in expected.items():
        got = measured[name]
        off = None if not got else value / got - 1
        allowed = WITHIN_P95 if name.startswith("p95") else WITHIN
        within = off is not None and bool(abs(off) <= allowed)
        chance = ["within the interval"] if got is not None and low <= got <= high else []
        told = [one.text for one in why if one.may_explain(name, off)]
        made.append(
            {
                "figure": name,
                "predicted": float(value),
                "low": float(low),
                "high": float(high),
                "measured": None if got is None else float(got),
                "off": None if off is None else float(off),
                "within": within,
                "why": [] if within else [*chance, *told],
            }
        )
    return made


# ---------------------------------------------------------------------------------------------- runs


@asynccontextmanager
async def served(case: Case, scenario: Scenario) -> AsyncIterator[Options]:
    """What to run, against servers that run for it."""
    if case.shape is None:
        yield Options(scenario)
        return
    async with running(case.shape, scenario.server) as cluster:
        options = Options(scenario, cluster.url, cluster.secret, cluster.admin_url, pids=cluster.pids)
        options.run_name = case.name  # part of a document's name, which says where it is at home
        if case.event:
            options.actions = [Action(case.event, EVENT_AT_S, partial(EVENTS[case.event], cluster))]
        yield options


async def watched(case: Case, scenario: Scenario) -> tuple[Mapping[str, Any], list[float]]:
    """A run's report, and what the control took in each of its stages."""
    with control() as watch:
        async with served(case, scenario) as options, trio.open_nursery() as nursery:
            nursery.start_soon(watch.watch)
            report = await run(options)
            nursery.cancel_scope.cancel()
    ends = report["started_at"] + np.cumsum([stage.duration_s for stage in scenario.stages])
    starts = [report["started_at"], *ends[:-1]]
    return report, [watch.cores(start, end) for start, end in zip(starts, ends, strict=True)]


class Tempo(NamedTuple):
    """What the control takes usually, and how much of its changes the server shows (as a power)."""

    control_cores: float
    share: float

    def paced(self, points: Sequence[Point], controls: Sequence[float]) -> list[Point]:
        """The points as they would be where the control takes as much as usual."""
        factors = [(self.control_cores / control) ** self.share for control in controls]
        return [
            {**point, "cpu_cores": point["cpu_cores"] and point["cpu_cores"] * factor}
            for point, factor in zip(points, factors, strict=True)
        ]


async def tried(case: Case, model: CostModel, tempo: Tempo) -> dict[str, Any]:
    """A case: its predictions, said first, and the run."""
    expected = predicted(case, model)
    for name, one in expected.items():
        print(f"{case.name}: predicted {name}: {one.value:.4g} ({one.low:.4g} to {one.high:.4g})", flush=True)
    report, controls = await watched(case, case.scenario())
    points = points_of(report, case.name, 0.0)
    measured = shown(case, report, tempo.paced(points, controls)[-STRETCHES:])
    made = rows(expected, measured, reasons(case, model, report))
    for row in made:
        print(f"{case.name}: {row['figure']} was {row['measured'] or 0:.4g}", flush=True)
    as_it_ran = shown(case, report, points[-STRETCHES:])["CPU, cores"]
    status = report["verdict"]["status"]
    return {
        "case": case.name,
        "verdict": status,
        "cpu_as_it_ran": as_it_ran,
        "control_cores": controls,
        "points": points,
        "rows": made,
    }


async def calibrated(kind: str) -> dict[str, Any]:
    """A calibration of an embedded server, or of one worker on Redis, and of two who have little to do.

    Twice, for a machine isn't the same from minute to minute.
    """
    passes = [await _pass(kind) for _ in range(PASSES)]
    joined = {name: [one for each in passes for one in each[name]] for name in ("points", "control_cores")}
    return {**passes[0], **joined}


async def _pass(kind: str) -> dict[str, Any]:
    controls: list[float] = []

    async def one(scenario: Scenario, shape: Shape | None = ONE_WORKER) -> Mapping[str, Any]:
        case = Case("calibration", 1, 1, shape=shape if kind == "cluster" else None)
        report, found = await watched(case, scenario)
        controls.extend(found)
        return report

    found = await calibrate(SCALE, CALIBRATE_HOLD_S, one, lambda text: print(f"{kind}: {text}", flush=True))
    if kind == "cluster":
        report = await one(idle(round(IDLE[0] * SCALE), CALIBRATE_HOLD_S), TWO_WORKERS)
        found["points"] += points_of(report, "workers", 2)
    return {**found, "control_cores": controls}


def calibration(kind: str, anew: bool) -> dict[str, Any]:
    """The one of before, where there is one."""
    path = measure.OUT / f"calibration-{kind}.json"
    if anew or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(trio.run(calibrated, kind)))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def known_of(found: Mapping[str, Any]) -> tuple[CostModel, Tempo]:
    """The model of a calibration, at the tempo that the machine mostly had, and that tempo.

    How much of the control's changes the server shows is what makes the calibration agree best with itself.
    """
    points, controls = found["points"], found["control_cores"]
    tempos = [Tempo(statistics.median(controls), share) for share in SHARES]
    best = min(tempos, key=lambda tempo: misfit(tempo.paced(points, controls)))
    return fit(best.paced(points, controls)), best


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """What a reader compares, as docs/how-to/size.md has it."""
    headings = ("run", "figure", "predicted (90 %)", "measured", "off", "why it missed")
    lines = []
    for result in results:
        for number, one in enumerate(result["rows"]):
            off = "" if one["off"] is None else f"{one['off']:+.0%}"
            lines.append(
                [
                    result["case"] if number == 0 else "",
                    one["figure"],
                    _predicted(one),
                    _measured(one, result["cpu_as_it_ran"]),
                    off + ("" if one["within"] else " **missed**"),
                    "; ".join(one["why"]),
                ]
            )
    return measure.table("Predicted, then run; within 15 %, a p95 within 25 %", headings, lines)


def _predicted(row: Mapping[str, Any]) -> str:
    value, low, high = (_number(row[name]) for name in ("predicted", "low", "high"))
    return value if low == high else f"{value} ({low} to {high})"


def _measured(row: Mapping[str, Any], cpu_as_it_ran: float | None) -> str:
    if row["measured"] is None:
        return ""
    as_it_ran = f" ({_number(cpu_as_it_ran or 0)} as it ran)" if row["figure"].startswith("CPU") else ""
    return _number(row["measured"]) + as_it_ran


def _number(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"


def main() -> int:
    parser = measure.parser(__doc__)
    parser.add_argument("--calibrate", choices=("embedded", "cluster"), action="append")
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append")
    options = parser.parse_args()
    if options.calibrate:
        for kind in options.calibrate:
            calibration(kind, anew=True)
        return 0
    known = {kind: known_of(calibration(kind, anew=False)) for kind in ("embedded", "cluster")}
    results = []
    for case in CASES:
        if options.only is None or case.name in options.only:
            kind = "embedded" if case.shape is None else "cluster"
            results.append(trio.run(tried, case, *known[kind]))
    print(table(results))
    print(measure.save("predictions", {"results": results}, vars(options)))
    figures = [one["within"] for result in results for one in result["rows"]]
    held = sum(all(one["within"] for one in result["rows"]) for result in results)
    print(
        f"{sum(figures)} of {len(figures)} figures within bounds; {held} of {len(results)} runs in all theirs"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
