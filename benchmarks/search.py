"""How fast changes are indexed beside a writing log, and how fast they are found.

    python -m benchmarks.search --changes 1000000 --rate 2000 --seconds 60
    python -m benchmarks.search edits          # CPU of a node an edit, with and without an index, in turn
    python -m benchmarks.search server --url http://127.0.0.1:9200
    python -m benchmarks.search server --elasticsearch    # a node that is made for it: needs Java 17

Without a word: a log is filled, its index made; then changes come at the rate, with the indexer's process
beside, whose lag and CPU are looked at; then searches, each kind many times. `--data` keeps log and index in
a directory, and goes on with what is there. `server`: the same changes go to a search server, in steps as the
indexer takes them; then the same searches. Its index is new, and goes at the end. With `--elasticsearch` that
server is a node of Elasticsearch 7.0's own classes on loopback (benchmarks/elasticsearch says what isn't its
own), which is fetched, compiled, started and ended here: a JDK, pip and 68 MB once, about three minutes for
1,000,000 changes. Figures are printed, and written to out/benchmarks/search-server.json.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import orjson
import trio

from benchmarks import elasticsearch, measure
from benchmarks.gateways import UNLIMITED, served
from benchmarks.measure import cpu_s, percentile
from gateway.config import SearchSettings
from gateway.errors import ConfigError, LogUnavailable
from gateway.log.search.embedded import FORMAT_VERSION, INDEX, SqliteSearch, format_of
from gateway.log.search.follower import build
from gateway.log.search.indexer import CHANGES_A_STEP
from gateway.log.search.opensearch import OpenSearchIndex
from gateway.log.search.rest import HttpRest
from gateway.log.sqlite.log import SqliteLog
from gateway.ports import Batch, Committed, Record
from gateway.ports.search import EVERYTHING, IndexEntry, Kind, Scope, SearchIndex, Wanted
from gateway.search.terms import terms_of

ROOMS = 5_000
ROOMS_A_BATCH = 100
WORDS = [
    *(
        "team",
        "lunch",
        "dinner",
        "budget",
        "review",
        "plan",
        "travel",
        "meeting",
        "hotel",
        "flight",
        "agenda",
    ),
    *(
        "minutes",
        "notes",
        "project",
        "launch",
        "board",
        "client",
        "contract",
        "invoice",
        "delivery",
        "sprint",
    ),
    *("retro", "training", "interview", "offer", "holiday", "birthday", "dentist", "会議", "打ち合わせ"),
    *("東京", "出張", "予算", "資料", "昼食", "面接", "契約", "来週"),
]
SEARCHES = 100
CHANGES_MIN = 100
SERVER_TIMEOUT_S = 60.0
PROGRESS_S = 10.0


class Writer:
    """Appends changes of many rooms to a log: a title, a note or a time each."""

    def __init__(self, log: SqliteLog, epoch: int, seed: int = 1) -> None:
        self._log = log
        self._epoch = epoch
        self._rng = random.Random(seed)
        self._versions = [0] * ROOMS
        self.changes = 0

    async def go_on(self) -> None:
        """With what the log has already."""
        for room in range(ROOMS):
            opening = await self._log.open(f"event:{room}")
            self._versions[room] = opening.version
        self.changes = sum(self._versions)
        self._rng.seed(self.changes)

    async def append(self, count: int) -> None:
        """About so many changes, one a room."""
        rooms = self._rng.sample(range(ROOMS), count)
        batches = [self._batch(room) for room in rooms]
        outcomes = await self._log.append(batches)
        assert all(outcome == Committed() for outcome in outcomes), outcomes[:3]

    def _batch(self, room: int) -> Batch:
        version = self._versions[room]
        self._versions[room] += 1
        self.changes += 1
        text = text_of(self._rng, self.changes)
        value = {"title": text} if version == 0 else text
        operation = {"op": "add", "path": "" if version == 0 else "/title", "value": value}
        stamp = time.time_ns() // 1_000_000
        user = f"user-{room % 200}"
        body = {"version": version + 1, "op_id": f"o{self.changes}", "user_id": user}
        body |= {"timestamp": stamp, "operations": [operation]}
        record = Record(version + 1, orjson.dumps(body), user, "c", None, "", stamp, None)
        return Batch(f"event:{room}", self._epoch, version, f"n{self.changes}", [record])


def text_of(rng: random.Random, number: int) -> str:
    """A title, which ends with the number of its change."""
    return " ".join(rng.choices(WORDS, k=6)) + f" {number}"


async def filled(data: Path, changes: int) -> tuple[SqliteLog, Writer]:
    """A log with so many changes."""
    log = SqliteLog(data)
    writer = Writer(log, (await log.open("event:0")).epoch)
    await writer.go_on()
    while writer.changes < changes:
        await writer.append(1000)
    return log, writer


async def paced(writer: Writer, rate: int, seconds: float) -> float:
    """Append at a rate; the changes a second that there were."""
    began, first = trio.current_time(), writer.changes
    step_s = ROOMS_A_BATCH / rate
    due = began
    while due < began + seconds:
        await writer.append(ROOMS_A_BATCH)
        due += step_s
        await trio.sleep_until(due)
    return (writer.changes - first) / (trio.current_time() - began)


async def lags(data: Path, found_ms: list[int], spent_s: list[float]) -> None:
    """Look, until cancelled, how far the process beside is behind, as it tells, and what CPU it took."""
    command = [sys.executable, "-m", "gateway.log.search.follower", str(data)]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        rest = b""
        async for chunk in process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            found_ms += [json.loads(line)["lag_ms"] for line in lines]
            spent_s.append(cpu_s(process.pid))
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.wait()


async def timed(index: SearchIndex, query: str, scope: Scope = EVERYTHING, **wanted: object) -> list[float]:
    """What so many searches took, in milliseconds."""
    took = []
    for _ in range(SEARCHES):
        asked = Wanted(scope, terms_of(query), 20)._replace(**wanted)  # type: ignore[arg-type]
        began = time.perf_counter()
        await index.find(asked)
        took.append((time.perf_counter() - began) * 1000)
    return took


async def measured(changes: int, rate: int, seconds: float, kept: Path | None) -> None:
    """Everything, printed as it comes."""
    with ExitStack() as stack:
        data = kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        began = time.perf_counter()
        log, writer = await filled(data, changes)
        say("filled", changes=writer.changes, seconds=time.perf_counter() - began)
        if format_of(data / INDEX) != FORMAT_VERSION:
            began = time.perf_counter()
            numbers = await build(data)
            took_s = time.perf_counter() - began
            size = (data / INDEX).stat().st_size
            say("indexed", changes=numbers.changes, a_second=numbers.changes / took_s, index_mb=size / 1e6)
        await beside(data, writer, rate, seconds)
        await searched(SqliteSearch(data / INDEX), writer.changes)
        await log.aclose()


async def beside(data: Path, writer: Writer, rate: int, seconds: float) -> None:
    """Changes that come at the rate, and what the process beside makes of them."""
    found_ms: list[int] = []
    spent_s: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lags, data, found_ms, spent_s)
        while True:
            await trio.sleep(2)
            if found_ms and found_ms[-1] == 0:  # it has caught up
                break
        looks, before, first = len(found_ms), spent_s[-1], writer.changes
        got = await paced(writer, rate, seconds)
        spent_us = (spent_s[-1] - before) / (writer.changes - first) * 1e6
        nursery.cancel_scope.cancel()
    ordered = sorted(found_ms[looks:])
    lag = {"lag_ms_max": ordered[-1], "lag_ms_p95": percentile(ordered, 0.95), "cpu_us_a_change": spent_us}
    say("beside", a_second=got, looks=len(ordered), **lag)


async def searched(index: SearchIndex, changes: int) -> dict[str, dict[str, float]]:
    """Searches of each kind, printed as they come; closes the index. The figures of each, in milliseconds."""
    few = Scope(names=frozenset(f"event:{room}" for room in range(20)))
    some = Scope(prefixes=frozenset({"event:1"}))
    nothing = Scope(names=frozenset({"event:none"}))
    kinds: list[tuple[str, str, Scope, dict[str, object]]] = [
        ("a rare word", str(changes - 5), EVERYTHING, {}),
        ("a common word", "meeting", EVERYTHING, {}),
        ("two words", "budget review", EVERYTHING, {}),
        ("two characters", "会議", EVERYTHING, {}),
        ("one character", "東", EVERYTHING, {}),
        ("nothing that matches", "zzzzzz", EVERYTHING, {}),
        ("of one user", "meeting", EVERYTHING, {"user_id": "user-7"}),
        ("documents", "meeting", EVERYTHING, {"kind": "document"}),
        ("20 resources granted", "meeting", few, {}),
        ("a beginning granted", "meeting", some, {}),
        ("nothing granted", "meeting", nothing, {}),
    ]
    every: list[float] = []
    figures: dict[str, dict[str, float]] = {}
    for name, query, scope, wanted in kinds:
        took = await timed(index, query, scope, **wanted)
        every += took
        figures[name] = {"p50_ms": statistics.median(took), "p95_ms": percentile(sorted(took), 0.95)}
        say(name, **figures[name])
    figures["all searches"] = {"p95_ms": percentile(sorted(every), 0.95)}
    say("all searches", **figures["all searches"])
    began = time.perf_counter()
    count = await index.count(Wanted(EVERYTHING, terms_of("meeting")), 10_000)
    say("counting to 10,000", count=count, ms=(time.perf_counter() - began) * 1000)
    await index.aclose()
    return figures


# ------------------------------------------------------------------------------------------ a server


@asynccontextmanager
async def on_server(url: str) -> AsyncIterator[OpenSearchIndex]:
    """A new index there, which goes at the end."""
    rest = HttpRest(SearchSettings(url=url, timeout_s=SERVER_TIMEOUT_S))
    index = OpenSearchIndex(rest, f"benchmark-{time.time_ns()}")
    await index.make()
    try:
        yield index
    finally:
        with trio.CancelScope(shield=True):
            await index.drop()
            await rest.aclose()


async def measured_server(changes: int, url: str) -> None:
    """What it takes to fill a server's index, and to search it."""
    async with on_server(url) as index:
        a_second = await stored(index, changes)
        say("indexed", changes=changes, a_second=a_second)
        figures = await searched(index, changes)
    found = {"indexed_a_second": a_second, "searches": figures}
    print(f"written to {measure.save('search-server', found, {'changes': changes})}")


