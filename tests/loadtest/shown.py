"""What is asked of the page beside a run."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import trio

from tests.waiting import PATIENCE_S, until


def ask(url: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """(status, body) of a GET, or of a POST where there is something to send."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, sent, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def get(url: str, path: str = "/state") -> dict[str, Any]:
    status, body = await trio.to_thread.run_sync(ask, url, path)
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


async def until_shown(url: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The state of a page once this holds of it."""

    async def found() -> dict[str, Any] | None:
        state = await get(url)
        return state if holds(state) else None

    return await until(found, every_s=0.1)
