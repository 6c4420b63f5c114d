"""A reader that stops reading: others don't notice, nor does the memory, and it is right again later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from tests.clients.desk import created, named, signed_in, state, submit, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.patching import apply
from tests.clients.transports import TRANSPORTS
from tests.clients.wire import Wire
from tests.operations import replace
from tests.transport.wire import RawClient
from tests.waiting import PATIENCE_S

OUTBOX_BYTES_MAX = 64 * 1024
SETTINGS = {
    "limits__outbox_bytes_max": OUTBOX_BYTES_MAX,
    "server__socket_send_bytes": 8192,
    "timeouts__stall_timeout_s": 120,  # nobody who reads is late by that
    "limits__user_cpu_share": 1,  # one user writes for all, as fast as it can
}
EDITS = 600
PAD = "x" * 2000


class Reader:
    """A client on a bare socket, which reads when it is told to."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.version = 0
        self.document: Any = None
        self.jumps = 0
        self.acks: list[str] = []
        self.conflicts: dict[str, Any] = {}
        self.people: set[str] = set()

    @classmethod
    async def subscribed(cls, node: Gateway, resource: str, user: str) -> Reader:
        port = urlsplit(node.url).port
        assert port is not None
        reader = cls(await RawClient.open(port, receive_bytes=8192))
        kind, _, ident = resource.partition(":")
        await reader.send("AUTH", {"token": node.token(user), "client_id": f"{user}-1", "protocol": 1})
        await reader.send("SUBSCRIBE", {"resource": kind, "resource_id": ident})
        while not reader.people:
            await reader.read_one()
        return reader

    async def send(self, kind: str, payload: dict[str, Any], id: str = "x") -> None:
        await self.client.send_text(json.dumps({"type": kind, "id": id, "payload": payload}))

    async def read_until(self, version: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while self.version < version:
                await self.read_one()

    async def read_one(self) -> None:
        message = json.loads(await self.client.receive_message())
        payload = message["payload"]
        match message["type"]:
            case "SUBSCRIBE_ACK":
                self.version, self.document = payload["version"], payload["state"]
            case "OP_BROADCAST" | "OP_ACK":
                assert payload["version"] == self.version + 1, "a gap without a SYNC_RESPONSE"
                self.version = payload["version"]
                if message["type"] == "OP_ACK":
                    self._acknowledged(payload)
                operations = payload.get("operations") or [payload.get("operation", {"op": "noop"})]
                self.document = apply(self.document, operations)
            case "SYNC_RESPONSE":
                assert payload["current_version"] >= self.version
                self.version, self.document = payload["current_version"], payload["state"]
                for ack in payload.get("acks", ()):
                    self._acknowledged(ack)
                self.jumps += 1
            case "PRESENCE_STATE":
                self.people = {entry["user_id"] for entry in payload["presences"]}
            case "PRESENCE_JOIN":
                self.people.add(payload["user_id"])
            case "PRESENCE_LEAVE":
                self.people.discard(payload["user_id"])
            case "ERROR":
                raise AssertionError(payload)

    def _acknowledged(self, ack: dict[str, Any]) -> None:
        self.acks.append(ack["id"])
        self.conflicts[ack["id"]] = [
            (found["index"], found["path"], found["kind"], found["user_id"])
            for found in ack.get("conflicts", ())
        ]


async def edit(author: Wire, resource: str, first: int, count: int) -> float:
    """So many edits, one after the other; returns the longest wait for an acknowledgement in seconds."""
    longest_s = 0.0
    for version in range(first, first + count):
        started = trio.current_time()
        await submit(author, resource, version, replace("/title", f"{version} {PAD}"))
        longest_s = max(longest_s, trio.current_time() - started)
    return longest_s


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_slow_reader_harms_nobody_and_is_right_again(tmp_path: Path, transport: str) -> None:
    with gateway(tmp_path, server__transport=transport, **SETTINGS) as node:
        async with signed_in(node) as author, signed_in(node, "other") as other:
            resource = await created(author)
            await subscribe(other, resource)
            slow = [await Reader.subscribed(node, resource, f"slow{n}") for n in range(5)]
            await edit(author, resource, 1, 50)
            before = node.rss_bytes()
            longest_s = await edit(author, resource, 51, EDITS - 50)
            growth = node.rss_bytes() - before
            assert longest_s < 10, "it waited for who doesn't read"
            seen = [await other.take("OP_BROADCAST") for _ in range(EDITS)]
            assert [payload["version"] for payload in seen] == list(range(2, EDITS + 2))
            # What was sent while nobody read is ten times what may be kept.
            assert EDITS * len(PAD) > 10 * OUTBOX_BYTES_MAX
            assert growth < 16 * 1024 * 1024, f"{growth} bytes"

            version, document = await state(author, resource)
            for reader in slow:
                await reader.read_until(version)
                assert reader.document == document
                assert reader.jumps >= 1
            await submit(author, resource, version, replace("/title", "short again"))
            for reader in slow:
                await reader.read_until(version + 1)
                assert reader.document["title"] == "short again"
                await reader.client.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_its_own_acknowledgements_and_who_is_there_are_not_lost(tmp_path: Path, transport: str) -> None:
    with gateway(tmp_path, server__transport=transport, **SETTINGS) as node:
        async with signed_in(node) as author:
            resource = await created(author)
            reader = await Reader.subscribed(node, resource, "slow")
            version = 1
            sent = []
            for n in range(40):
                ident = f"mine-{n}"
                payload = {
                    **named(resource),
                    "operations": [
                        {"op": "add", "path": "/tags/-", "value": f"tag {n}"},
                        replace("/title", f"mine {n}"),
                    ],
                    "version": 1,
                    "client_id": "slow-1",
                    "seq": n + 1,
                }
                await reader.send("OP", payload, ident)
                sent.append(ident)
                await author.take("OP_BROADCAST")
                await edit(author, resource, version + 1, 8)
                version += 9
                async with signed_in(node, "visitor") as visitor:  # comes and goes, unseen by the slow one
                    await subscribe(visitor, resource)
            await reader.read_until(version)
            assert reader.jumps >= 1
            assert reader.acks == sent
            overwrote = (1, "/title", "overwrote", "ann")
            assert reader.conflicts == {ident: [overwrote] if ident != sent[0] else [] for ident in sent}
            assert reader.document == (await state(author, resource))[1]
            with trio.fail_after(PATIENCE_S):
                while reader.people != {"ann", "slow"}:
                    await reader.read_one()
            await reader.client.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_reader_without_progress_is_closed_with_4429(tmp_path: Path, transport: str) -> None:
    settings = {**SETTINGS, "timeouts__stall_timeout_s": 0.5, "timeouts__close_timeout_s": 0.5}
    with gateway(tmp_path, server__transport=transport, **settings) as node:
        async with signed_in(node) as author:
            resource = await created(author)
            reader = await Reader.subscribed(node, resource, "slow")
            version = 1
            with trio.fail_after(PATIENCE_S):
                while not author.of_type("PRESENCE_LEAVE"):
                    await edit(author, resource, version, 20)
                    version += 20
            await reader.client.aclose()
            assert (await subscribe(author, resource))["version"] == version
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            metrics = (await http.get(f"{node.admin_url}/metrics")).text
        assert 'websocket_connections_closed_total{code="4429"} 1' in metrics
