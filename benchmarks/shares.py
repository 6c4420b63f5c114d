"""Where an edit's CPU goes: a node's threads, its own share and the kernel's, beside the floor.

    python -m benchmarks.shares [--rate 2000 --rate 4000] [--seconds 8] [--repeats 3]

The clients of `benchmarks.overload`, 200 documents of five editors and one who looks on, edit at these rates:
an embedded `gateway serve` with its log on disk, and then `edit_floor.c`, which reads and writes the same and
does nothing between: messages of the same size to the same clients, and what came in 25 ms written and synced
before its ACKs. In turn; microseconds of CPU an edit, medians. Writes out/benchmarks/shares.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from benchmarks import measure
from benchmarks.gateways import flooded
from benchmarks.overload import EDITORS, SETTINGS, Editor, Load
from gateway.log.sqlite.log import PACING

HERE = Path(__file__).parent
DOCUMENTS = 200
WARM_S = 2.0
RATES = (2000.0, 4000.0)
ROWS = ("main thread, own", "main thread, kernel", "other threads, own", "other threads, kernel")
OURS, FLOOR = "gateway", "floor in C"


def threads_s(pid: int) -> list[float]:
    """CPU seconds of a process by ROWS."""
    found = [0.0] * len(ROWS)
    for thread in psutil.Process(pid).threads():
        at = 0 if thread.id == pid else 2
        found[at] += thread.user_time
        found[at + 1] += thread.system_time
    return found


def driven(pid: int, port: int, rate: float, seconds: float) -> list[float]:
    """Microseconds an edit by ROWS."""
    with closing(Load(port, DOCUMENTS)) as load:
        load.create()
        load.offer(rate, WARM_S)
        before_s, acks = threads_s(pid), load.answers["OP_ACK"]
        load.offer(rate, seconds)
        after_s, edits = threads_s(pid), load.answers["OP_ACK"] - acks
        load.drained()
    return [1e6 * (after - before) / edits for before, after in zip(before_s, after_s, strict=True)]


def sizes(port: int) -> tuple[int, int]:
    """Bytes of an OP_ACK and an OP_BROADCAST."""
    author, reader = Editor(port, "d0", 0), Editor(port, "d0", 1)
    author.write(author.message(1_000_000_000))
    found = []
    for editor, kind in ((author, b'{"type":"OP_ACK"'), (reader, b'{"type":"OP_BROADCAST"')):
        texts: list[bytes] = []
        while not any(text.startswith(kind) for text in texts):
            texts += editor.read()
        found.append(next(len(text) for text in texts if text.startswith(kind)))
        editor.socket.close()
    return found[0], found[1]


@contextmanager
def floor(folder: str, ack_bytes: int, broadcast_bytes: int) -> Iterator[measure.Server]:
    """The floor's process."""
    program = f"{folder}/edit_floor"
    subprocess.run(["cc", "-O2", "-o", program, str(HERE / "edit_floor.c")], check=True)
    pause_ms = 1000 * PACING.interval_s
    given = (EDITORS + 1, ack_bytes, broadcast_bytes, broadcast_bytes, pause_ms, f"{folder}/records")
    with measure.Server.started([program, *map(str, given)]) as server:
        yield server


def once(rate: float, seconds: float) -> dict[str, list[float]]:
    """Either of them at one rate."""
    found = {}
    with flooded("fast", SETTINGS) as node:
        found[OURS] = driven(node.pid, node.port, rate, seconds)
        bytes_each = sizes(node.port)
    with tempfile.TemporaryDirectory() as folder, floor(folder, *bytes_each) as server:
        found[FLOOR] = driven(server.pid, server.port, rate, seconds)
    return found


def table(rate: float, found: dict[str, list[float]]) -> str:
    """What a reader compares."""
    cells = [[name, *(f"{found[server][row]:.0f}" for server in found)] for row, name in enumerate(ROWS)]
    cells.append(["all", *(f"{sum(found[server]):.0f}" for server in found)])
    title = f"Microseconds of CPU an edit at {rate:,.0f} edits a second"
    return measure.table(title, ("", *found), cells)


def run(arguments: Sequence[str] = ()) -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--rate", type=float, action="append", help="edits a second")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    results = {}
    for rate in options.rate or RATES:
        results[rate] = measure.medians([once(rate, options.seconds) for _ in range(options.repeats)])
        print(table(rate, results[rate]))
    print(measure.save("shares", {"rows": ROWS, "results": results}, vars(options)))


if __name__ == "__main__":
    run(sys.argv[1:])
