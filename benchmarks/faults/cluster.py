"""What a drill breaks: Redis, PostgreSQL, HAProxy and the nodes of a gateway, real processes on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import psutil
import trio

from benchmarks.faults.network import Network, network
from gateway.admission import create_secret
from loadtest.observe import Pids
from loadtest.server import end
from tests.cli.commands import READY
from tests.deploy.haproxy import Place, haproxy
from tests.servers import (
    PostgresServer,
    RedisCluster,
    RedisServer,
    ServerProcess,
    free_port,
    postgres_server,
    redis_cluster,
    redis_server,
)

READY_TIMEOUT_S = 300.0  # a node that hangs; on a busy machine one takes a minute
STOP_TIMEOUT_S = 30.0
ROLL_TIMEOUT_S = 60.0
ARCHIVE_NICENESS = 10  # it shares the machine with what edits wait for, and nothing waits for it
FSYNC = ("--appendonly", "yes", "--appendfsync", "always")


@dataclass(frozen=True, slots=True)
class Shape:
    """Which servers there are, and how the gateway is set up."""

    redis: Literal["one", "two", "three", "cluster"] = "one"  # of "two" one serves, until it is added
    durability: Literal["memory", "fsync", "replicated"] = "memory"
    nodes: int = 1  # two of them: behind HAProxy
    workers: int = 2
    archive: bool = True
    proxy: bool = False  # between the nodes and Redis
    settings: Mapping[str, Any] = field(default_factory=dict)


class Node:
    """One `gateway serve`, on ports that it keeps when it is started again."""

    def __init__(self, number: int, words: Sequence[str], directory: Path) -> None:
        self.place = Place(free_port(), free_port())
        self.log = directory / f"node{number}.log"
        ports = ("--port", str(self.place.port), "--admin-port", str(self.place.admin_port))
        self._command = [sys.executable, "-m", "gateway", "serve", *ports, "--node", f"n{number}", *words]
        self._process: trio.Process | None = None
        self.url = self.admin_url = ""

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[psutil.Process]:
        """Those that run, draining ones included."""
        if self._process is None:
            return []
        try:
            children = psutil.Process(self.pid).children()
            return [one for one in children if one.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:  # it has just ended, or one of them
            return []

    async def start(self) -> None:
        """Start it, and wait until it serves. Raises RuntimeError with what it said."""
        with self.log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        stream, said = self._process.stdout, b""
        assert stream is not None
        with trio.move_on_after(READY_TIMEOUT_S):
            while (found := READY.search(said.decode())) is None:
                received = await stream.receive_some()
                if not received:
                    break
                said += received
            else:
                self.url, self.admin_url = found[1], found[2]
                return
        await self.stop(signal.SIGKILL)
        raise RuntimeError(f"a node didn't start: {self.log.read_text()[-2000:]}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Drain it, or kill it; returns when it is gone."""
        if self._process is not None:
            await end(self._process, number, STOP_TIMEOUT_S)

    async def roll(self) -> None:
        """SIGHUP; returns when all workers are new ones and the old are gone."""
        old = {one.pid for one in self.workers()}
        os.kill(self.pid, signal.SIGHUP)
        with trio.fail_after(ROLL_TIMEOUT_S):
            while old & {one.pid for one in self.workers()}:  # noqa: ASYNC110
                await trio.sleep(0.1)


class Cluster:
    """Everything that runs. Drills kill, pause and restart its parts."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.redis: list[RedisServer] = []
        self.redis_cluster: RedisCluster | None = None
        self.postgres: PostgresServer | None = None
        self.network: Network | None = None
        self.nodes: list[Node] = []
        self.url = ""
        self.secret = b""
        self._balancer_pid = 0

    @property
    def admin_url(self) -> str:
        return self.nodes[0].admin_url

    @property
    def redis_urls(self) -> str:
        """Of all independent Redis servers, as the command line takes them."""
        return ",".join(server.url for server in self.redis)

    def pids(self) -> Pids:
        """Who is the gateway, and who is what it stands on."""
        backing: list[ServerProcess | None] = [*self.redis, self.postgres]
        running = [one.pid for one in backing if one is not None and one.running]
        balancer = [self._balancer_pid] if self._balancer_pid else []
        return Pids([node.pid for node in self.nodes], running + balancer)


async def in_thread(function: Callable[[], object]) -> None:
    """Run what blocks beside everything else."""
    await trio.to_thread.run_sync(function)


async def gateway(*words: str) -> str:
    """A command of the gateway's, its output; raises CalledProcessError."""
    done = await trio.run_process([sys.executable, "-m", "gateway", *words], capture_stdout=True)
    return bytes(done.stdout).decode()


def _start_servers(cluster: Cluster, stack: ExitStack) -> None:
    shape = cluster.shape
    arguments = FSYNC if shape.durability == "fsync" else ()
    if shape.redis == "cluster":
        cluster.redis_cluster = stack.enter_context(redis_cluster(*arguments))
        cluster.redis = list(cluster.redis_cluster.servers)
    else:
        count = {"one": 1, "two": 2, "three": 3}[shape.redis]
        cluster.redis = [stack.enter_context(redis_server(*arguments)) for _ in range(count)]
    if shape.archive:
        cluster.postgres = stack.enter_context(postgres_server(niceness=ARCHIVE_NICENESS))


def _words(cluster: Cluster, dsn: str, settings: Mapping[str, Any], data: Path) -> list[str]:
    """The options of every node."""
    shape = cluster.shape
    how = "--redis-cluster" if shape.redis == "cluster" else "--redis"
    url = f"redis://127.0.0.1:{cluster.network.port}/0" if cluster.network else cluster.redis[0].url
    url = cluster.redis_urls if shape.redis == "three" else url
    words = ["--workers", str(shape.workers), how, url, "--data", str(data)]
    words += ["--postgres", dsn] if dsn else []
    for name, value in {"redis.durability": shape.durability, **settings, **shape.settings}.items():
        words += ["--set", f"{name}={value}"]
    return [*words, "--log-level", "warning"]


def _families(cluster: Cluster) -> list[list[int]]:
    """The workers of each node, which are what talks to Redis."""
    return [[worker.pid for worker in node.workers()] for node in cluster.nodes]


@asynccontextmanager
async def running(shape: Shape, settings: Mapping[str, Any]) -> AsyncIterator[Cluster]:
    """All servers, ready; `settings` are those of the scenario."""
    cluster = Cluster(shape)
    with TemporaryDirectory(prefix="gateway-faults-") as name, ExitStack() as servers:
        directory = Path(name)
        _start_servers(cluster, servers)
        dsn = ""
        if cluster.postgres is not None:
            dsn = servers.enter_context(cluster.postgres.database())
            await gateway("migrate", "--postgres", dsn)
        async with AsyncExitStack() as stack:
            if shape.proxy:
                families = partial(_families, cluster)
                cluster.network = await stack.enter_async_context(network(cluster.redis[0].port, families))
            create_secret(directory / "data" / "jwt-secret")
            words = _words(cluster, dsn, settings, directory / "data")
            for number in range(1, shape.nodes + 1):
                node = Node(number, words, directory)
                stack.push_async_callback(node.stop)
                cluster.nodes.append(node)
                await node.start()
            cluster.secret = (directory / "data" / "jwt-secret").read_bytes().strip()
            cluster.url = cluster.nodes[0].url
            if shape.nodes > 1:
                balancer = stack.enter_context(haproxy([node.place for node in cluster.nodes]))
                cluster.url, cluster._balancer_pid = balancer.url, balancer.pid
            yield cluster
