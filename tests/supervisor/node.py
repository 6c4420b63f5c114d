"""A node of several workers, and what tests ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import psutil
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.commands import START_TIMEOUT_S, Server, served
from tests.clients.wire import Wire, wire
from tests.servers import redis_server
from tests.waiting import PATIENCE_S, until, until_equal

WORKERS = ("--workers", "2", "--node", "n1", "--set", "limits.operations_per_minute=0")
# Clients stay in the worker that they came to: for what is about several workers with one resource.
SPREAD = ("--set", "server.hand_over=false")


@asynccontextmanager
async def node(data: Path, *words: str) -> AsyncIterator[Server]:
    """Two workers on a Redis of their own."""
    with redis_server() as redis:
        async with served(data, *WORKERS, "--redis", redis.url, *words) as server:
            yield server


def workers(server: Server) -> Sequence[psutil.Process]:
    """The processes of the workers."""

    def runs(child: psutil.Process) -> bool:
        try:
            return child.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [child for child in psutil.Process(server.command.process.pid).children() if runs(child)]


def kill(process: psutil.Process) -> None:
    """kill -9, unless it has just ended."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


async def metrics(server: Server) -> dict[str, float]:
    """The samples of the node, by name and labels' values."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        text = (await client.get(f"{server.admin}/metrics")).text
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def restarted(server: Server) -> None:
    """Wait until a worker that ended has a successor that serves."""

    async def replaced() -> bool:
        counted = await metrics(server)
        return bool(counted["gateway_worker_restarts_total"]) and counted["gateway_workers"] == 2

    await until(replaced, "another worker", START_TIMEOUT_S, every_s=0.05)


async def on(nursery: trio.Nursery, server: Server, bearer: str, worker: str) -> Wire:
    """A connection to this worker: tries until the kernel gives it one."""
    for _ in range(200):
        connected = await nursery.start(_connection, server.url, bearer, worker)
        if connected is not None:
            return connected
    raise AssertionError(f"no connection ever reached {worker}")


async def _connection(
    url: str, bearer: str, worker: str, *, task_status: trio.TaskStatus[Wire | None]
) -> None:
    async with wire(url, bearer) as connected:
        if (await connected.take("AUTH_ACK"))["node"] != worker:
            task_status.started(None)
            return
        task_status.started(connected)
        await trio.sleep_forever()


async def admitted(server: Server, bearer: str) -> bool:
    async with wire(server.url, bearer) as opened:
        await until(lambda: opened.of_type("AUTH_ACK") or opened.close_code is not None)
        return opened.close_code is None


async def until_admitted(server: Server, bearer: str, wanted: bool = True) -> None:
    """Each worker hears of a flag by itself."""
    await until_equal(partial(admitted, server, bearer), wanted, every_s=0.05)
