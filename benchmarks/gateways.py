"""Whole gateways, `gateway serve` in processes of their own: embedded, or two nodes of a cluster."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import trio

from benchmarks.measure import end, quantiles, save, table
from benchmarks.node import secret_file
from gateway.admission import create_secret, issue
from gateway.cli.client import GatewayAccess, GatewayLink
from gateway.errors import ClientError
from gateway.log.postgres.archive import migrate
from tests.cli.commands import READY, http_of
from tests.servers import postgres_server, redis_server

SHAPES = ("embedded", "cluster")
TOKEN_S = 3600
DRAIN_S = 30.0
# One user asks for everything, as fast as it can.
UNLIMITED = ("--set", "limits.operations_per_minute=0", "--set", "limits.user_cpu_share=1")


class Gateway(NamedTuple):
    """A running node: its process, the addresses of its socket and of its administration, its directory."""

    process: subprocess.Popen[str]
    url: str
    admin: str
    data: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        """Where it serves."""
        return urlsplit(self.url).port or 0

    @property
    def http(self) -> str:
        """Its address for resources over HTTP."""
        return http_of(self.url)

    def access(self, user: str = "ann", grants: Mapping[str, str] | None = None) -> GatewayAccess:
        """For a WebSocket client; without `grants`, an admin of everything."""
        secret = (self.data / "jwt-secret").read_bytes()
        return GatewayAccess(self.url, issue(secret, user, grants or {"*": "admin"}, TOKEN_S, time.time()))

    def headers(self, user: str = "ann") -> dict[str, str]:
        """For an HTTP client."""
        return {"Authorization": f"Bearer {self.access(user).token}"}


@contextmanager
def served(
    data: str, *words: str, program: str = "gateway", patience_s: float = DRAIN_S
) -> Iterator[Gateway]:
    """`gateway serve` on this directory, with these further options; killed where it doesn't end in time."""
    if "--redis" in words:  # the nodes of a cluster share one that its operator makes
        create_secret(Path(data) / "jwt-secret")
    command = [sys.executable, "-m", program, "serve", "--port", "0", "--admin-port", "0", "--data", data]
    command += ["--log-level", "warning", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = next(filter(None, map(READY.search, process.stdout)), None)
        if found is None:
            raise RuntimeError(f"{' '.join(command)} doesn't start: it ended with {process.wait()}")
        yield Gateway(process, found[1], found[2], Path(data))
    finally:
        end(process, patience_s)


@contextmanager
def flooded(transport: str, settings: Sequence[str] = (), program: str = "gateway") -> Iterator[Gateway]:
    """One on an empty log, with the default limits but for `settings`, that `benchmarks.node` has tokens for.

    It is killed at the end, for it would wait for its clients.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = (f"auth.secret_file={secret_file(folder)}", f"server.transport={transport}", *settings)
        words = [word for setting in given for word in ("--set", setting)]
        with served(
            f"{folder}/data", "--log-level", "error", *words, program=program, patience_s=0
        ) as gateway:
            yield gateway


class Place(NamedTuple):
    """Two gateways of a cluster with its archive, or an embedded one twice, with its data directory."""

    one: Gateway
    other: Gateway
    data: str
    dsn: str


@contextmanager
def placed(shape: str, *words: str) -> Iterator[Place]:
    """One embedded gateway, or two nodes with Redis and PostgreSQL."""
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        if shape == "embedded":
            one = stack.enter_context(served(data, *words))
            yield Place(one, one, data, "")
            return
        redis = stack.enter_context(redis_server())
        dsn = stack.enter_context(stack.enter_context(postgres_server()).database())
        migrate(dsn)
        further = stack.enter_context(tempfile.TemporaryDirectory())
        shared = ("--redis", redis.url, "--postgres", dsn, *words)
        nodes = [stack.enter_context(served(directory, *shared)) for directory in (data, further)]
        yield Place(nodes[0], nodes[1], data, dsn)


async def answer(link: GatewayLink, kind: str) -> Any:
    """The payload of the next message of a kind; others are passed over. Raises ClientError at an ERROR."""
    while True:
        message = await link.receive()
        if message["type"] == "ERROR":
            raise ClientError(str(message["payload"]))
        if message["type"] == kind:
            return message["payload"]


def summary(took_ms: Sequence[float]) -> dict[str, float]:
    """What is shown of many durations."""
    p50, p95, longest = quantiles(took_ms).values()
    return {"median_ms": round(p50, 2), "p95_ms": round(p95, 2), "max_ms": round(longest, 2)}


def shown(title: str, results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The table of `results`: shape -> what was measured -> its figures."""
    rows = [
        [shape, name, *(f"{value:g}" for value in figures.values())]
        for shape, measured in results.items()
        for name, figures in measured.items()
    ]
    columns = next(iter(next(iter(results.values())).values()))
    return table(title, ("gateway", "what", *(name.replace("_", " ") for name in columns)), rows)


def compared(
    shapes: Sequence[str] | None, measured: Callable[[Place], Awaitable[Any]], *words: str
) -> dict[str, Any]:
    """What `measured` finds in each shape; in all of them where none is named. `words` are the gateways'."""
    results = {}
    for shape in shapes or SHAPES:
        with placed(shape, *words) as place:
            results[shape] = trio.run(measured, place)
    return results


def told(name: str, title: str, results: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Print the table, and keep the figures."""
    print(shown(title, results))
    save(name, {"title": title, "results": results}, options)
