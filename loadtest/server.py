"""The gateway that a run starts for itself, on free ports and a directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from gateway.config.fields import in_toml
from loadtest.processes import orphans_killed, until_ended

GATEWAY = (sys.executable, "-m", "gateway", "serve")
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
_URL = re.compile(r"ws://[^\s]+")
_ADMIN = re.compile(r"http://[^\s/]+")


class ServerError(Exception):
    """The server couldn't be started; the message holds what it said."""


def environment_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings like {"limits.depth_max": 9} as the gateway's environment variables."""
    return {f"GATEWAY_{name.replace('.', '_').upper()}": _told(value) for name, value in settings.items()}


def _told(value: Any) -> str:
    if isinstance(value, str):
        return value
    return in_toml(tuple(value) if isinstance(value, list) else value)


class EmbeddedServer:
    """A server process. `url` and `admin_url` are known once it is ready, `pid` while it runs."""

    def __init__(self, command: Sequence[str], settings: Mapping[str, Any], directory: Path) -> None:
        self._command = list(command)
        self._settings = settings
        self._directory = directory
        self._ports = ["0", "0"]
        self._process: trio.Process | None = None
        self.url = ""
        self.admin_url: str | None = None
        self.output = directory / "server.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def secret(self) -> bytes:
        """The secret that its tokens are signed with."""
        return (self._directory / "data" / "jwt-secret").read_bytes().strip()

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    async def start(self) -> None:
        """Start it and wait until it is ready; raises ServerError."""
        command = [*self._command, "--port", self._ports[0], "--admin-port", self._ports[1]]
        command += ["--data", str(self._directory / "data")]
        environment = {**os.environ, **environment_of(self._settings)}
        with self.output.open("ab") as output:
            start = self.output.stat().st_size
            try:
                self._process = await trio.lowlevel.open_process(
                    command, stdout=output, stderr=output, env=environment, start_new_session=True
                )
            except OSError as error:
                raise ServerError(f"`{command[0]}` can't be started: {error.strerror}") from None
        with trio.move_on_after(READY_TIMEOUT_S):
            while not self._ready(self.output.read_text(errors="replace")[start:]):
                if self.exit_status is not None:
                    break
                await trio.sleep(0.05)
            else:
                return
        said = self.output.read_text(errors="replace")[-800:].strip() or "it said nothing"
        await self.stop(signal.SIGKILL)
        raise ServerError(f"`{' '.join(command)}` did not get ready: {said}")

    def _ready(self, said: str) -> bool:
        found = _URL.search(said)
        if found is None or "\n" not in said[found.end() :]:
            return False
        self.url = found.group()
        admin = _ADMIN.search(said)
        self.admin_url = admin.group() if admin else None
        self._ports = [_port(self.url), _port(self.admin_url) if self.admin_url else "0"]
        return True

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by its pid and wait; a SIGTERM that isn't heeded becomes a SIGKILL."""
        if self._process is not None:
            await end(self._process, how, STOP_TIMEOUT_S)


async def end(process: trio.Process, how: signal.Signals, patience_s: float) -> None:
    """End a process and wait, whatever is cancelled; one that doesn't heed the signal in time is killed, with
    those below it."""
    if process.poll() is not None:
        return
    with trio.CancelScope(shield=True):
        if how != signal.SIGKILL:
            process.send_signal(how)
            with trio.move_on_after(patience_s):
                await process.wait()
        if process.poll() is None:
            with orphans_killed(process.pid) as orphans:
                process.kill()
                await process.wait()
            for pause_s in until_ended(orphans):
                await trio.sleep(pause_s)


def _port(url: str) -> str:
    return url.split("//")[1].split("/")[0].rpartition(":")[2]


@asynccontextmanager
async def embedded(
    settings: Mapping[str, Any], command: Sequence[str] = GATEWAY
) -> AsyncIterator[EmbeddedServer]:
    """A ready server in a temporary directory, stopped and removed at the end; raises ServerError."""
    directory = Path(tempfile.mkdtemp(prefix="loadtest-"))
    server = EmbeddedServer(command, settings, directory)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        shutil.rmtree(directory, ignore_errors=True)
