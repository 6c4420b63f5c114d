"""How long a node with many idle connections lets one client wait: what its loop does by itself.

    python -m benchmarks.holds [--connections 15000] [--seconds 90]

A whole embedded node; each connection is authenticated, and subscribed to an event that six look at. One more
client sends a PING message every 5 ms and waits for its PONG. A minute has each task that a node runs now and
then: collector, sweeps, gauges, rooms tidied up. Milliseconds; writes out/benchmarks/holds.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks import measure, node
from benchmarks.memory import subscribe
from gateway.runtime.interpreter import raise_descriptors

INTERVAL_S = 0.005
PING = measure.masked(b'{"type":"PING","id":"p"}')
SHARES = (0.5, 0.99, 0.999, 1.0)


def probed(port: int, seconds: float) -> list[float]:
    """Round trips of one client for so long, in seconds, ascending."""
    client = measure.connect(port, measure.request(node.PATH, node.token(1 << 20)))
    measure.read_head(client)
    client.settimeout(measure.TIMEOUT_S)
    took_s: list[float] = []
    end_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < end_s:
        client.sendall(PING)
        while b'"PONG"' not in client.recv(measure.RECEIVE_BYTES):
            pass
        took_s.append(time.perf_counter() - began_s)
        time.sleep(INTERVAL_S)
    client.close()
    return sorted(took_s)


def held(connections: int, seconds: float) -> dict[str, float]:
    """Round trips in milliseconds, by share, while so many others are idle."""
    requests = [measure.request(node.PATH, node.token(number)) for number in range(connections)]
    with node.started() as server, measure.herd(server.port, requests) as herd:
        subscribe(herd, 0)
        before_s = server.cpu_s()
        took_s = probed(server.port, seconds)
        found = {f"p{share:.1%}": took_s[int(share * (len(took_s) - 1))] * 1000 for share in SHARES}
        return {**found, "node_cpu_share": (server.cpu_s() - before_s) / seconds}


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=90.0)
    options = parser.parse_args(arguments)
    raise_descriptors(options.connections + 100)
    found = held(options.connections, options.seconds)
    title = f"Round trip of a PING beside {options.connections:,} idle connections, {options.seconds:g} s"
    print(measure.table(title, ("share", "ms"), [[name, f"{value:.2f}"] for name, value in found.items()]))
    result = {"title": title, "results": found, "options": vars(options)}
    print(measure.save("holds", result))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
