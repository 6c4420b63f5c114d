"""Servers of others under our schedule and our verdict, one table: python -m benchmarks.peers

    python -m benchmarks.peers                            all of them, about ten minutes
    python -m benchmarks.peers --only sharedb --only ours --hold-s 5

Peers that aren't installed are, by `npm ci`, into benchmarks/node_modules. Each server runs alone, with the
users of `headline` at a quarter of its size: 50 documents, each 5 editors and a viewer, one title replaced
at a time. Edits a second rise by `--factor` until the p95 of deliveries is above 200 ms, the generator is
the limit or the verdict is a fail.

- held at 50, 200 ms: the last step whose p95 was below, edits a second that were acknowledged;
- CPU an edit: of the server's processes alone, at the first step, where nothing is crowded;
- memory: resident memory the server grew by, for each of 1,000 connections that only look on;
- verdict: of all steps that were held, and the faults by name.

What they do isn't the same. Ours writes every edit to disk before it answers; the others keep all in memory.
ShareDB transforms, Yjs merges, a Socket.IO room keeps nothing.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from benchmarks import measure
from loadtest.capacity.sweep import varied
from loadtest.coordinator import run
from loadtest.options import Options
from loadtest.scenario import Scenario, Stage, load
from loadtest.server import GATEWAY
from loadtest.verdict import COUNTED
from tests import nodejs

HERE = Path(__file__).parent
SCALE = 0.25
TARGETS_MS = (50.0, 200.0)
IDLE = 1000
STEPS_MAX = 14
HELD_MIN, DONE_MIN = 0.97, 0.9  # of the edits that were due, acknowledged


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: what it speaks, and the script of this folder that starts it; ours has none."""

    protocol: str
    script: str = ""
    start: float = 400.0  # edits a second of the first step

    def command(self) -> Sequence[str]:
        """What starts it; its packages are installed where they aren't."""
        return nodejs.node(str(HERE / self.script), folder=nodejs.PEERS) if self.script else GATEWAY


PEERS: Mapping[str, Peer] = {
    "ours": Peer("collab", start=1200.0),
    "sharedb": Peer("sharedb", "sharedb.mjs"),
    "sharedb-json1": Peer("sharedb-json1", "sharedb.mjs"),
    "hocuspocus": Peer("yjs", "hocuspocus.mjs"),
    "socketio": Peer("socketio", "socketio.mjs"),
}


def base() -> Scenario:
    """The users of `headline`, a quarter of them, judged at the largest target."""
    made = load("headline").scaled(users=SCALE)
    targets = replace(made.targets, delivery_p95_ms=TARGETS_MS[-1], delivery_p99_ms=None)
    return replace(made, targets=targets)


def step(peer: Peer, edits_per_s: float, hold_s: float) -> Mapping[str, Any]:
    """The report of one rate."""
    scenario = varied(base(), "operations", edits_per_s, hold_s)
    options = Options(scenario, protocol=peer.protocol, server_command=peer.command())
    return trio.run(functools.partial(run, options))


