"""What the load generator costs: its CPU an edit of `headline`, which is one send and six receipts.

    python -m benchmarks.generator                  RFC-002's floor, 10,000 edits a second, three times 8 s
    python -m benchmarks.generator --rate-scale 0.1 on a slower machine, or one that others use
    perf record -g -p PID                           who takes it, where PID is a `loadtest.worker`

A generator at its limit says nothing of a server. Everything counts that its process does while the rate is
held: choosing who edits what, writing the message, the kernel's work, judging what arrives, reporting. Fails
above --most-us, where one is given.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from benchmarks import measure
from loadtest.coordinator import run
from loadtest.options import Options
from loadtest.scenario import Scenario, load

FLOOR = 1 / 3


def scenario(rate_scale: float, hold_s: float, seed: int) -> Scenario:
    """`headline` for so long, with short stages before."""
    made = load("headline").scaled(rates=rate_scale)
    arrive, warm, hold = made.stages
    stages = (arrive, replace(warm, duration_s=1.0), replace(hold, duration_s=hold_s))
    return replace(made, stages=stages, seed=seed)


def measured(rate_scale: float, hold_s: float, seed: int) -> dict[str, Any]:
    """One run: CPU microseconds an edit, and what else tells whether it is worth something."""
    report = trio.run(partial(run, Options(scenario(rate_scale, hold_s, seed))))
    stage = report["stages"][-1]
    edits = stage["rates"]["operations_per_s"]
    return {
        "cpu_us": 1e6 * stage["generator"]["cpu_cores"] / edits,
        "edits_per_s": edits,
        "deliveries_an_edit": stage["rates"]["deliveries_per_s"] / edits,
        "lag_p99_ms": stage["generator"]["lag_p99_ms"],
        "engine": report["generator"]["engine"],
        "others_cores": report["generator"]["others_cores"],
        "verdict": report["verdict"]["status"],
    }


def said(one: dict[str, Any]) -> str:
    """A run in a line."""
    return (
        f"{one['cpu_us']:.1f} us of CPU an edit at {one['edits_per_s']:,.0f} edits/s, "
        f"{one['deliveries_an_edit']:.1f} deliveries each; late {one['lag_p99_ms']:.1f} ms at p99; "
        f"{one['engine']} engine; others used {one['others_cores']:.2f} cores; {one['verdict']}"
    )


def main() -> int:
    parser = measure.parser(__doc__)
    parser.add_argument("--rate-scale", type=float, default=FLOOR)
    parser.add_argument("--hold-s", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-us", type=float)
    options = parser.parse_args()
    results = []
    for seed in range(1, options.repeats + 1):
        results.append(measured(options.rate_scale, options.hold_s, seed))
        print(said(results[-1]))
    middle = statistics.median(one["cpu_us"] for one in results)
    print(f"median: {middle:.1f} us of CPU an edit")
    measure.save("generator", {"cpu_us": middle, "results": results}, vars(options))
    return int(options.most_us is not None and middle > options.most_us)


if __name__ == "__main__":
    sys.exit(main())
