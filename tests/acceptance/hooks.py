"""A gateway that asks a webhook who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.clients.gateway import Gateway, gateway
from tests.clients.webhook import Webhook
from tests.waiting import PATIENCE_S, until_equal

GRANTS = {"event:*": "admin", "calendar:*": "admin"}
IMPATIENT = {"timeout_s": 0.5}


def asking(path: Path, hook: Webhook, transport: str = "fast", **settings: Any) -> Any:
    """A node that asks it; `timeout_s` only where none is to come, for it runs in this process."""
    settings = {"timeout_s": 10, **settings}
    named = {f"authoriser__{name}": value for name, value in settings.items()}
    return gateway(path, server__transport=transport, authoriser__url=hook.url, **named)


async def problems(node: Gateway) -> str:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{node.admin_url}/readyz")
    assert answer.status_code == 200
    return " ".join(answer.json().get("problems", []))


async def until_well(node: Gateway, wanted: bool = True) -> None:
    async def well() -> bool:
        return await problems(node) == ""

    await until_equal(well, wanted, every_s=0.05)


async def http(node: Gateway, token: str, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S) as client:
        return await client.request(method, node.http + path, **options)
