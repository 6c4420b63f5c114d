"""CPU of an echo: every connection sends a message and gets it back, again and again.

    python -m benchmarks.echo

A round is one message from every connection; the next one starts when all are back. CPU is the server
process's own, from the scheduler's accounting; medians of interleaved repeats.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks import measure, transports


def measured(name: str, clients: int, rounds: int, size: int) -> dict[str, float]:
    """CPU microseconds an echo of one peer."""
    message = measure.masked(b"x" * size)
    round_bytes = clients * measure.frame_bytes(size)
    with transports.started(name) as server, measure.herd(server.port, [measure.request()] * clients) as herd:
        for number in range(rounds + 3):
            if number == 3:  # the first ones warm up
                before_s = server.cpu_s()
            for client in herd.sockets:
                client.send(message)
            herd.receive(round_bytes)
        return {"cpu_us": 1e6 * (server.cpu_s() - before_s) / (rounds * clients)}


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--size", type=int, default=200, help="bytes of a message")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    found = measure.repeated(
        transports.present(transports.PEERS),
        options.repeats,
        lambda name: measured(name, options.clients, options.rounds, options.size),
    )
    title = f"Echo: CPU a message, {options.clients:,} connections, {options.size} bytes"
    slow = found[transports.TRIO_WEBSOCKET]["cpu_us"]
    rows = [
        [name, f"{value['cpu_us']:.2f}", f"{slow / value['cpu_us']:.1f}"] for name, value in found.items()
    ]
    print(measure.table(title, ("server", "us a message", "x less than trio-websocket"), rows))
    result = {"title": title, "unit": "us a message", "results": found}
    measure.save("echo", result, vars(options))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
