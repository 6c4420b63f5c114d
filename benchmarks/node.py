"""A whole embedded gateway node as a measured process: `python -m benchmarks.node`. Prints its port."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import trio

from benchmarks.measure import CONNECTIONS_MAX, Server, request
from gateway.config import Config
from gateway.node import Node
from gateway.runtime.interpreter import raise_descriptors
from gateway.sessions.endpoint import PATH

__all__ = ["NAME", "PATH", "requests", "started", "token"]

NAME = "gateway node, JWT"
SECRET = "a secret of the benchmarks, long enough for HS256 and known to everybody"


def token(user: str, role: str = "editor") -> str:
    """A token with this role in every event, for an hour."""
    claims = {"sub": user, "exp": int(time.time()) + 3600, "grants": {"event:*": role}}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def requests(count: int) -> list[bytes]:
    """Upgrade requests of so many editors, each with a token of its own."""
    return [request(PATH, token(f"user-{number}")) for number in range(count)]


def secret_file(folder: str) -> str:
    """A file there with the secret, readable by its owner only."""
    path = Path(folder, "secret")
    path.touch(0o600)
    path.write_text(SECRET)
    return str(path)


@contextmanager
def started(ping_interval_s: float = 3600.0) -> Iterator[Server]:
    """The node's process, serving on the fast transport from an empty data directory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.node", folder, str(ping_interval_s)]
        with Server.started(command) as server:
            yield server


async def serve(folder: str, ping_interval_s: float) -> None:
    config = Config().with_(
        server={
            "port": 0,
            "data_dir": os.path.join(folder, "data"),
            "transport": "fast",
            "connections_max": CONNECTIONS_MAX,
        },
        timeouts={"ping_interval_s": ping_interval_s, "idle_timeout_s": 3600.0},
        limits={"accept_cpu_share": 1.0},  # nobody is put off: what a connection costs is measured
        auth={"secret_file": secret_file(folder)},
    )
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(Node(config, admin=False).run)
        print(addresses.websocket[0][1], flush=True)


if __name__ == "__main__":
    raise_descriptors(CONNECTIONS_MAX)
    trio.run(serve, sys.argv[1], float(sys.argv[2]))
