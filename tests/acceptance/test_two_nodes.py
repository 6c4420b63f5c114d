"""One client on two nodes at once: what it sends to either, and again to the other, is there once."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import trio
from websockets.exceptions import WebSocketException

from gateway.admission import create_secret
from tests.clients.desk import created, named, signed_in, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import Closed, Payload, Refused, wire
from tests.servers import redis_server

RESOURCE = "event:shared"
PAIRS = 30
# It is replaced by its own connection to the other node, or its node was killed.
CLOSED = {4409, 1006}


class Nodes:
    """Two of one cluster, with a directory each; `kill` ends the first, `restart` brings it back."""

    def __init__(self, stack: ExitStack, folder: Path, redis_url: str) -> None:
        self._stack = stack
        self._redis_url = redis_url
        self._data = [folder / "n1", folder / "n2"]
        create_secret(self._data[0] / "jwt-secret")
        self._data[1].mkdir()
        shutil.copy(self._data[0] / "jwt-secret", self._data[1])
        self.both = [self._started(0), self._started(1)]

    def _started(self, number: int) -> Gateway:
        words = ("--node", f"n{number + 1}", "--redis", self._redis_url)
        return self._stack.enter_context(gateway(self._data[number], arguments=words))

    def kill(self) -> None:
        self.both[0].kill()

    def restart(self) -> None:
        self.both[0] = self._started(0)


class Twin:
    """A client that is on both nodes, and sends again until it is answered; `versions` by seq."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._numbers = itertools.count(1)
        self.versions: dict[int, set[int]] = {}
        self.head = 1

    async def send_pair(self) -> None:
        """Two edits on one base at once, one to each node, and both to the other again."""
        edits = [self._edit(next(self._numbers)) for _ in range(2)]
        for order in ((0, 1), (1, 0)):
            async with trio.open_nursery() as nursery:
                for edit, first in zip(edits, order, strict=True):
                    nursery.start_soon(self._settle, edit, first)
        self.head = max(version for edit in edits for version in self.versions[edit["seq"]])

    def _edit(self, seq: int) -> Payload:
        operation = {"op": "add", "path": "/tags/-", "value": f"edit {seq}"}
        return {
            **named(RESOURCE),
            "operations": [operation],
            "version": self.head,
            "client_id": "tab",
            "seq": seq,
        }

    async def _settle(self, edit: Payload, first: int) -> None:
        """Send it until it is answered: to one node, and then to the other."""
        seq = edit["seq"]
        for attempt in itertools.count(first):
            ack = await self._answered(self._nodes.both[attempt % 2], edit)
            if ack is not None:
                assert ack.get("duplicate") or seq not in self.versions, "it was answered before"
                self.versions.setdefault(seq, set()).add(ack["version"])
                return

    async def _answered(self, node: Gateway, edit: Payload) -> Payload | None:
        """The OP_ACK; None where the connection ended before, or the log was too slow."""
        ack = None
        with suppress(OSError, WebSocketException):
            async with wire(node.url, node.token("ann")) as opened:
                with suppress(Closed):
                    await opened.ask("AUTH", {"client_id": "tab", "protocol": 1})
                    await subscribe(opened, RESOURCE)
                    try:
                        ack = await opened.ask("OP", edit)
                    except Refused as refused:
                        if refused.code != "UNAVAILABLE":
                            raise
                assert opened.close_code is None or opened.close_code in CLOSED, opened.close_reason
        return ack


async def committed(node: Gateway) -> Sequence[tuple[int | None, int, Any]]:
    """Every change of the resource: seq, version and operations."""
    async with signed_in(node, "judge") as judge:
        await subscribe(judge, RESOURCE)
        asked = {**named(RESOURCE), "last_version": 0, "max_changes": 1000}
        changes = (await judge.ask("SYNC_REQUEST", asked))["changes"]
    assert [change["version"] for change in changes] == list(range(1, len(changes) + 1))
    return [(change.get("seq"), change["version"], change["operations"]) for change in changes]


async def test_each_edit_of_a_client_on_two_nodes_at_once_is_there_once(tmp_path: Path) -> None:
    with redis_server() as redis, ExitStack() as stack:
        nodes = Nodes(stack, tmp_path, redis.url)
        async with signed_in(nodes.both[1], "creator") as creator:
            await created(creator, RESOURCE)
        twin = Twin(nodes)
        for _ in range(PAIRS):
            await twin.send_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(twin.send_pair)
            await trio.sleep(0.01)
            nodes.kill()
        await twin.send_pair()
        await trio.to_thread.run_sync(nodes.restart)
        await twin.send_pair()
        found = [await committed(node) for node in nodes.both]
        assert found[0] == found[1]
        by_seq = {seq: version for seq, version, _ in found[0] if seq is not None}
        assert len(by_seq) == len(found[0]) - 1 == len(twin.versions)
        assert {seq: {version} for seq, version in by_seq.items()} == twin.versions
