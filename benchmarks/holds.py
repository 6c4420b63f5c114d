"""How long a node with many idle connections lets one client wait: what its loop does by itself.

    python -m benchmarks.holds [--connections 15000] [--seconds 90]

A whole embedded node; each connection is authenticated, and subscribed to an event that six look at. One more
client sends a PING message every 5 ms, or when the PONG of the one before is there. A minute has each task
that a node runs now and then: collector, sweeps, gauges, rooms tidied up. Milliseconds from when a PING was
due to its PONG; writes out/benchmarks/holds.json.
"""

from __future__ import annotations

import socket
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
    """From when each PING of one client was due to its PONG, for so long: seconds, ascending."""
    client = measure.connect(port, measure.request(node.PATH, node.token("prober")))
    measure.read_head(client)
    client.settimeout(measure.TIMEOUT_S)
    took_s: list[float] = []
    began_s = time.perf_counter()
    for number in range(int(seconds / INTERVAL_S)):
        due_s = began_s + number * INTERVAL_S
        measure.sleep_until(due_s)
        client.sendall(PING)
        await_pong(client)
        took_s.append(time.perf_counter() - due_s)
    client.close()
    return sorted(took_s)


def await_pong(client: socket.socket) -> None:
    """Read up to the answer; raises ConnectionError where the node hangs up."""
    while b'"PONG"' not in (received := client.recv(measure.RECEIVE_BYTES)):
        if not received:
            raise ConnectionError("the server closed the connection")


def held(connections: int, seconds: float) -> tuple[dict[str, float], float]:
    """Milliseconds by share while so many others are idle, and the cores that the node took."""
    requests = node.requests(connections)
    with node.started() as server, measure.herd(server.port, requests) as herd:
        subscribe(herd, 0)
        before_s = server.cpu_s()
        took_s = probed(server.port, seconds)
        cores = (server.cpu_s() - before_s) / seconds
    return {f"p{share:.1%}": 1000 * measure.percentile(took_s, share) for share in SHARES}, cores


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=90.0)
    options = parser.parse_args(arguments)
    raise_descriptors(options.connections + 100)
    found, cores = held(options.connections, options.seconds)
    title = f"Round trip of a PING beside {options.connections:,} idle connections, {options.seconds:g} s"
    print(measure.table(title, ("share", "ms"), [[name, f"{value:.2f}"] for name, value in found.items()]))
    print(f"the node took {cores:.1%} of a core")
    result = {"title": title, "results": found, "node_cpu_share": cores}
    print(measure.save("holds", result, vars(options)))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
