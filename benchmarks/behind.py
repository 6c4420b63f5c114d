"""CPU of an edit by how far behind the head its base is: within the window, and far beyond it.

    python -m benchmarks.behind [--edits 200] [--repeats 3]

A real session, room and committer over the embedded log on disk, in this process, all threads counted;
sockets are left out. One resource whose title was changed thousands of times, one client that edits the
title, each time as far behind, one edit after the other. `first` is the first edit at that distance, which
may have to rebuild its base. Microseconds an edit; writes out/benchmarks/behind.json.

    python -m benchmarks.behind --beside [--rate 2000]

What others notice of ten such clients: a whole `gateway serve`, over sockets, with 200 documents of five
editors each that edit at this rate in all. One of them has thousands of changes more, and ten clients that
edit it on bases 9,000 behind, each ten times a second at the most. Milliseconds from when an edit was due to
its OP_ACK, of the others, without and with those ten; writes out/benchmarks/beside.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from benchmarks import measure, overload
from benchmarks.edit import Core, Editor, as_in_a_worker
from benchmarks.gateways import flooded
from gateway.log.sqlite.log import SqliteLog

DISTANCES = (0, 150, 250, 1000, 9000)
TOGETHER = 50
DOCUMENTS = 200
LATE = 10
BESIDE_S = 8.0
TITLE = "CPU of an edit by how far behind its base is, embedded log, microseconds"


async def edited(core: Core, editor: Editor, behind: int) -> float:
    """One edit, until it is committed; CPU seconds."""
    message = editor.edit(core.version(editor) - behind)
    before_s = time.process_time()
    await editor.send(message)
    await core.hub.idle()
    return time.process_time() - before_s


async def fill(core: Core, editor: Editor, changes: int) -> None:
    """Change the title so often, many at once."""
    for _ in range(0, changes, TOGETHER):
        for _ in range(TOGETHER):
            await editor.send(editor.edit(core.version(editor)))
        await core.hub.idle()


async def measured(folder: str, edits: int) -> dict[str, dict[str, float]]:
    """Each distance: the first edit, and the median of those after it."""
    log = SqliteLog(Path(folder) / "data")
    async with Core.running(folder, log) as core:
        writer, editor = (await core.editors())[:2]
        await fill(core, writer, max(DISTANCES) + edits * len(DISTANCES))
        assert core.version(editor) > max(DISTANCES), core.version(editor)
        results = {}
        for behind in DISTANCES:
            before = core.counters.operations_committed
            first, *others = [await edited(core, editor, behind) for _ in range(edits + 1)]
            assert core.counters.operations_committed - before == edits + 1, "an edit was refused"
            results[str(behind)] = {"first": first * 1e6, "each": statistics.median(others) * 1e6}
    await log.aclose()
    return results


def table(title: str, results: Mapping[str, Mapping[str, float]]) -> str:
    fresh = results["0"]["each"]
    rows = [
        [behind, f"{row['first']:.0f}", f"{row['each']:.0f}", f"{row['each'] / fresh:.2f}"]
        for behind, row in results.items()
    ]
    return measure.table(title, ("versions behind", "first", "each after it", "of a fresh one"), rows)


def beside(
    rate: float, seconds: float = BESIDE_S, behind: int = DISTANCES[-1]
) -> dict[str, dict[str, float]]:
    """How long others' edits take, without and with clients that are far behind."""
    with (
        flooded("fast", overload.SETTINGS) as node,
        closing(overload.Load(node.port, DOCUMENTS)) as load,
    ):
        load.create()
        load.fill(load.editors[0].document, behind + int(BESIDE_S))
        found = {}
        for name, late in (("without", 0), ("with", LATE)):
            load.late(late, behind)
            load.offer(rate, overload.WARM_S)
            began_s, late_before = time.perf_counter(), load.late_acks
            load.offer(rate, seconds)
            late_acks = load.late_acks - late_before
            load.late(0, 0)
            load.drained()
            found[name] = {**overload.took(load, began_s, seconds), "late": late_acks / seconds}
        assert not overload.lost(node.port, load), "an edit was lost"
    return found


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--beside", action="store_true", help="what others notice of ten such clients")
    parser.add_argument(
        "--rate", type=float, default=2000.0, help="of the others, edits a second (default 2000)"
    )
    options = parser.parse_args()
    if options.beside:
        print_beside(beside(options.rate), options)
        return
    results = measure.medians([as_in_a_worker(measured, options.edits) for _ in range(options.repeats)])
    print(table(TITLE, results))
    print(measure.save("behind", {"title": TITLE, "results": results}, vars(options)))


def print_beside(results: Mapping[str, Mapping[str, float]], options: argparse.Namespace) -> None:
    """A row without those clients and one with them."""
    title = f"Others' edits, {options.rate:,.0f} a second, beside {LATE} clients far behind, milliseconds"
    names = ("rate", "p50", "p95", "max")
    rows = [[name, *(f"{row[key]:.1f}" for key in names)] for name, row in results.items()]
    print(measure.table(title, ("clients far behind", *names), rows))
    print(measure.save("beside", {"title": title, "results": results}, vars(options)))


if __name__ == "__main__":
    main()
