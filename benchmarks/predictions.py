"""Is it true? What calibrations predict of other runs, said before each run, beside what it showed.

    python -m benchmarks.predictions                        calibrates where it wasn't done, then ten runs
    python -m benchmarks.predictions --calibrate embedded   the one calibration alone; `cluster` is the other
    python -m benchmarks.predictions --only 4x-edits        with the calibrations of before

A calibration is 20 runs (`cluster`: 21) of 194 seconds of load, the ten runs are of 99, and each run takes
some seconds more to start and to be judged. Calibrations stay in out/benchmarks/.

Each run differs from all that was calibrated: four times as many edits, deliveries, idle connections, twice
as many connects; mixtures; Redis in place of SQLite; two workers, one of them killed, or both replaced. A
figure should be within 15 % of what was predicted, a p95 within 25 %; what isn't has its reason beside it, as
far as it can be told from the run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from benchmarks import measure
from benchmarks.faults.cluster import Cluster, Shape, running
from benchmarks.faults.drills import kill_worker, roll_workers
from gateway.sessions.accepting import UNMEASURED_PER_S
from loadtest.capacity.calibrate import DOCUMENTS, IDLE, NO_LIMIT, calibrate, idle
from loadtest.capacity.fits import Estimate
from loadtest.capacity.model import CPU_TERMS, CostModel, fit
from loadtest.capacity.sweep import points_of
from loadtest.connections import RETRY_MS
from loadtest.coordinator import run
from loadtest.options import Action, Options
from loadtest.scenario import Activity, Population, Scenario, Stage, Targets
from loadtest.simulate import cluster as simulation
from loadtest.simulate.study import costs_of, interval

SCALE, CALIBRATE_HOLD_S = 0.4, 5.0
HOLD_S, EVENT_AT_S = 5.0, 5.0
EVENT_HOLD_S = 12.0
FEWEST, MOST = round(min(DOCUMENTS) * SCALE), round(max(DOCUMENTS) * SCALE)  # documents that are calibrated
WITHIN, WITHIN_P95 = 0.15, 0.25
SEEDS = 9
OTHERS_CORES = 0.25
GOAWAY_LEAST_MS = 100.0
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

    def scenario(self) -> Scenario:
        """Users who arrive (over a session, so that those who come and go do so evenly), a moment, a hold."""
        arrive_s = self.session_s or max(self.users / 1500, 1.5)
        stages = (
            Stage("arrive", arrive_s, self.users, 0.0, measured=False),
            Stage("settle", 1.5, self.users, self.operations_per_s, measured=False),
            Stage("hold", EVENT_HOLD_S if self.event else HOLD_S, self.users, self.operations_per_s),
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
    Case("redis", 600, 100, 600, shape=ONE_WORKER),
    Case("two-workers", 1200, 200, 1200, shape=TWO_WORKERS),
    Case("a-killed-worker", 300, 50, 300, shape=TWO_WORKERS, event="kill"),
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
    each, costs = case.users / case.workers, costs_of(model, 0)
    if case.event == "roll":
        last_ms = GOAWAY_LEAST_MS + 1000 * each / UNMEASURED_PER_S
        return _exactly(last_ms + 1000 * (costs.connect + costs.operation))
    nodes = simulation.Cluster(
        case.users,
        case.operations_per_s / case.users,
        case.users / case.documents - 1,
        nodes=case.workers,
        workers_a_node=1,
        detect_s=RETRY_MS[0] / 1000,
        reconnect_s=(RETRY_MS[1] - RETRY_MS[0]) / 1000,
    )
    ends = [1000 * simulation.simulate(nodes, costs, "node", seed).back_s for seed in range(SEEDS)]
    low, middle, high = interval(ends)
    return Estimate(middle, low, high)


def _came_back(case: Case) -> Estimate:
    """All of a roll; of a killed worker those whose documents were at home there, which is chance."""
    if case.event == "roll":
        return _exactly(case.users)
    share, each = 1 / case.workers, case.users / case.documents
    spread = 1.645 * each * (case.documents * share * (1 - share)) ** 0.5
    return Estimate(case.users * share, case.users * share - spread, case.users * share + spread)


def shown(case: Case, report: Mapping[str, Any]) -> dict[str, float | None]:
    """The same figures, as the run had them."""
    hold = points_of(report, case.name, 0.0)[-1]
    counts = report["counts"]
    pss = hold["pss_bytes"]
    return {
        "CPU, cores": hold["cpu_cores"],
        "memory, MiB": pss / MEBI if pss else None,
        "received, kB/s": hold["bytes_per_s"] / 1000,
        "p95, ms": hold["p95_ms"],
        "longest wait, ms": report["stages"][-1]["latency_ms"]["ack"]["max"],
        "came back, users": counts.get("succeeded", 0) - case.users,
    }


def reasons(case: Case, model: CostModel, report: Mapping[str, Any]) -> list[str]:
    """Why a prediction may have missed, as far as a run tells."""
    found = [one for one in report["verdict"]["reasons"] if one.startswith("generator")][:1]
    others = report["generator"]["others_cores"]
    if others is not None and others > OTHERS_CORES:
        found.append(f"others used {others:.1f} cores")
    if case.workers > 1:
        found.append("edits and deliveries were calibrated with one worker")
    documents = case.documents / case.workers
    if case.operations_per_s and not FEWEST <= documents <= MOST:
        found.append(f"{documents:.0f} documents where {FEWEST} to {MOST} were calibrated")
    for term, value in case.load().items():
        if value > 1.05 * model.measured[term]:
            found.append(f"{value / max(model.measured[term], 1e-9):.0f}x the calibrated {term}")
    return found


def rows(
    expected: Mapping[str, Estimate], measured: Mapping[str, float | None], why: Sequence[str]
) -> list[dict[str, Any]]:
    """Each figure, what was predicted of it, what it was, by how much that is off, and why."""
    made = []
    for name, (value, low, high) in expected.items():
        got = measured[name]
        off = None if not got else value / got - 1
        allowed = WITHIN_P95 if name.startswith("p95") else WITHIN
        within = off is not None and bool(abs(off) <= allowed)
        chance = ["within the interval"] if got is not None and low <= got <= high else []
        made.append(
            {
                "figure": name,
                "predicted": float(value),
                "low": float(low),
                "high": float(high),
                "measured": None if got is None else float(got),
                "off": None if off is None else float(off),
                "within": within,
                "why": [] if within else [*chance, *why],
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
        if case.event:
            options.actions = [Action(case.event, EVENT_AT_S, partial(_happen, case.event, cluster))]
        yield options


async def _happen(event: str, cluster: Cluster) -> None:
    await EVENTS[event](cluster)


async def tried(case: Case, model: CostModel) -> dict[str, Any]:
    """A case: its predictions, said first, and the run."""
    expected = predicted(case, model)
    for name, one in expected.items():
        print(f"{case.name}: predicted {name}: {one.value:.4g} ({one.low:.4g} to {one.high:.4g})")
    scenario = case.scenario()
    async with served(case, scenario) as options:
        report = await run(options)
    made = rows(expected, shown(case, report), reasons(case, model, report))
    for row in made:
        print(f"{case.name}: {row['figure']} was {row['measured'] or 0:.4g}")
    return {"case": case.name, "verdict": report["verdict"]["status"], "rows": made}


async def calibrated(kind: str) -> dict[str, Any]:
    """A calibration of an embedded server, or of one worker on Redis, and of two who have little to do."""
    shape = ONE_WORKER if kind == "cluster" else None
    one = partial(_calibrating, shape)
    found = await calibrate(SCALE, CALIBRATE_HOLD_S, one, lambda text: print(f"{kind}: {text}"))
    if kind == "cluster":
        report = await _calibrating(TWO_WORKERS, idle(round(IDLE[0] * SCALE), CALIBRATE_HOLD_S))
        found["points"] += points_of(report, "workers", 2, workers=2)
    return found


async def _calibrating(shape: Shape | None, scenario: Scenario) -> Mapping[str, Any]:
    async with served(Case("calibration", 1, 1, shape=shape), scenario) as options:
        return await run(options)


def calibration(kind: str, anew: bool) -> dict[str, Any]:
    """The one of before, where there is one."""
    path = measure.OUT / f"calibration-{kind}.json"
    if anew or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(trio.run(calibrated, kind)))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """What a reader compares."""
    headings = ("run", "figure", "predicted", "90 %", "measured", "off", "why")
    lines = []
    for result in results:
        for number, one in enumerate(result["rows"]):
            off = "" if one["off"] is None else f"{one['off']:+.0%}"
            lines.append(
                [
                    result["case"] if number == 0 else "",
                    one["figure"],
                    f"{one['predicted']:.3g}",
                    f"{one['low']:.3g} to {one['high']:.3g}",
                    "" if one["measured"] is None else f"{one['measured']:.3g}",
                    off + ("" if one["within"] else " *"),
                    "; ".join(one["why"]),
                ]
            )
    return measure.table("Predicted, then run (* beyond 15 %, p95 25 %)", headings, lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.predictions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calibrate", choices=("embedded", "cluster"), action="append")
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append")
    options = parser.parse_args()
    if options.calibrate:
        for kind in options.calibrate:
            calibration(kind, anew=True)
        return 0
    models = {kind: fit(calibration(kind, anew=False)["points"]) for kind in ("embedded", "cluster")}
    results = []
    for case in CASES:
        if options.only is None or case.name in options.only:
            kind = "embedded" if case.shape is None else "cluster"
            results.append(trio.run(tried, case, models[kind]))
    print(table(results))
    print(measure.save("predictions", {"results": results}))
    held = sum(one["within"] for result in results for one in result["rows"])
    print(f"{held} of {sum(len(result['rows']) for result in results)} figures within bounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
