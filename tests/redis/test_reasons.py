"""Why Redis doesn't answer names servers: the node's log has it, clients are told only that it is so."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.cli.commands import served
from tests.clients.desk import created, op, subscribe
from tests.clients.wire import Refused, wire
from tests.operations import replace
from tests.servers import redis_server
from tests.waiting import PATIENCE_S

TOLD = "; the server's own log says why."
SETTINGS = ("--set", "redis.connect_timeout_s=0.2", "--set", "timeouts.append_timeout_s=1")


async def test_clients_are_told_that_the_log_is_away_and_operators_why(tmp_path: Path) -> None:
    with redis_server() as redis:
        async with served(tmp_path, "--redis", redis.url, *SETTINGS) as server:
            async with wire(server.url) as ann:
                ann.client_id = "ann-1"
                await ann.ask("AUTH", {"token": server.token(), "client_id": ann.client_id, "protocol": 1})
                event = await created(ann)
                redis.kill()
                with pytest.raises(Refused) as edit:
                    await ann.ask("OP", op(ann, event, 1, replace("/title", "lost?")))
                with pytest.raises(Refused) as opening:
                    await subscribe(ann, "event:another")
            async with httpx.AsyncClient(headers=server.bearer(), timeout=PATIENCE_S) as client:
                read = await client.get(f"{server.http}/v1/resources/event/another")
                history = await client.get(
                    f"{server.http}/v1/resources/event/{event.partition(':')[2]}/history"
                )
            assert (read.status_code, history.status_code) == (503, 503)
            said = [edit.value.payload["message"], opening.value.payload["message"]]
            said += [read.json()["detail"], history.json()["detail"]]
            assert [text for text in said if TOLD not in text or "redis" in text.lower()] == []
            assert [text for text in said if str(redis.port) in text] == []
            await server.command.log.told("a call of the log failed", f"127.0.0.1:{redis.port}")
