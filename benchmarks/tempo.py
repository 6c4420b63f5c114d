"""How fast the machine is at a moment: the CPU of a control, which does the same small work all the time.

    python -m benchmarks.tempo          answers messages on a port, which it prints
    python -m benchmarks.tempo PORT     exchanges EXCHANGES_PER_S messages with it

A machine that others share isn't always as fast: the same run took 0.19 cores and, a minute later, 0.28. Who
was on the same processor isn't seen from within. The control shows it: two processes that wake each other,
read JSON, write JSON, as a server and its clients do. What a run took, by what the control took meanwhile,
differs between repeats by a third to a half of what the CPU itself does.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import trio

from benchmarks.measure import Server

EXCHANGES_PER_S = 200
SAMPLE_S = 0.1
MESSAGE = {"operations": [{"type": "insert", "position": k, "text": f"word {k} "} for k in range(4)]}
BYTES_MAX = 1 << 16


class Control:
    """The two processes, and what they used by when. `watch` samples it; times are seconds since 1970."""

    def __init__(self, processes: Sequence[Server]) -> None:
        self._processes = processes
        self._at_s: list[float] = []
        self._cpu_s: list[float] = []

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self._at_s.append(time.time())
            self._cpu_s.append(sum(process.cpu_s() for process in self._processes))
            await trio.sleep(SAMPLE_S)

    def cores(self, start_s: float, end_s: float) -> float:
        """What it took meanwhile."""
        first, last = np.interp([start_s, end_s], self._at_s, self._cpu_s)
        return float(last - first) / (end_s - start_s)


@contextmanager
def control() -> Iterator[Control]:
    """A control that runs."""
    command = [sys.executable, "-m", __name__]
    with Server.started(command) as server, Server.started([*command, str(server.port)]) as client:
        yield Control([server, client])


def _answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        connection, _ = listening.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while received := connection.recv(BYTES_MAX):
            connection.send(json.dumps(json.loads(received)).encode())


def _exchange(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(port, flush=True)
        due_s = time.monotonic()
        while True:
            connection.send(json.dumps(MESSAGE).encode())
            json.loads(connection.recv(BYTES_MAX))
            due_s += 1 / EXCHANGES_PER_S
            time.sleep(max(due_s - time.monotonic(), 0))


def main() -> int:
    if len(sys.argv) > 1:
        _exchange(int(sys.argv[1]))
    else:
        _answer()
    return 0


if __name__ == "__main__":
    sys.exit(main())
