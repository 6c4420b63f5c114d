"""A `gateway serve` process of its own, on free ports and a directory of the test's."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import jwt
import psutil

from tests.cli import commands
from tests.waiting import PATIENCE_S

READY = re.compile(r"ready ws=(\S+) admin=(\S+) pid=(\d+)")


class Gateway:
    """One run of a node. `settings` are `section.name` to value; `program` is what Python runs."""

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
        program: Sequence[str] = ("-m", "gateway"),
        stdin: int | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        command = [sys.executable, *program, "serve", "--port", "0", "--admin-port", "0"]
        command += ["--data", str(data), "--log-level", "warning"]
        command += arguments
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        self.data = data
        self._process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._said = commands.Log(self._process.stderr)
        self.log = self._said.lines
        self.url, self.admin_url = self._ready(self._process.stdout)
        self.secret = (data / "jwt-secret").read_bytes().strip()

    def _ready(self, stream: IO[str]) -> tuple[str, str]:
        timer = threading.Timer(PATIENCE_S, self._process.kill)
        timer.start()
        try:
            for line in stream:
                found = READY.search(line)
                if found is not None:
                    return found[1], found[2]
        finally:
            timer.cancel()
        raise AssertionError(f"the gateway didn't start: {self.log}")

    async def told(self, *texts: str) -> None:
        """Until a line of the log has these."""
        await self._said.told(*texts)

    @property
    def http(self) -> str:
        """Its address for resources over HTTP."""
        return commands.http_of(self.url)

    @property
    def pid(self) -> int:
        return self._process.pid

    def rss_bytes(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)

    def token(
        self,
        user: str = "ann",
        grants: Mapping[str, str] | None = None,
        ttl_s: float = 3600,
        **claims: Any,
    ) -> str:
        """A token of this node; without grants one that may edit every event."""
        granted = {"event:*": "editor"} if grants is None else dict(grants)
        body = {"sub": user, "exp": time.time() + ttl_s, "grants": granted, "name": user.title(), **claims}
        return jwt.encode(body, self.secret, algorithm="HS256")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It stands still meanwhile: what is sent then comes to it at once, however slow the sender is."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE_S)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit status."""
        return self._process.wait(timeout_s)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        if self.running:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self._said.ended()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def gateway(
    data: Path,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    **settings: Any,
) -> Iterator[Gateway]:
    """Serve from a directory; `limits__depth_max=8` sets a tunable. No rate limit unless one is set."""
    named = {name.replace("__", ".", 1): value for name, value in settings.items()}
    named.setdefault("limits.operations_per_minute", 0)
    started = Gateway(data, named, commands.environment(**(environment or {})), arguments=arguments)
    try:
        yield started
    finally:
        started.close()