async def stored(index: OpenSearchIndex, changes: int) -> float:
    """Store so many, which says now and then how far it is; changes a second."""
    rng = random.Random(1)
    versions = [0] * ROOMS
    began = told_s = time.perf_counter()
    for done in range(0, changes, CHANGES_A_STEP):
        await index.store(entries(rng, versions, done, min(CHANGES_A_STEP, changes - done)))
        if time.perf_counter() > told_s + PROGRESS_S:
            told_s = time.perf_counter()
            print(f"  {done:,} of {changes:,} changes", file=sys.stderr, flush=True)
    await index.refresh()
    return changes / (time.perf_counter() - began)


def on_server_at(url: str, changes: int) -> None:
    """The same on the server that is there; ends the program with a line where there is none."""
    try:
        trio.run(measured_server, changes, url)
    except (ConfigError, LogUnavailable) as error:
        sys.exit(f"There is nothing to measure at {url}: {error}")


def on_elasticsearch(changes: int, heap_mb: int) -> None:
    """The same on a node of Elasticsearch's classes, which begins and ends with it."""
    try:
        with elasticsearch.server(heap_mb) as url:
            on_server_at(url, changes)
    except elasticsearch.CannotStart as error:
        sys.exit(f"There is no Elasticsearch here: {error}")