def idle(peer: Peer) -> float | None:
    """Bytes of resident memory that a connection takes which only looks on."""
    few, many = IDLE // 10, IDLE
    stages = (
        Stage("arrive", 1.0, few, 0.0),
        Stage("few", 2.0, few, 0.0),
        Stage("more", 3.0, many, 0.0),
        Stage("many", 2.0, many, 0.0),
    )
    scenario = replace(base(), stages=stages, population=replace(base().population, documents=IDLE // 6))
    options = Options(scenario, protocol=peer.protocol, server_command=peer.command())
    report = trio.run(functools.partial(run, options))
    rss = {stage["name"]: stage["server"]["rss_bytes"] for stage in report["stages"]}
    return (rss["many"] - rss["few"]) / (many - few) if rss["many"] and rss["few"] else None


def measured(name: str, factor: float, hold_s: float) -> dict[str, Any]:
    """All figures of one server."""
    peer, rate = PEERS[name], PEERS[name].start
    steps: list[dict[str, Any]] = []
    for _ in range(STEPS_MAX):
        steps.append(figures(step(peer, rate, hold_s)) | {"rate": rate})
        print(f"  {name}: {said(steps[-1])}", file=sys.stderr)
        if steps[-1]["late"] > TARGETS_MS[-1] or steps[-1]["edits_per_s"] < DONE_MIN * rate:
            break
        rate *= factor
    return {**summary(steps), "memory_bytes": idle(peer), "steps": steps}


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What one rate showed; `late` is the p95 of deliveries in ms."""
    stage, verdict = report["stages"][-1], report["verdict"]
    done, cores = stage["rates"]["operations_per_s"], stage["server"]["cpu_cores"]
    p95 = stage["latency_ms"]["delivery"]["p95"]
    return {
        "edits_per_s": done,
        "deliveries_per_s": stage["rates"]["deliveries_per_s"],
        "late": math.inf if p95 is None else p95,
        "cores": cores,
        "generator_cores": stage["generator"]["cpu_cores"],
        "cpu_us": 1e6 * cores / done if cores and done else None,
        "status": verdict["status"],
        "limits": [reason for reason in verdict["reasons"] if reason.startswith("generator")],
        "faults": {fault: verdict[fault] for fault in COUNTED if verdict[fault]},
    }


def said(one: Mapping[str, Any]) -> str:
    """A step in a line."""
    return (
        f"{one['edits_per_s']:,.0f} of {one['rate']:,.0f} edits/s, p95 {one['late']:.1f} ms, "
        f"{one['cores'] or 0:.2f} cores, generator {one['generator_cores']:.2f}, {one['status']}"
    )


def summary(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a server held, from its steps."""
    faults: Counter[str] = Counter()
    for one in steps:
        faults.update(one["faults"])
    found: dict[str, Any] = {"faults": dict(faults), "cpu_us": steps[0]["cpu_us"]}
    for target in TARGETS_MS:
        held = [
            one for one in steps if one["late"] <= target and one["edits_per_s"] >= HELD_MIN * one["rate"]
        ]
        best = max(held, key=lambda one: float(one["edits_per_s"]), default=None)
        found[f"held_{target:.0f}"] = best["edits_per_s"] if best else 0.0
        found[f"deliveries_{target:.0f}"] = best["deliveries_per_s"] if best else 0.0
    return found


def _doubt(steps: Sequence[Mapping[str, Any]]) -> str:
    """Where something else than the server was short of CPU."""
    limited = sum(one["status"] == "invalid" for one in steps)
    return f"{limited} of {len(steps)} steps invalid" if limited else ""


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """What a reader compares."""
    headings = ("server", "edits/s, p95 50 ms", "200 ms", "deliveries/s", "CPU an edit, us", "KB", "verdict")
    rows = []
    for name, one in results.items():
        faults = ", ".join(f"{count:,} {fault}" for fault, count in one["faults"].items())
        memory = one["memory_bytes"]
        rows.append(
            [
                name,
                *(f"{one[f'held_{target:.0f}']:,.0f}" for target in TARGETS_MS),
                f"{one[f'deliveries_{TARGETS_MS[-1]:.0f}']:,.0f}",
                f"{one['cpu_us'] or 0:.0f}",
                "" if memory is None else f"{memory / 1024:.0f}",
                ", ".join(filter(None, [faults or "no fault", _doubt(one["steps"])])),
            ]
        )
    return measure.table("Peers under one schedule and verdict", headings, rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=PEERS, action="append")
    parser.add_argument("--factor", type=float, default=1.4)
    parser.add_argument("--hold-s", type=float, default=6.0)
    options = parser.parse_args()
    names = options.only or list(PEERS)
    results = {name: measured(name, options.factor, options.hold_s) for name in names}
    path = measure.save("peers", {"scale": SCALE, "results": results})
    print(f"{table(results)}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
