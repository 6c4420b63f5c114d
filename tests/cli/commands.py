"""Runs the command line in processes of its own, as a person would."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from typing import IO, NamedTuple

import psutil
import trio

from gateway.admission import create_secret, issue, parse_grant_arguments
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).parent.parent.parent
START_TIMEOUT_S = PATIENCE_S
COMMAND_TIMEOUT_S = PATIENCE_S
CHILDREN_TIMEOUT_S = 20
TOKEN_TTL_S = 3600


class Finished(NamedTuple):
    """A command that ended."""

    status: int
    out: str
    err: str


def environment(**variables: str) -> dict[str, str]:
    """Ours, without settings of a gateway; the package is found wherever the command runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables}


def arguments(*words: str) -> list[str]:
    """A command line; before a node of a cluster its secret is made, as an operator has to."""
    if "serve" in words and not {"--redis", "--redis-cluster"}.isdisjoint(words) and "--data" in words:
        create_secret(Path(words[words.index("--data") + 1]) / "jwt-secret")
    return [sys.executable, "-m", "gateway", *words]


async def gateway(*words: str, stdin: str = "", cwd: Path | None = None, **variables: str) -> Finished:
    """Run one command to its end."""
    with trio.fail_after(COMMAND_TIMEOUT_S):
        done = await trio.run_process(
            arguments(*words),
            stdin=stdin.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=cwd,
            env=environment(**variables),
        )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


async def done(*words: str) -> str:
    """A command that has to succeed: what it printed."""
    found = await gateway(*words)
    assert found.status == 0, found.err
    return found.out


def token(data: Path, user: str = "ann", grant: str = "event:*=editor") -> str:
    """What `gateway token` prints for the gateway whose secret is in this directory, without a process."""
    secret = (data / "jwt-secret").read_bytes().strip()
    return issue(secret, user, parse_grant_arguments([grant]), TOKEN_TTL_S, time.time())


class Log:
    """What a process writes to standard error: read as it comes, so that it never waits for who asks."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._keep, args=(stream,), daemon=True)
        self._reader.start()

    def _keep(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.lines.append(line.rstrip())

    async def told(self, *texts: str, times: int = 1) -> None:
        """Until so many lines have these: the process may have written them before they are read here."""
        await until(
            lambda: sum(all(text in line for text in texts) for line in self.lines) >= times,
            f"{texts} in the log",
            START_TIMEOUT_S,
        )

    def ended(self) -> None:
        """Wait for its end."""
        assert self.ends(START_TIMEOUT_S), "somebody still holds the log"

    def ends(self, within_s: float) -> bool:
        """Whether it ends in time: nobody has it any more."""
        self._reader.join(within_s)
        return not self._reader.is_alive()


class Running:
    """A command that goes on, its output by the line."""

    def __init__(self, process: trio.Process, log: Log) -> None:
        self.process = process
        self.log = log
        self._buffered = b""

    async def line(self) -> str:
        """The next line of standard output; empty at its end."""
        assert self.process.stdout is not None
        with trio.fail_after(START_TIMEOUT_S):
            while b"\n" not in self._buffered:
                received = await self.process.stdout.receive_some()
                if not received:
                    break
                self._buffered += received
        line, _, self._buffered = self._buffered.partition(b"\n")
        return line.decode()

    async def errors(self) -> str:
        """All of standard error, up to its end."""
        await trio.to_thread.run_sync(self.log.ended)
        return "".join(f"{line}\n" for line in self.log.lines)

    async def ended(self) -> int:
        with trio.fail_after(START_TIMEOUT_S):
            return await self.process.wait()


@asynccontextmanager
async def running(*words: str, cwd: Path | None = None, **variables: str) -> AsyncIterator[Running]:
    """A command that is killed at the end, if it still runs, and its children with it."""
    reading, writing = os.pipe()
    log = Log(os.fdopen(reading))
    try:
        process = await trio.lowlevel.open_process(
            arguments(*words), stdout=PIPE, stderr=writing, cwd=cwd, env=environment(**variables)
        )
    finally:
        os.close(writing)
    try:
        yield Running(process, log)
    finally:
        with trio.CancelScope(shield=True):
            children: list[psutil.Process] = []
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
                process.kill()
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()
            await trio.to_thread.run_sync(_end, children, log)


def _end(children: Iterable[psutil.Process], log: Log) -> None:
    """Wait for the children of a killed process, which write into its directory until they see that it is
    gone; those that hang are killed."""
    if not log.ends(CHILDREN_TIMEOUT_S):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def instant(stamp_ms: int) -> str:
    """An instant (Unix ms) as `--since` and `--until` take it."""
    return datetime.fromtimestamp(stamp_ms / 1000, UTC).isoformat(timespec="milliseconds")


def http_of(url: str) -> str:
    """The address for HTTP of who is at this address for WebSockets."""
    return url.replace("ws", "http", 1).removesuffix("/realtime")


class Server(NamedTuple):
    """A running gateway."""

    command: Running
    url: str
    admin: str
    data: Path

    @property
    def http(self) -> str:
        """Its address for resources over HTTP."""
        return http_of(self.url)

    def reach(self) -> tuple[str, ...]:
        """The options of a client of it."""
        return "--url", self.url, "--data", str(self.data)

    def token(self, user: str = "ann", grant: str = "event:*=editor") -> str:
        """A token for it."""
        return token(self.data, user, grant)

    def bearer(self, user: str = "ann", grant: str = "event:*=editor") -> dict[str, str]:
        """The header of requests with such a token."""
        return {"Authorization": f"Bearer {self.token(user, grant)}"}

    async def run(self, *words: str) -> Finished:
        """A command that finds it by variables."""
        return await gateway(
            *words,
            GATEWAY_URL=self.url,
            GATEWAY_ADMIN_URL=self.admin,
            GATEWAY_SERVER_DATA_DIR=str(self.data),
        )

    async def said(self, *words: str) -> str:
        """What a command prints that ends well."""
        done = await self.run(*words)
        assert done.status == 0, done.err
        return done.out

    async def stop(self, number: int = signal.SIGTERM) -> int:
        self.command.process.send_signal(number)
        return await self.command.ended()


READY = re.compile(r"ready ws=(wss?://\S+/realtime) admin=(http://\S+) pid=([0-9]+)")


@asynccontextmanager
async def served(data: Path, *words: str, **variables: str) -> AsyncIterator[Server]:
    """`gateway serve` on free ports, ready."""
    ports = () if "--port" in words else ("--port", "0")
    command_line = ("serve", "--admin-port", "0", *ports, "--data", str(data), *words)
    async with running(*command_line, cwd=None, **variables) as command:
        line = await command.line()
        found = READY.fullmatch(line)
        assert found, f"{line!r}, {await command.errors()}"
        assert int(found[3]) == command.process.pid
        yield Server(command, found[1], found[2], data)
