"""The authoriser's connections end with the node: where it drains, and where it is cancelled."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import trio

from gateway.admission import create_secret, issue
from gateway.config import Config
from gateway.node import Node
from tests.clients.webhook import Webhook, webhook
from tests.waiting import PATIENCE_S


def connections(hook: Webhook) -> int:
    """How many this process has to it."""
    port = urlsplit(hook.url).port
    found = psutil.Process().net_connections("tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port)


@pytest.mark.parametrize("drains", [True, False])
async def test_connections_to_the_authoriser_end_with_the_node(tmp_path: Path, drains: bool) -> None:
    create_secret(tmp_path / "jwt-secret")
    token = issue((tmp_path / "jwt-secret").read_bytes(), "ann", {"*": "admin"}, 60, time.time())
    server = {"data_dir": str(tmp_path), "port": 0, "admin_port": 0}
    with webhook("viewer") as hook:
        node = Node(Config().with_(server=server, authoriser={"url": hook.url}))
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(node.run)
            url = f"http://127.0.0.1:{addresses.websocket[0][1]}/v1/resources/event/1"
            async with httpx.AsyncClient(
                headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S
            ) as client:
                assert (await client.get(url)).status_code == 404
            assert connections(hook) > 0
            if drains:
                node.drain()
            else:
                nursery.cancel_scope.cancel()
        assert connections(hook) == 0
