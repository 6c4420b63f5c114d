"""Documents that are searched over HTTP, once the index has them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

from tests.http.node import Served, served
from tests.waiting import until

EVENT = "/v1/resources/event/42"


@asynccontextmanager
async def searchable(tmp_path):
    async with served(tmp_path, "portable") as node:
        yield node


async def until_found(node: Served, count: int, **query: Any) -> list[dict[str, Any]]:
    """What is found once it is so many; the indexer is a moment behind."""
    found: list[dict[str, Any]] = []

    async def so_many() -> bool:
        answer = await node.client.get("/v1/search", params=query)
        found[:] = answer.json()["items"] if answer.status_code == 200 else ()
        return answer.status_code == 200 and len(found) == count

    await until(so_many, f"{count} are found", every_s=0.05)
    return found
