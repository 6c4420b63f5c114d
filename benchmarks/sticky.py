"""What it brings that the people of one resource meet at one node, of two behind HAProxy.

    python -m benchmarks.sticky [--documents 20] [--people 6] [--seconds 20] [--edits 40] [--rounds 3]

The shipped configuration with TLS sends a WebSocket that names a resource in its address where that follows
from the resource, and any other one to the node with the fewest connections. The same people connect both
ways, in turn, to nodes that were started for it; one of each document edits. Counted: announcements that a
node got from the other one for each edit, CPU of both nodes and of Redis for each edit. Writes
out/benchmarks/sticky.json.
"""

from __future__ import annotations

import argparse
import random
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import trio

from benchmarks import measure
from tests.certificates import self_signed
from tests.clients.wire import Wire, wire
from tests.deploy.haproxy import haproxy
from tests.deploy.nodes import Cluster
from tests.scraped import scraped
from tests.servers import redis_server

WAYS = ("fewest connections", "by resource")
SETTINGS = ("--set", 'server.proxies=["127.0.0.1"]', "--set", "limits.user_cpu_share=1")
KEYS: Mapping[str, str] = {
    "announcements": "announcements an edit",
    "nodes_us": "CPU of the nodes an edit, us",
    "redis_us": "CPU of Redis an edit, us",
}


class Crowd:
    """People in their documents, the first of each edits."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext, by_resource: bool) -> None:
        self._url = url
        self._token = token
        self._context = context
        self._by_resource = by_resource
        self._editors: list[tuple[str, Wire]] = []
        self._versions: Counter[str] = Counter()
        self.edits = 0

    async def join(self, stack: AsyncExitStack, document: int, person: int) -> None:
        """One more in a document."""
        url = f"{self._url}?resource=event:{document}" if self._by_resource else self._url
        opened = await stack.enter_async_context(wire(url, self._token, extended=True, ssl=self._context))
        await opened.ask("AUTH", {"client_id": f"{document}-{person}", "protocol": 1})
        await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": str(document)})
        if not person:
            self._editors.append((str(document), opened))

    async def edit(self, per_s: float, seconds: float) -> None:
        """Edits at a steady pace, one document after the other, each answered before the next."""
        versions = self._versions
        began_s = trio.current_time()
        while trio.current_time() < began_s + seconds:
            name, opened = self._editors[self.edits % len(self._editors)]
            value: object = f"title {self.edits}" if versions[name] else {"title": "first"}
            operation = {"op": "add", "path": "/title" if versions[name] else "", "value": value}
            payload = {"resource_id": name, "resource_type": "event", "version": versions[name]}
            done = await opened.ask("OP", {**payload, "operations": [operation]})
            versions[name] = done["version"]
            self.edits += 1
            opened.seen.clear()
            await trio.sleep_until(began_s + self.edits / per_s)


async def measured(options: argparse.Namespace, by_resource: bool, folder: Path) -> dict[str, float]:
    made = self_signed(folder)
    both = folder / "site.pem"
    both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    context = ssl.create_default_context(cafile=str(made.certificate))
    with redis_server() as redis:
        nodes = Cluster(folder / "data", redis.url, SETTINGS)
        try:
            for number in range(2):
                await nodes.start(number)
            with haproxy(nodes.places, both) as balancer:
                await trio.sleep(3)
                async with AsyncExitStack() as stack:
                    crowd = Crowd(balancer.url, nodes.token, context, by_resource)
                    places = [(d, p) for d in range(options.documents) for p in range(options.people)]
                    random.Random(1).shuffle(places)  # people come as they like
                    for place in places:
                        await crowd.join(stack, *place)
                    return await _counted(options, crowd, nodes, redis.pid)
        finally:
            with trio.CancelScope(shield=True):
                await nodes.close()


async def _counted(
    options: argparse.Namespace, crowd: Crowd, nodes: Cluster, redis_pid: int
) -> dict[str, float]:
    await crowd.edit(options.edits, 3.0)
    crowd.edits = 0
    pids = nodes.pids
    before = [await _announced(nodes), _cpu_s(pids), _cpu_s([redis_pid])]
    await crowd.edit(options.edits, options.seconds)
    await trio.sleep(0.5)
    after = [await _announced(nodes), _cpu_s(pids), _cpu_s([redis_pid])]
    announced, nodes_s, redis_s = (new - old for new, old in zip(after, before, strict=True))
    return {
        "announcements": announced / crowd.edits,
        "nodes_us": nodes_s / crowd.edits * 1e6,
        "redis_us": redis_s / crowd.edits * 1e6,
    }


async def _announced(nodes: Cluster) -> float:
    """Announcements that nodes received, all in all."""
    found = [await scraped(f"http://127.0.0.1:{place.admin_port}") for place in nodes.places]
    return sum(samples.value("gateway_bus_received_total") for samples in found)


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--people", type=int, default=6, help="in each document")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--edits", type=float, default=40.0, help="a second, all in all")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    began_s = time.monotonic()
    for number in range(options.rounds):
        for way in WAYS:
            print(f"{way}, {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                rounds[way].append(trio.run(measured, options, way == WAYS[1], Path(folder)))
    medians = {way: measure.medians(found) for way, found in rounds.items()}
    title = f"{options.documents} documents of {options.people} people, two nodes, {options.edits:g} edits/s"
    rows = [[name, *(f"{medians[way][key]:.2f}" for way in WAYS)] for key, name in KEYS.items()]
    print(measure.table(title, ("", *WAYS), rows))
    result = {"title": title, "results": medians, "rounds": rounds, "took_s": time.monotonic() - began_s}
    print(measure.save("sticky", result, vars(options)))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
