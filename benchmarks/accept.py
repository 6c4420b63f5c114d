"""CPU of an accepted connection: TCP, upgrade and, for the gateway, authentication.

    python -m benchmarks.accept

The gateway is a whole embedded node, and each connection brings its own token (HS256), which is verified and
answered with AUTH_ACK; the others are bare: they upgrade and know nobody. Each connection is closed as soon
as it is answered. "Rate" is connections a second of one core, 1 / CPU. What the gateway spends on verifying
the token, most of it in PyJWT, is told apart: measured alone, in the benchmark's own process.
"""

from __future__ import annotations

import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from benchmarks import measure, node, transports
from gateway.admission import TokenVerifier
from gateway.config import Config

PEERS = (transports.FLOOR, node.NAME, transports.FAST, *transports.OTHERS)
BATCH = 100


def measured(name: str, connections: int) -> dict[str, float]:
    """CPU microseconds a connection of one peer."""
    requests = node.requests(connections) if name == node.NAME else [measure.request()] * connections
    start: Callable[[], AbstractContextManager[measure.Server]] = (
        node.started if name == node.NAME else lambda: transports.started(name)
    )
    with start() as server:
        come_and_go(server.port, requests[:BATCH])
        before_s = server.cpu_s()
        come_and_go(server.port, requests)
        cpu_s = server.cpu_s() - before_s
    return {"cpu_us": 1e6 * cpu_s / connections}


def verification_us(tokens: int) -> float:
    """CPU microseconds of verifying one token."""
    with tempfile.TemporaryDirectory() as folder:
        authenticator = TokenVerifier(Config().with_(auth={"secret_file": node.secret_file(folder)}))
    shown = [node.token(f"user-{number}") for number in range(tokens)]
    now_s, before_s = time.time(), time.thread_time()
    for token in shown:
        authenticator.verify(token, now_s)
    return 1e6 * (time.thread_time() - before_s) / tokens


def come_and_go(port: int, requests: Sequence[bytes]) -> None:
    """Open a batch of connections, wait for their answers, close them, and so on."""
    wanted = b'"AUTH_ACK"' if b"Authorization" in requests[0] else b"\r\n\r\n"
    for start in range(0, len(requests), BATCH):
        batch = [measure.connect(port, request) for request in requests[start : start + BATCH]]
        for client in batch:
            _await(client, wanted)
        for client in batch:
            client.close()


def _await(client: socket.socket, wanted: bytes) -> None:
    answer = b""
    while wanted not in answer:
        if not select.select([client], [], [], measure.TIMEOUT_S)[0]:
            raise TimeoutError(f"no answer: {answer!r}")
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError(f"refused: {answer!r}")
        answer += piece


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--connections", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    names = transports.present(PEERS)
    found = measure.repeated(names, options.repeats, lambda name: measured(name, options.connections))
    title = f"Accept: CPU a connection, {options.connections:,} connections"
    slow = found[transports.TRIO_WEBSOCKET]["cpu_us"]
    rows = [
        [name, f"{value['cpu_us']:.0f}", f"{1e6 / value['cpu_us']:,.0f}", f"{slow / value['cpu_us']:.1f}"]
        for name, value in found.items()
    ]
    columns = ("server", "us a connection", "connections/s of a core", "x the rate of trio-websocket")
    print(measure.table(title, columns, rows))
    token_us = verification_us(options.connections)
    print(f"Of the gateway's, verifying the token takes {token_us:.0f} us.")
    result = {"title": title, "unit": "us a connection", "results": found, "verification_us": token_us}
    measure.save("accept", result, vars(options))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
