"""CPU of a delivery: one message to many connections, one message a write, equal bytes.

    python -m benchmarks.broadcast

A round is one "!all" command; the next one starts when every client has its message, so no socket is ever
full. CPU is the server process's own, from the scheduler's accounting; medians of interleaved repeats.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks import measure, transports


def measured(name: str, clients: int, rounds: int, size: int) -> dict[str, float]:
    """CPU microseconds a delivery of one peer."""
    command = measure.masked(b"!all %d" % size)
    round_bytes = clients * measure.frame_bytes(size) + measure.frame_bytes(2)
    with (
        transports.started(name) as server,
        measure.herd(server.port, [measure.request()] * (clients + 1)) as herd,
    ):
        author = herd.sockets[0]
        for number in range(rounds + 3):
            if number == 3:  # the first ones warm up
                before_s = server.cpu_s()
            author.sendall(command)
            herd.receive(round_bytes)
        return {"cpu_us": 1e6 * (server.cpu_s() - before_s) / (rounds * clients)}


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--size", type=int, default=200, help="bytes of a message")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    found = measure.repeated(
        transports.present(transports.PEERS),
        options.repeats,
        lambda name: measured(name, options.clients, options.rounds, options.size),
    )
    rows = rows_of(found)
    title = f"Broadcast: CPU a delivery, {options.clients:,} connections, {options.size} bytes"
    print(measure.table(title, ("server", "us a delivery", "x bare C"), rows))
    result = {"title": title, "unit": "us a delivery", "results": found}
    measure.save("broadcast", result, vars(options))
    return result


def rows_of(found: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    floor = found.get(transports.FLOOR, {}).get("cpu_us")
    return [
        [name, f"{value['cpu_us']:.2f}", f"{value['cpu_us'] / floor:.2f}" if floor else "-"]
        for name, value in found.items()
    ]


if __name__ == "__main__":
    run(sys.argv[1:])
