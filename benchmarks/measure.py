"""What the benchmarks share: a server's CPU and memory, a herd of raw WebSocket clients, tables and JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.processes import orphans_killed, until_ended

OUT = Path(os.environ.get("BENCHMARKS_OUT", "out/benchmarks"))
RECEIVE_BYTES = 1 << 18
CONNECTIONS_MAX = 19_000  # of a server that is measured
TIMEOUT_S = 60.0

COMMAND = re.compile(r"python -m benchmarks[\w.]*")
REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


def parser(doc: str) -> argparse.ArgumentParser:
    """Of a program whose module says this of itself, with the command that runs it."""
    command = COMMAND.search(doc)
    return argparse.ArgumentParser(
        prog=command and command[0], description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def request(target: str = "/", token: str | None = None) -> bytes:
    """An upgrade request, with a bearer token where one is given."""
    more = "" if token is None else f"Authorization: Bearer {token}\r\n"
    return REQUEST.format(target=target, more=more).encode()


def masked(payload: bytes) -> bytes:
    """A client's text frame of up to 64 KiB (its mask is zero)."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + struct.pack("!H", size)
    return head + b"\0\0\0\0" + payload


def frame_bytes(size: int) -> int:
    """The length of a server's frame with so much payload (up to 64 KiB)."""
    return size + (2 if size < 126 else 4)


def end(process: subprocess.Popen[str], patience_s: float = 10.0) -> None:
    """Ask it to end; by force where it doesn't. Its children end too, and its pipes are closed."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        with orphans_killed(process.pid) as orphans:
            process.kill()
            process.wait()
        for pause_s in until_ended(orphans):
            time.sleep(pause_s)
    for pipe in filter(None, (process.stdin, process.stdout)):
        pipe.close()


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far, those that ended too (nanosecond accounting)."""
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)


class Server:
    """A measured process."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.pid = process.pid
        self.port = port

    @classmethod
    @contextmanager
    def started(cls, command: Sequence[str]) -> Iterator[Server]:
        """Run a command whose first line of output is its port; ended at the end."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.strip().isdigit():
                raise RuntimeError(f"{' '.join(command)} did not start: {line!r}")
            yield cls(process, int(line))
        finally:
            end(process)

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        return cpu_s(self.pid)

    def rss_bytes(self) -> int:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


class Herd:
    """Many raw WebSocket clients in one process; what they are sent is counted and thrown away."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._buffer = bytearray(RECEIVE_BYTES)
        self.sockets: list[socket.socket] = []
        self._by_fd: dict[int, socket.socket] = {}

    def close(self) -> None:
        for client in self.sockets:
            client.close()
        self._epoll.close()

    def open(self, requests: Sequence[bytes]) -> None:
        """Connect and shake hands, one client for each request, a hundred at a time."""
        for start in range(0, len(requests), 100):
            batch = [connect(self._port, request) for request in requests[start : start + 100]]
            for client in batch:
                read_head(client)
                client.setblocking(False)
                self._epoll.register(client, select.EPOLLIN)
                self._by_fd[client.fileno()] = client
            self.sockets += batch

    def receive(self, expected_bytes: int) -> None:
        """Read until so many bytes came in all; raises TimeoutError after a minute without any."""
        got = 0
        while got < expected_bytes:
            got += self._receive_some()

    def settle(self, quiet_s: float) -> int:
        """Read until nothing came for so long; returns the bytes."""
        got = 0
        while events := self._epoll.poll(quiet_s, 1024):
            got += sum(self._received(fd) for fd, _ in events)
        return got

    def answer_pings(self, seconds: float) -> None:
        """For so long, answer whatever comes with one pong."""
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0:
            for fd, _ in self._epoll.poll(left_s, 1024):
                self._received(fd)
                self._by_fd[fd].send(b"\x8a\x80\0\0\0\0")

    def _receive_some(self) -> int:
        events = self._epoll.poll(TIMEOUT_S, 1024)
        if not events:
            raise TimeoutError("the server sends nothing any more")
        return sum(self._received(fd) for fd, _ in events)

    def _received(self, fd: int) -> int:
        received = self._by_fd[fd].recv_into(self._buffer)
        if not received:
            raise ConnectionError("the server closed a connection")
        return received


@contextmanager
def herd(port: int, requests: Sequence[bytes]) -> Iterator[Herd]:
    """A herd, connected."""
    clients = Herd(port)
    try:
        clients.open(requests)
        yield clients
    finally:
        clients.close()


def connect(port: int, first: bytes) -> socket.socket:
    """A connected socket that has sent its request."""
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(first)
    return client


def read_head(client: socket.socket) -> None:
    """Read a 101 answer, and what came with it."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError(f"refused: {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"refused: {answer[:200]!r}")


def repeated(
    names: Sequence[str], repeats: int, measure: Callable[[str], Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Measure each name `repeats` times, in turns, so that a busy minute hits all; the medians."""
    runs: dict[str, list[Mapping[str, float]]] = {name: [] for name in names}
    for number in range(repeats):
        for name in names:
            print(f"{name}, {number + 1} of {repeats}", file=sys.stderr, flush=True)
            runs[name].append(measure(name))
    return {name: medians(found) for name, found in runs.items()}


def medians(runs: Sequence[Any]) -> Any:
    """The median of each figure of several runs: numbers, or lists and mappings of them."""
    if isinstance(runs[0], Mapping):
        return {key: medians([run[key] for run in runs]) for key in runs[0]}
    if isinstance(runs[0], list):
        return [medians(figures) for figures in zip(*runs, strict=True)]
    return statistics.median(runs)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of them doesn't exceed; they are in ascending order, at least one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and the greatest."""
    ordered = sorted(values)
    return {"p50": percentile(ordered, 0.5), "p95": percentile(ordered, 0.95), "max": ordered[-1]}


def commit() -> str | None:
    """What was measured, `-dirty` where it was changed since; None outside of a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def sleep_until(due_s: float) -> None:
    """Until something is due by `time.perf_counter`; who is late doesn't sleep."""
    time.sleep(max(0.0, due_s - time.perf_counter()))


def machine() -> dict[str, Any]:
    """Where and when this was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
    }


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table under a title."""
    lines = [f"**{title}**", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _finite(value: Any) -> Any:
    """JSON has no infinity: None, as of what never came."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save(name: str, result: Mapping[str, Any], options: Mapping[str, Any]) -> Path:
    """Write `out/benchmarks/NAME.json`: what was found, and with which options."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    document = {"benchmark": name, **machine(), **result, "options": dict(options)}
    path.write_text(json.dumps(_finite(document), indent=2, allow_nan=False, default=str) + "\n")
    return path
