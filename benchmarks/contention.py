"""Nodes whose authors edit one document as fast as they can: who gets how much, and who is refused how often.

    python -m benchmarks.contention [--nodes 2 4 8] [--seconds 8] [--repeats 3] [--far-ms 4] [--stales 3 1000]

Each node is a process with its hub over a real Redis or Valkey; sockets are left out. `--stales` are values
of `redis.reservation_stales` to be measured in turn; with 1000 nobody reserves a head. With `--far-ms` the
first node's way to the server takes so much longer each way. A fair share is the mean. Refusals are
batches that the log didn't take: `STALE`, for others were faster, or the head was reserved for another node.
Writes out/benchmarks/contention.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import trio

from benchmarks import measure
from benchmarks.edit import Listeners
from gateway import ot
from gateway.admission import Schemas
from gateway.bus.redis import RedisBus
from gateway.config import Config
from gateway.errors import Refusal
from gateway.hub.hub import Hub
from gateway.log.redis.log import RedisLog
from gateway.ports import Batch, Outcome, Reserved, Stale
from gateway.redislink.shards import Shards
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.runtime.clock import unix_ms
from gateway.runtime.metrics import Counters
from tests.proxy import tcp_proxy
from tests.servers import redis_server

RESOURCE = "event:contended"
AUTHORS = 2
WARM_UP_S = 2.0
GATE_SHARE = 1 / 4
GATE_REFUSALS = 8


class Author:
    """Sets the title again and again; `committed_count` says how often it got there."""

    connection = None
    extended = False

    def __init__(self, hub: Hub, room: Room, name: str) -> None:
        self.committed_count = 0
        self._hub, self._room, self._name = hub, room, name
        self._answered = trio.Event()

    def worked(self, units: int) -> None:
        """Nobody is charged here."""

    def committed(self, submission: Submission, version: int) -> None:
        self.committed_count += 1
        self._answered.set()

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        raise AssertionError(refusal.message)

    async def live(self) -> None:
        number = 0
        while True:
            number += 1
            value: Any = f"{self._name} {number}"
            path = "/title"
            if self._room.document is None:
                path, value = "", {"title": value}
            await self._submit([{"op": "add", "path": path, "value": value}], number)

    async def _submit(self, patch: list[dict[str, Any]], number: int) -> None:
        room, self._answered = self._room, trio.Event()
        operations = ot.lower(room.document, patch, None, self._hub.patch_limits)
        who = (self, self._name, "client", f"{self._name}-{number}")
        room.submit(Submission(*who, room.version, patch, operations, trio.current_time(), 100))
        await self._answered.wait()


@dataclass
class Refusals:
    """How often a node's batches of the room were refused in a row: at most, and all in all."""

    log: RedisLog
    longest: int = 0
    longest_stale: int = 0
    appends: int = 0
    refused: int = 0
    _row: int = field(default=0)
    _stale: int = field(default=0)

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """The log's own, with its answers counted."""
        outcomes = await self.log.append(batches)
        for outcome in outcomes:
            self.appends += 1
            if isinstance(outcome, Stale | Reserved):
                self.refused += 1
                self._row += 1
                self._stale += isinstance(outcome, Stale)
                self.longest = max(self.longest, self._row)
                self.longest_stale = max(self.longest_stale, self._stale)
            else:
                self._row = self._stale = 0
        return outcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


