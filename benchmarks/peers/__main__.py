"""Servers of others under our schedule and our verdict, one table: python -m benchmarks.peers

    python -m benchmarks.peers                            all of them, about half an hour
    python -m benchmarks.peers --only sharedb --only ours --repeats 1 --rate 2000 --rate 4000

Peers that aren't installed are, by `npm ci`, into benchmarks/node_modules. Each server runs alone, with the
users of `headline`: 200 documents, each 5 editors and a viewer, one title replaced at a time. Edits a second
go up the rates until the p95 of deliveries is above 200 ms or the server falls behind; all servers in turn,
again and again, and the table has the medians.

- CPU an edit: of the server's processes alone, at the first two rates;
- held at 50, 200 ms: the last rate whose p95 was below, edits a second that were acknowledged;
- RSS: resident memory at the last rate that was held;
- an idle one: resident memory the server grew by, for each of 1,000 connections that only look on;
- verdict: of all rates, and the faults by name.

What they do isn't the same. Ours writes every edit to disk before it answers; the others keep all in memory.
ShareDB transforms, Yjs merges, a Socket.IO room keeps nothing. Ours runs without its index for searches,
which none of them has.
"""

from __future__ import annotations

import functools
import math
import statistics
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
from loadtest.evidence import COUNTED
from loadtest.options import Options
from loadtest.scenario import Scenario, Stage, load
from loadtest.server import GATEWAY
from tests import nodejs

HERE = Path(__file__).parent
TARGETS_MS = (50.0, 200.0)
CPU_RATES = 2  # at so many of the first rates the CPU is told
# Above 4,000 each is 15 % above the one before: a slow machine is told as finely as a fast one.
RATES = (2000.0, *(round(4000.0 * 2 ** (fifth / 5), -2) for fifth in range(16)))
IDLE = 1000
HELD_MIN, DONE_MIN = 0.97, 0.9  # of the edits that were due, acknowledged


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: what it speaks, and the script of this folder that starts it; ours has none."""

    protocol: str
    script: str = ""

    def command(self) -> Sequence[str]:
        """What starts it; its packages are installed where they aren't."""
        return nodejs.node(str(HERE / self.script), folder=nodejs.PEERS) if self.script else GATEWAY


PEERS: Mapping[str, Peer] = {
    "ours": Peer("collab"),
    "sharedb": Peer("sharedb", "sharedb.mjs"),
    "sharedb-json1": Peer("sharedb-json1", "sharedb.mjs"),
    "hocuspocus": Peer("yjs", "hocuspocus.mjs"),
    "socketio": Peer("socketio", "socketio.mjs"),
}


def base() -> Scenario:
    """The users of `headline`, judged at the largest target."""
    made = load("headline")
    targets = replace(made.targets, delivery_p95_ms=TARGETS_MS[-1], delivery_p99_ms=None)
    return replace(made, targets=targets, server={**made.server, "search.enabled": False})


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


def climbed(name: str, rates: Sequence[float], hold_s: float) -> list[dict[str, Any]]:
    """The steps of one server, up to the first rate that is too much for it."""
    steps: list[dict[str, Any]] = []
    for rate in rates:
        steps.append(figures(step(PEERS[name], rate, hold_s)) | {"rate": rate})
        print(f"  {name}: {said(steps[-1])}", file=sys.stderr)
        if steps[-1]["late"] > TARGETS_MS[-1] or steps[-1]["edits_per_s"] < DONE_MIN * rate:
            break
    return steps


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
        "rss_bytes": stage["server"]["rss_bytes"],
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
    """What a server held, from the steps of one climb."""
    found: dict[str, Any] = {}
    for target in TARGETS_MS:
        held = [
            one for one in steps if one["late"] <= target and one["edits_per_s"] >= HELD_MIN * one["rate"]
        ]
        best = max(held, key=lambda one: float(one["edits_per_s"]), default=None)
        found[f"held_{target:.0f}"] = best["edits_per_s"] if best else 0.0
        found[f"deliveries_{target:.0f}"] = best["deliveries_per_s"] if best else 0.0
        found["rss_bytes"] = best["rss_bytes"] if best else None
    for one in steps[:CPU_RATES]:
        found[f"cpu_us_{one['rate']:.0f}"] = one["cpu_us"]
    return found


def medians(climbs: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The median of each figure that the climbs have, and the faults of all."""
    made = [summary(steps) for steps in climbs]
    faults: Counter[str] = Counter()
    for one in (one for steps in climbs for one in steps):
        faults.update(one["faults"])
    found: dict[str, Any] = {"faults": dict(faults)}
    for key in dict.fromkeys(key for one in made for key in one):
        values = [one[key] for one in made if one.get(key) is not None]
        found[key] = statistics.median(values) if values else None
    return found


def _doubt(climbs: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Where something else than the server was short of CPU."""
    steps = [one for climb in climbs for one in climb]
    limited = sum(one["status"] == "invalid" for one in steps)
    return f"{limited} of {len(steps)} steps invalid" if limited else ""


def table(results: Mapping[str, Mapping[str, Any]], rates: Sequence[float]) -> str:
    """What a reader compares."""
    cpu_rates = rates[:CPU_RATES]
    headings = (
        "server",
        *(f"CPU an edit at {rate:,.0f}/s, us" for rate in cpu_rates),
        *(f"held, p95 {target:.0f} ms" for target in TARGETS_MS),
        "deliveries/s",
        "RSS, MB",
        "an idle one, KB",
        "verdict",
    )
    rows = []
    for name, one in results.items():
        faults = ", ".join(f"{count:,} {fault}" for fault, count in one["faults"].items())
        rows.append(
            [
                name,
                *(_number(one.get(f"cpu_us_{rate:.0f}")) for rate in cpu_rates),
                *(_number(one[f"held_{target:.0f}"]) for target in TARGETS_MS),
                _number(one[f"deliveries_{TARGETS_MS[-1]:.0f}"]),
                _number(one["rss_bytes"], 1e6),
                _number(one["memory_bytes"], 1024),
                ", ".join(filter(None, [faults or "no fault", _doubt(one["climbs"])])),
            ]
        )
    return measure.table("Peers under one schedule and verdict", headings, rows)


def _number(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else f"{value / unit:,.0f}"


def main() -> int:
    parser = measure.parser(__doc__)
    parser.add_argument("--only", choices=PEERS, action="append")
    parser.add_argument("--rate", type=float, action="append", help="edits a second, instead of all")
    parser.add_argument("--hold-s", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    names, rates = options.only or list(PEERS), options.rate or RATES
    climbs: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            climbs[name].append(climbed(name, rates, options.hold_s))
    results = {
        name: {**medians(climbs[name]), "memory_bytes": idle(PEERS[name]), "climbs": climbs[name]}
        for name in names
    }
    path = measure.save("peers", {"rates": rates, "results": results}, vars(options))
    print(f"{table(results, rates)}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