def entries(rng: random.Random, versions: list[int], done: int, count: int) -> list[IndexEntry]:
    """The next changes, one a room, each with the document that it made."""
    found = []
    for number, room in enumerate(rng.sample(range(ROOMS), count), start=done + 1):
        versions[room] += 1
        text = text_of(rng, number)
        kinds: tuple[Kind, ...] = ("change", "document")
        for kind in kinds:
            about = ("event", str(room), 1, versions[room], f"user-{room % 200}", time.time_ns() // 1_000_000)
            found.append(IndexEntry(kind, *about, text))
    return found


def say(name: str, **figures: float) -> None:
    """A line of figures."""
    print(f"{name:<24}", *(f"{key} {value:,.1f}" for key, value in figures.items()), flush=True)


# ------------------------------------------------------------------------------------------- an edit


def an_edit_us(searched: bool, edits: int) -> float:
    """CPU microseconds of the node's own process an edit over HTTP."""
    index = ("--set", f"search.enabled={'true' if searched else 'false'}")
    with (
        tempfile.TemporaryDirectory() as folder,
        served(folder, *UNLIMITED, *index) as node,
        httpx.Client(base_url=node.http, headers=node.headers(), timeout=30) as client,
    ):
        for number in range(200):
            client.put(f"/v1/resources/event/{number}", json={"title": "warm"}).raise_for_status()
        time.sleep(3.5)  # the indexer is there
        before_s = cpu_s(node.pid)
        for number in range(edits):
            text = f"meeting about the budget {number}"
            client.put(f"/v1/resources/event/{number % 200}", json={"title": text}).raise_for_status()
        return (cpu_s(node.pid) - before_s) / edits * 1e6


def edits_compared(edits: int, turns: int) -> None:
    """With and without an index, in turn."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(turns):
        for searched in (False, True):
            found[searched].append(an_edit_us(searched, edits))
    without, with_index = statistics.median(found[False]), statistics.median(found[True])
    say("an edit", without_us=without, with_us=with_index, more_percent=(with_index / without - 1) * 100)


def enough(text: str) -> int:
    """A number of changes that can be searched in."""
    count = int(text)
    if count < CHANGES_MIN:
        raise argparse.ArgumentTypeError(f"{count} changes are too few to search in: {CHANGES_MIN} at least")
    return count


def main(arguments: Sequence[str]) -> None:
    """The program."""
    parser = measure.parser(__doc__)
    parser.add_argument("what", nargs="?", choices=("index", "edits", "server"), default="index")
    parser.add_argument("--changes", type=enough, default=1_000_000, help="so many are indexed (1,000,000)")
    parser.add_argument("--rate", type=int, default=2000, help="index: changes a second beside (2,000)")
    parser.add_argument("--seconds", type=float, default=60, help="index: for so long (60)")
    parser.add_argument("--data", type=Path, help="index: a directory that is kept")
    parser.add_argument("--edits", type=int, default=3000, help="edits: so many a turn (3,000)")
    parser.add_argument("--turns", type=int, default=5, help="edits: so many turns of each (5)")
    parser.add_argument("--url", default="http://127.0.0.1:9200", help="server: where it is")
    parser.add_argument("--elasticsearch", action="store_true", help="server: one that is made for it")
    parser.add_argument("--heap-mb", type=int, default=elasticsearch.HEAP_MB, help="its Java heap (3,072)")
    given = parser.parse_args(arguments)
    if given.what == "edits":
        edits_compared(given.edits, given.turns)
    elif given.what == "server" and given.elasticsearch:
        on_elasticsearch(given.changes, given.heap_mb)
    elif given.what == "server":
        on_server_at(given.url, given.changes)
    else:
        trio.run(measured, given.changes, given.rate, given.seconds, given.data)


if __name__ == "__main__":
    main(sys.argv[1:])
