"""What a node writes before it ends: the calendars' indexes of what was committed at last."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.http.node import TRANSPORTS, served

EVENT = "/v1/resources/event/1"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_was_committed_before_a_drain_is_in_its_calendar_after_it(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, transport) as node:
        log = node.node.hub.log
        opened = log.open

        async def late(resource: str) -> object:
            if resource == "children:work":
                await trio.sleep(0.3)
            return await opened(resource)

        monkeypatch.setattr(log, "open", late)
        created = await node.client.put(EVENT, json={"title": "Standup", "calendar_id": "work"})
        assert created.status_code == 201
    async with served(tmp_path, transport) as node:
        index = await node.node.hub.open("children:work")
        assert list(index.document or {}) == ["1"]
