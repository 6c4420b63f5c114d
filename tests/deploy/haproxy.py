"""The real HAProxy with the shipped configuration, on free ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.debian import program
from tests.servers import free_port
from tests.waiting import PATIENCE_S

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "haproxy.cfg"
TLS_CONFIGURATION = CONFIGURATION.with_name("haproxy-tls.cfg")


class Place(NamedTuple):
    """Where a node listens: its WebSocket port and its admin port, on loopback."""

    port: int
    admin_port: int


def environment(bind: str, nodes: Sequence[Place]) -> dict[str, str]:
    """What the configuration takes from the environment."""
    places = {"GATEWAY_BIND": bind}
    for number, node in enumerate(nodes, 1):
        places[f"GATEWAY_NODE{number}"] = f"127.0.0.1:{node.port}"
        places[f"GATEWAY_NODE{number}_ADMIN"] = str(node.admin_port)
    return {**os.environ, **places}


class Balancer(NamedTuple):
    """A running HAProxy, and where clients connect."""

    url: str
    pid: int


@contextmanager
def haproxy(nodes: Sequence[Place], certificate: Path | None = None) -> Iterator[Balancer]:
    """A HAProxy before these nodes; with TLS where there is a certificate (with its key, in PEM)."""
    port = free_port()
    configuration = CONFIGURATION if certificate is None else TLS_CONFIGURATION
    scheme = "ws" if certificate is None else "wss"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [program("haproxy", "haproxy"), "-db", "-f", str(configuration)],
            env=environment(f"127.0.0.1:{port}", nodes) | {"GATEWAY_CERTIFICATE": str(certificate)},
            stdout=log,
            stderr=log,
        )
        try:
            _wait(port, process)
            yield Balancer(f"{scheme}://127.0.0.1:{port}/realtime", process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"HAProxy didn't start (status {process.poll()})")
