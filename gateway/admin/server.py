"""Serves the admin application on its own port, inside the node's nursery (hypercorn on Trio)."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable

import hypercorn.trio
import trio
from hypercorn.config import Config as HypercornConfig
from starlette.applications import Starlette

from gateway.errors import ConfigError

BACKLOG = 128
GRACEFUL_TIMEOUT_S = 2.0
KEEP_ALIVE_TIMEOUT_S = 15.0
REQUEST_LINE_BYTES_MAX = 16 * 1024

# Bugs of the application, and not that it runs.
logger = logging.getLogger("gateway.admin.http")
logger.setLevel(logging.WARNING)


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises ConfigError when the address can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"can't listen on {host}: {error.strerror}; set server.host") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"can't listen on {host}:{port} for the admin HTTP: {error.strerror}; set --admin-port to a free "
            "port, or to 0"
        ) from error
    return bound


async def serve(
    app: Starlette,
    bound: socket.socket,
    until: Callable[[], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `until` returns, then let running requests end for GRACEFUL_TIMEOUT_S.

    Takes the socket over; started with its host and port once it listens.
    """
    host, port = bound.getsockname()[:2]
    config = _hypercorn_config(bound.detach())
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
            await hypercorn.trio.serve(app, config, shutdown_trigger=until, task_status=task_status)  # type: ignore[arg-type]

        await nursery.start(run)
        task_status.started((host, port))


def _hypercorn_config(descriptor: int) -> HypercornConfig:
    config = HypercornConfig()
    config.bind = [f"fd://{descriptor}"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logger
    config.graceful_timeout = GRACEFUL_TIMEOUT_S
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.h11_max_incomplete_size = REQUEST_LINE_BYTES_MAX
    config.include_server_header = False
    return config