async def node(name: str, url: str, stales: int, seconds: float) -> None:
    """One node: says `ready`, waits for a line, edits, and prints what it saw as JSON."""
    config = Config().with_(redis={"urls": (url,), "reservation_stales": stales})
    shards = Shards(config.redis)
    async with trio.open_nursery() as nursery:
        await nursery.start(shards.run)
        bus = RedisBus(shards)
        counted = Refusals(RedisLog(shards, config))
        rules, counters = Schemas(config), Counters()
        hub = Hub(config, counted, bus, rules, counters, Listeners, unix_ms, trio.current_time)
        await nursery.start(bus.run)
        await nursery.start(hub.run)
        room = await hub.open(RESOURCE)
        with room.watched(lambda: None):
            authors = [Author(hub, room, f"{name}-{number}") for number in range(AUTHORS)]
            print("ready", flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            for author in authors:
                nursery.start_soon(author.live)
            await trio.sleep(WARM_UP_S)
            counted.longest = counted.longest_stale = counted.appends = counted.refused = 0
            before = [author.committed_count for author in authors]
            cpu_s = time.process_time()
            await trio.sleep(seconds)
            shares = [author.committed_count - first for author, first in zip(authors, before, strict=True)]
        found = {
            "shares": shares,
            "row": counted.longest,
            "stale_row": counted.longest_stale,
            "appends": counted.appends,
            "refused": counted.refused,
            "cpu_s": time.process_time() - cpu_s,
        }
        print(json.dumps(found), flush=True)
        nursery.cancel_scope.cancel()


async def together(nodes: int, stales: int, seconds: float, far_ms: float) -> dict[str, float]:
    """What so many nodes on one document got."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_server())
        port = server.port
        if far_ms:
            proxy = await stack.enter_async_context(tcp_proxy(server.port))
            proxy.delay_s = far_ms / 1000
            port = proxy.port
        ports = [port, *[server.port] * (nodes - 1)]
        children = [
            stack.enter_context(_started(f"n{number}", f"redis://127.0.0.1:{at}?name=one", stales, seconds))
            for number, at in enumerate(ports)
        ]
        for child in children:
            assert await _line(child) == "ready"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        found = [json.loads(await _line(child)) for child in children]
    return summary(found, seconds)


def _started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.contention", "--node", *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return (await trio.to_thread.run_sync(child.stdout.readline)).strip()


def summary(found: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, float]:
    """The figures of one run, from those of its nodes."""
    shares = [share for each in found for share in each["shares"]]
    fair = statistics.mean(shares)
    return {
        "edits_per_s": sum(shares) / seconds,
        "least": min(shares) / fair,
        "most": max(shares) / fair,
        "row": max(each["row"] for each in found),
        "stale_row": max(each["stale_row"] for each in found),
        "refused": sum(each["refused"] for each in found) / max(1, sum(each["appends"] for each in found)),
        "cpu_ms": 1000 * sum(each["cpu_s"] for each in found) / max(1, sum(shares)),
    }


def run(arguments: Sequence[str]) -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--far-ms", type=float, default=0.0)
    parser.add_argument("--stales", type=int, nargs="+", default=[3, 1000])
    options = parser.parse_args(arguments)
    cases = {
        f"{nodes} nodes, reservation_stales {stales}": (nodes, stales)
        for nodes in options.nodes
        for stales in options.stales
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for number in range(options.repeats):
        for name, (nodes, stales) in cases.items():
            print(f"{name}, {number + 1} of {options.repeats}", file=sys.stderr, flush=True)
            runs[name].append(trio.run(together, nodes, stales, options.seconds, options.far_ms))
    title = f"Contention on one document, {AUTHORS} authors a node, {options.far_ms:g} ms to the first node"
    print(table(title, runs))
    print(measure.save("contention", {"title": title, "runs": runs}, vars(options)))


def table(title: str, runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The worst of the runs where a gate is on it, else the median."""
    rows = []
    for name, found in runs.items():
        least = min(run["least"] for run in found)
        row = max(run["row"] for run in found)
        held = least >= GATE_SHARE and row <= GATE_REFUSALS
        cells = [name, f"{least:.2f}", f"{max(run['most'] for run in found):.2f}", f"{row:.0f}"]
        cells.append(f"{max(run['stale_row'] for run in found):.0f}")
        for key, form in (("refused", "{:.1%}"), ("edits_per_s", "{:,.0f}"), ("cpu_ms", "{:.2f}")):
            cells.append(form.format(statistics.median(run[key] for run in found)))
        rows.append([*cells, "yes" if held else "no"])
    columns = (
        *("case", "least share", "most", "refusals in a row", "STALE in a row", "refused"),
        *("edits/s", "CPU ms an edit", "gate held"),
    )
    return measure.table(title, columns, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--node"]:
        name, url, stales, seconds = sys.argv[2:]
        trio.run(node, name, url, int(stales), float(seconds))
    else:
        run(sys.argv[1:])
