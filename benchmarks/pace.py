"""CPU and latency of edits at a given rate: how the embedded log's appends are grouped.

    python -m benchmarks.pace [--rate 400 --rate 2000] [--seconds 5] [--repeats 3]

Real sessions, rooms and committer over the embedded log on disk, in this process, all threads counted;
sockets are left out. 200 documents of 5 editors, open loop: edits come when they are due, whether or not the
ones before are committed; what is measured comes after a second of the same. In turn in one run: `at once`,
an append as soon as the last one of its lane is done, and `gathered`, as it is (gateway/hub/pace.py). CPU in
microseconds an edit, latency from an edit's arrival to its broadcast. Writes out/benchmarks/pace.json.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import trio

from benchmarks import measure
from benchmarks.edit import EDITORS, Core, Editor, as_in_a_worker
from gateway.log.sqlite.log import PACING, SqliteLog
from gateway.ports import Pacing

ROOMS = 200
RATES = (400, 2000)
TICK_S = 0.001
WARM_S = 1.0
TITLE = f"Edits at a given rate, {ROOMS} rooms of {EDITORS} editors, embedded log on disk"
VARIANTS = {"at once": Pacing(), "gathered": PACING}


async def driven(core: Core, editors: list[Editor], rate: int, seconds: float) -> tuple[float, float]:
    """Edit at this rate for so long; until all is committed, and the CPU that making the messages took."""
    began_s, sent, making_s = trio.current_time(), 0, 0.0
    while (gone_s := trio.current_time() - began_s) < seconds:
        while sent < gone_s * rate:
            editor = editors[sent * 7919 % len(editors)]
            sent += 1
            before_s = time.thread_time()
            message = editor.edit(core.version(editor))
            making_s += time.thread_time() - before_s
            await editor.send(message)
        await trio.sleep(TICK_S)
    await core.hub.idle()
    return trio.current_time() - began_s, making_s


async def measured(folder: str, pacing: Pacing, rate: int, seconds: float) -> dict[str, float]:
    log = SqliteLog(Path(folder) / "data")
    log.pacing = pacing
    async with Core.running(folder, log, ROOMS) as core:
        editors = await core.editors()
        await driven(core, editors, rate, WARM_S)
        counters = core.counters
        latency = counters.message_latency_seconds
        edits, appends = counters.operations_committed, counters.commit_seconds.count
        latencies, latency_s = latency.count, latency.sum
        before_s = time.process_time()
        took_s, making_s = await driven(core, editors, rate, seconds)
        cpu_s = time.process_time() - before_s - making_s
        edits = counters.operations_committed - edits
        found = {
            "edits_a_second": edits / took_s,
            "cpu_us": cpu_s / edits * 1e6,
            "appends_a_second": (counters.commit_seconds.count - appends) / took_s,
            "latency_ms": (latency.sum - latency_s) / (latency.count - latencies) * 1000,
        }
    await log.aclose()
    return found


def once(variant: str, rate: int, seconds: float) -> dict[str, float]:
    return as_in_a_worker(measured, VARIANTS[variant], rate, seconds)


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--rate", type=int, action="append", help="edits a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows, results = [], {}
    for rate in options.rate or RATES:
        found = measure.repeated(
            list(VARIANTS), options.repeats, partial(once, rate=rate, seconds=options.seconds)
        )
        for variant, figures in found.items():
            results[f"{rate}, {variant}"] = figures
            rows.append([str(rate), variant, *(f"{value:.1f}" for value in figures.values())])
    columns = (
        "due a second",
        "appends",
        "edits a second",
        "CPU an edit, us",
        "appends a second",
        "latency, ms",
    )
    print(measure.table(TITLE, columns, rows))
    print(measure.save("pace", {"title": TITLE, "results": results}, vars(options)))


if __name__ == "__main__":
    main()
