"""A real node whose service port is asked over HTTP: the log on disk, real tokens, both transports."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from gateway.admission import create_secret, issue
from gateway.cli.client import GatewayAccess, GatewayLink, connected
from gateway.config import Config
from gateway.node import Node
from tests.transport.wire import RawClient
from tests.waiting import PATIENCE_S

# Longer than any run.
TOKEN_S = 86_400
TRANSPORTS = ("fast", "portable")


class Served:
    """A running node, its service port's `client` (an admin of everything), and what its callers need."""

    def __init__(self, node: Node, port: int, client: httpx.AsyncClient, secret: bytes) -> None:
        self.node = node
        self.port = port
        self.client = client
        self._secret = secret
        self.admin_port = 0
        self.dialled: list[RawClient] = []

    async def dial(self) -> RawClient:
        """A bare socket; closed at the end of the test."""
        self.dialled.append(await RawClient.connect(self.port))
        return self.dialled[-1]

    def token(self, grants: Mapping[str, str], user: str = "ann", lifetime_s: float = TOKEN_S) -> str:
        return issue(self._secret, user, grants, lifetime_s, time.time())

    def bearer(self, user: str = "ann", **grants: str) -> dict[str, str]:
        """The header of a token, e.g. `event="viewer"` for all events."""
        granted = {f"{kind}:*": role for kind, role in grants.items()}
        return {"Authorization": f"Bearer {self.token(granted, user)}"}

    async def purge(self, path: str) -> None:
        """Erase the history of a resource, as an operator does."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        done = await self.client.delete(url, params={"purge": "true"})
        assert done.is_success, done.text

    def linked(self, client_id: str = "client") -> AbstractAsyncContextManager[GatewayLink]:
        """A WebSocket client."""
        url = f"ws://127.0.0.1:{self.port}/realtime"
        return connected(GatewayAccess(url, self.token({"*": "admin"})), client_id)


@asynccontextmanager
async def served(data: Path, transport: str, **sections: Mapping[str, Any]) -> AsyncIterator[Served]:
    """Serve; when the test is over no task and no connection of it may be left.

    No limit of edits or CPU unless one is set: a user's share of CPU is soon used up on a busy machine.
    """
    settings: dict[str, dict[str, Any]] = {
        "server": {"data_dir": str(data), "port": 0, "admin_port": 0, "transport": transport},
        "timeouts": {"drain_grace_s": 1.0, "close_timeout_s": 0.5},
        "limits": {"operations_per_minute": 0, "user_cpu_share": 1.0},
    }
    for section, values in sections.items():
        settings.setdefault(section, {}).update(values)
    create_secret(data / "jwt-secret")
    secret = (data / "jwt-secret").read_bytes()
    node = Node(Config().with_(**settings))
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(node.run)
        host, port = addresses.websocket[0]
        headers = {"Authorization": f"Bearer {issue(secret, 'ann', {'*': 'admin'}, TOKEN_S, time.time())}"}
        base = f"http://{host}:{port}"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE_S) as client:
            serving = Served(node, port, client, secret)
            serving.admin_port = addresses.admin[0][1]
            try:
                yield serving
            finally:
                for bare in serving.dialled:
                    bare.stream.socket.close()
        node.drain()
    assert node.metrics.http_connections == 0
    assert node.metrics.subscriptions == 0
