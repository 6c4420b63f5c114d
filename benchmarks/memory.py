"""Memory and CPU of idle connections.

    python -m benchmarks.memory

The gateway is a whole embedded node; each of its connections is authenticated by a token of its own and
subscribed to an event that six look at. The transports' connections are bare. Memory is the growth of the
server's resident set; the kernel's socket buffers are not in it. Idle CPU is the node's over a quiet stretch:
with pings switched off (what the sweeps and the loop cost), and with one a connection each 30 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks import measure, node, transports
from benchmarks.measure import Herd, Server
from gateway.runtime.interpreter import raise_descriptors

PEERS = (transports.FAST, *transports.OTHERS, transports.PORTABLE)
PEER_CONNECTIONS = 3000
SUBSCRIBERS = 6
WARM = 100
PING_INTERVAL_S = 30.0


def subscription(number: int) -> bytes:
    """The SUBSCRIBE of one client, and its id, which the session then knows."""
    event = number // SUBSCRIBERS
    message = f'{{"type":"SUBSCRIBE","id":"s","payload":{{"resource":"event","resource_id":"{event}"}}}}'
    return measure.masked(message.encode())


def subscribe(herd: Herd, first: int) -> None:
    """Subscribe the herd's clients from this one on, and wait until all is quiet."""
    for number, client in enumerate(herd.sockets[first:], first):
        client.send(subscription(number))
        if number % 500 == 499:
            herd.settle(0.05)
    herd.settle(1.0)


def node_memory(connections: int, idle_s: float, ping_interval_s: float) -> dict[str, float]:
    """RSS a connection and the share of a core while idle, of a gateway node."""
    requests = node.requests(connections + WARM)
    with node.started(ping_interval_s) as server, measure.herd(server.port, requests[:WARM]) as herd:
        subscribe(herd, 0)
        before = server.rss_bytes()
        herd.open(requests[WARM:])
        subscribe(herd, WARM)
        rss = (server.rss_bytes() - before) / connections
        return {"rss_bytes": rss, "idle_cpu_share": idle_share(server, herd, idle_s)}


def idle_share(server: Server, herd: Herd, idle_s: float) -> float:
    """CPU of the server over a quiet stretch, as a share of one core; pings are answered."""
    herd.settle(1.0)
    before_s, start_s = server.cpu_s(), time.perf_counter()
    herd.answer_pings(idle_s)
    return (server.cpu_s() - before_s) / (time.perf_counter() - start_s)


def peer_memory(name: str) -> dict[str, float]:
    """RSS a connection of a peer."""
    with transports.started(name) as server, measure.herd(server.port, [measure.request()] * WARM) as herd:
        before = server.rss_bytes()
        herd.open([measure.request()] * PEER_CONNECTIONS)
        herd.settle(0.5)
        return {"rss_bytes": (server.rss_bytes() - before) / PEER_CONNECTIONS}


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--idle-s", type=float, default=35.0)
    options = parser.parse_args(arguments)
    raise_descriptors(options.connections + 2 * WARM)
    quiet = node_memory(options.connections, options.idle_s, 3600.0)
    pinging = node_memory(options.connections, options.idle_s, PING_INTERVAL_S)
    found = {node.NAME: quiet} | measure.repeated(transports.present(PEERS), 1, peer_memory)
    title = (
        f"Memory of an idle connection ({options.connections:,} of the node, {PEER_CONNECTIONS:,} of others)"
    )
    rows = [[name, f"{value['rss_bytes'] / 1000:.1f}"] for name, value in found.items()]
    print(measure.table(title, ("server", "KB RSS a connection"), rows))
    print(
        f"\nIdle CPU of the node with {options.connections:,} connections: {quiet['idle_cpu_share']:.2%} of "
        f"a core without pings, {pinging['idle_cpu_share']:.2%} with a ping each {PING_INTERVAL_S:.0f} s"
    )
    result = {"title": title, "unit": "bytes a connection", "results": found, "pinging": pinging}
    measure.save("memory", result, vars(options))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
