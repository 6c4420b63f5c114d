"""One rate for ten minutes: what a node's memory does, what it commits, and how late.

    python -m benchmarks.steady [--rate 10000] [--minutes 10] [--documents 200]

An embedded `gateway serve` with its log on disk, and the clients of `benchmarks.overload`: of each document
five editors who wait for no answer, and one who looks on. No index of searches, no limit of rate. A row for
each half of a minute: edits acknowledged a second and refused for now, milliseconds from when an edit was due
to its OP_ACK, cores and resident memory of the node. At the end each edit must have had an answer, and the
documents as many versions as there were OP_ACKs. Writes out/benchmarks/steady.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psutil

from benchmarks import measure
from benchmarks.gateways import flooded
from benchmarks.overload import SETTINGS, Load, lost, took

ROW_S = 30.0
UNHEARD = "timeouts.idle_timeout_s=86400"  # who looks on says nothing for as long as this runs
HEADINGS = ("minute", "edits/s", "refused/s", "p50, ms", "p95, ms", "longest, ms", "cores", "RSS, MB")


def rows(
    load: Load, process: psutil.Process, rate: float, count: int, seconds: float
) -> list[dict[str, Any]]:
    """So many stretches of so many seconds at this rate."""
    found = []
    for number in range(1, count + 1):
        load.acks.clear()
        refused = load.answers["UNAVAILABLE"]
        before_s, began_s = measure.cpu_s(process.pid), time.perf_counter()
        load.offer(rate, seconds)
        lasted_s = time.perf_counter() - began_s
        found.append(
            {
                "minute": number * seconds / 60,
                "refused": (load.answers["UNAVAILABLE"] - refused) / lasted_s,
                "cores": (measure.cpu_s(process.pid) - before_s) / lasted_s,
                "rss": process.memory_info().rss,
                **took(load, began_s, lasted_s),
            }
        )
        print("  ".join(f"{cell} {name}" for name, cell in zip(HEADINGS, cells(found[-1]), strict=True)))
    return found


def measured(rate: float, count: int, documents: int, seconds: float = ROW_S) -> dict[str, Any]:
    """One node at one rate."""
    with flooded("fast", (*SETTINGS, UNHEARD)) as node, closing(Load(node.port, documents)) as load:
        load.create()
        found = {"rate": rate, "rows": rows(load, psutil.Process(node.pid), rate, count, seconds)}
        found["drained_s"] = load.drained()
        found["lost"] = lost(node.port, load)
    return found


def cells(one: Mapping[str, float]) -> Sequence[str]:
    """A row, under HEADINGS."""
    return (
        f"{one['minute']:.1f}",
        *(f"{one[name]:,.0f}" for name in ("rate", "refused", "p50", "p95", "max")),
        f"{one['cores']:.2f}",
        f"{one['rss'] / 1e6:,.0f}",
    )


def table(found: Mapping[str, Any]) -> str:
    """What a reader compares."""
    end = f"all answered {found['drained_s']:.1f} s after the end, {found['lost']} lost"
    title = f"{found['rate']:,.0f} edits a second offered, {end}"
    return measure.table(title, HEADINGS, [cells(one) for one in found["rows"]])


def run(arguments: Sequence[str] = ()) -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--rate", type=float, default=10_000.0, help="edits a second (default 10,000)")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--documents", type=int, default=200)
    options = parser.parse_args(arguments)
    found = measured(options.rate, max(1, round(options.minutes * 60 / ROW_S)), options.documents)
    print(table(found))
    print(measure.save("steady", found, vars(options)))


if __name__ == "__main__":
    run(sys.argv[1:])
