"""A worker that hangs: it is told, others answer for it, and another takes its place."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from gateway.admission import create_secret
from gateway.config import Config
from gateway.errors import StoreAway
from gateway.supervisor import Supervisor, child
from gateway.supervisor.child import Child
from tests.cli.commands import START_TIMEOUT_S
from tests.scraped import until_scraped
from tests.servers import redis_server
from tests.waiting import PATIENCE_S, until

SILENT = "gateway_worker_silent_seconds"
# More than the kernel keeps of what nobody reads.
LARGE = bytes(8 << 20)
ASKED = {"type": "http", "repeated": False, "method": "GET", "path": "/v1/node", "query": "", "headers": []}


@contextmanager
def made(data: Path) -> Iterator[Supervisor]:
    """A supervisor of two workers, in this process."""
    create_secret(data / "jwt-secret")
    with redis_server() as redis:
        server = {"workers": 2, "port": 0, "admin_port": 0, "data_dir": str(data), "node": "n1"}
        yield Supervisor(Config().with_(redis={"urls": [redis.url]}, server=server), "INFO", Config)


@asynccontextmanager
async def supervised(data: Path) -> AsyncIterator[tuple[Supervisor, str]]:
    """One that serves, and its admin port."""
    with made(data) as supervisor:
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(supervisor.run)
            [(host, port)] = addresses.admin
            try:
                yield supervisor, f"http://{host}:{port}"
            finally:
                nursery.cancel_scope.cancel()


async def stopped_at_its_start(supervisor: Supervisor) -> Child:
    """A worker that stands still before it was ready."""

    def starting() -> Child | None:
        return next((found for found in supervisor._running if found.pid and not found.ready), None)

    victim = await until(starting, "a worker that starts", START_TIMEOUT_S)
    os.kill(victim.pid, signal.SIGSTOP)
    return victim


async def silent(admin: str, number: int, least: float) -> None:
    """Wait until the node tells that a worker has been silent for so long."""
    await until_scraped(admin, SILENT, lambda silent_s: silent_s >= least, worker=str(number))


async def too_long_silent(victim: Child) -> None:
    """As if it had been silent as long as is borne; others that a busy machine makes wait have a minute."""
    await until(lambda: victim.silent, "silence")
    victim.silent_s = child.SILENT_MAX_S


async def test_a_worker_that_hangs_is_told_asked_nothing_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(tmp_path) as (supervisor, admin), httpx.AsyncClient(timeout=PATIENCE_S) as client:
        victim, other = supervisor.serving()
        os.kill(victim.pid, signal.SIGSTOP)
        await silent(admin, victim.number, 5)
        await until_scraped(admin, SILENT, lambda silent_s: silent_s < 5, worker=str(other.number))
        for _ in range(6):
            assert (await client.get(f"{admin}/readyz")).status_code == 200
        await too_long_silent(victim)
        with trio.fail_after(PATIENCE_S):
            await victim.ended.wait()
        await until(lambda: len(supervisor.serving()) == 2, "another worker", START_TIMEOUT_S)
        assert (victim.status, supervisor.restarts) == (-signal.SIGKILL, 1)
        assert re.search(rf"worker {victim.number} has said nothing for \d+ s: killing it", caplog.text)
        assert other in supervisor.serving()
        await until(lambda: not other.silent, "the other one's answer")


async def test_a_worker_that_hangs_while_it_starts_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(tmp_path) as (supervisor, _):
        os.kill(supervisor.serving()[0].pid, signal.SIGKILL)
        victim = await stopped_at_its_start(supervisor)
        await too_long_silent(victim)
        with trio.fail_after(PATIENCE_S):
            await victim.ended.wait()
        assert victim.status == -signal.SIGKILL
        await until(lambda: len(supervisor.serving()) == 2, "yet another worker", START_TIMEOUT_S)
        assert re.search(rf"worker {victim.number} has said nothing for \d+ s: killing it", caplog.text)


async def test_a_node_whose_worker_hangs_at_the_first_start_ends_as_one_that_may_be_started_again(
    tmp_path: Path,
) -> None:
    """Status 3: systemd starts it anew, which it doesn't after mistakes in the settings (2)."""
    with (
        made(tmp_path) as supervisor,
        pytest.RaisesGroup(
            pytest.RaisesExc(StoreAway, match="said nothing while it started"), flatten_subgroups=True
        ),
        trio.fail_after(PATIENCE_S),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await too_long_silent(await stopped_at_its_start(supervisor))


async def test_whoever_asks_a_worker_that_hangs_can_give_up_and_it_can_be_asked_again(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, _):
        victim = supervisor.serving()[0]
        os.kill(victim.pid, signal.SIGSTOP)
        for _ in range(2):  # one that is half sent, and one that waits for it
            with trio.move_on_after(0.5) as scope:
                await victim.ask(ASKED, LARGE)
            assert scope.cancelled_caught
        kept = sum(len(frame.body) for frame in victim._unsent.values())
        assert kept == 0, "what nobody waits for is kept"
        os.kill(victim.pid, signal.SIGCONT)
        with trio.fail_after(PATIENCE_S):
            answer = await victim.ask(ASKED)
        assert answer.header["status"] == 401
        assert not victim.ended.is_set()
