"""What a node writes before it ends: the calendars' indexes of what was committed at last."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.http.node import TRANSPORTS, served
from tests.waiting import PATIENCE_S

EVENT = "/v1/resources/event/1"
# A drain that has nothing to wait for takes none of it.
GRACE = {"timeouts": {"drain_grace_s": PATIENCE_S}}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_http_commits_during_a_drain_is_in_its_calendar_after_it(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, transport, **GRACE) as node, trio.open_nursery() as nursery:
        log, opening = node.node.hub.log, trio.Event()
        opened = log.open

        async def late(resource: str) -> object:
            opening.set()
            await trio.sleep(0.3)  # nobody knows of an edit that is on its way there
            return await opened(resource)

        async def create() -> None:
            created = await node.client.put(EVENT, json={"title": "Standup", "calendar_id": "work"})
            assert created.status_code == 201

        monkeypatch.setattr(log, "open", late)
        nursery.start_soon(create)
        await opening.wait()
        node.node.drain()
    async with served(tmp_path, transport) as node:
        index = await node.node.hub.open("children:work")
        assert list(index.document or {}) == ["1"]
