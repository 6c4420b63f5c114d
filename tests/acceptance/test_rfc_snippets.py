"""The snippets of RFC-002 as they stand: a page's onopen, its integration test, its k6 script."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import trio
from websockets.trio.client import connect

from tests.clients.gateway import gateway
from tests.clients.thin import PlainClient
from tests.clients.wire import Wire, wire
from tests.waiting import PATIENCE_S

EVENT = {"title": "Kick-off", "attendees": [], "start_time": "2025-12-15T13:00:00Z"}


async def create(opened: Wire, resource_id: str, value: Any = EVENT) -> None:
    """What an editor does first: `add` at path ""."""
    client = PlainClient(f"event:{resource_id}", "creator")
    client.attach(opened)
    await client.subscribe()
    await client.edit({"op": "add", "path": "", "value": value})


async def test_the_onopen_sequence_of_2_2_works_with_nothing_awaited(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with connect(node.url, proxy=None, open_timeout=PATIENCE_S) as ws:
            jwt_token, client_id, event_id = node.token("user_123"), str(uuid.uuid4()), "42"
            await ws.send(
                json.dumps(
                    {
                        "type": "AUTH",
                        "payload": {"token": jwt_token, "client_id": client_id, "user_id": "user_123"},
                    }
                )
            )
            await ws.send(
                json.dumps({"type": "SUBSCRIBE", "payload": {"resource": "event", "resource_id": event_id}})
            )
            with trio.fail_after(PATIENCE_S):
                messages = [json.loads(await ws.recv()) for _ in range(3)]
            types = [message["type"] for message in messages]
            assert types[:2] == ["AUTH_ACK", "SUBSCRIBE_ACK"]
            assert types[2] == "PRESENCE_STATE" or types[2] == "PRESENCE_JOIN"
            for message in messages:
                assert isinstance(message["id"], str)
                assert isinstance(message["timestamp"], int)
            assert messages[0]["payload"]["client_id"] == client_id
            assert messages[0]["payload"]["user_id"] == "user_123"
            subscribed = messages[1]["payload"]
            assert (subscribed["version"], subscribed["state"]) == (0, None)
            assert (subscribed["resource"], subscribed["resource_id"]) == ("event", event_id)


async def test_the_example_operations_of_2_2_are_taken_one_by_one(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with wire(node.url, bearer=node.token()) as opened:
            people = [{"user_id": f"user_{i}", "email": f"{i}@example.com"} for i in range(3)]
            await create(opened, "42", {**EVENT, "attendees": people})
            client = PlainClient("event:42", "creator")
            client.attach(opened)
            await client.subscribe()
            john = {"user_id": "user_123", "email": "john@example.com", "response_status": "NEEDS_ACTION"}
            for operation in (
                {"op": "replace", "path": "/title", "value": "Updated Meeting Title"},
                {"op": "replace", "path": "/start_time", "value": "2025-12-15T14:00:00Z"},
                {"op": "add", "path": "/attendees/-", "value": john},
                {"op": "remove", "path": "/attendees/2"},
            ):
                await client.edit(operation)
            assert client.document == {
                "title": "Updated Meeting Title",
                "start_time": "2025-12-15T14:00:00Z",
                "attendees": [*people[:2], john],
            }
            assert client.version == 5


async def test_the_integration_test_of_8_2(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with wire(node.url) as client1, wire(node.url) as client2:
            for client, name in ((client1, "one"), (client2, "two")):
                await client.ask(
                    "AUTH", {"token": node.token(name), "client_id": f"{name}-1", "user_id": name}
                )
            await create_with_two(client1)
            await client1.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
            await client2.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
            await client1.send(
                "OP",
                {
                    "resource_id": "42",
                    "resource_type": "event",
                    "operation": {"op": "replace", "path": "/title", "value": "New Title"},
                    "version": 1,
                    "client_id": "one-1",
                },
            )
            update = await client2.take("OP_BROADCAST")
            assert update["operation"]["path"] == "/title"
            assert update["operation"]["value"] == "New Title"
            assert update["version"] == 2
            assert (update["client_id"], update["user_id"]) == ("one-1", "one")


async def create_with_two(client: Wire) -> None:
    await client.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
    await client.ask(
        "OP",
        {
            "resource_id": "42",
            "resource_type": "event",
            "operation": {"op": "add", "path": "", "value": EVENT},
            "version": 0,
            "client_id": "one-1",
        },
    )


async def test_the_k6_script_of_8_3_with_the_token_in_the_header(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        token = node.token("k6")
        async with wire(node.url, bearer=token) as opened:
            await create(opened, "load")
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(node.url, additional_headers=headers, proxy=None, open_timeout=PATIENCE_S) as ws:
            await ws.send('{"type": "SUBSCRIBE", "payload": {"resource": "event", "resource_id": "load"}}')
            operation = {"op": "replace", "path": "/title", "value": "from k6"}
            payload = {
                "resource_id": "load",
                "resource_type": "event",
                "operation": operation,
                "version": 1,
                "client_id": "vu-1",
            }
            await ws.send(json.dumps({"type": "OP", "payload": payload}))
            received: list[dict[str, Any]] = []
            with trio.fail_after(PATIENCE_S):
                while not received or received[-1]["type"] != "OP_ACK":
                    data = await ws.recv()
                    assert len(data) > 0
                    received.append(json.loads(data))
            assert received[0]["type"] == "AUTH_ACK"  # unasked
            assert received[1]["type"] == "SUBSCRIBE_ACK"
            assert received[-1]["payload"]["version"] == 2
            assert not [message for message in received if message["type"] == "ERROR"]
