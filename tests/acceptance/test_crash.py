"""What an acknowledgement is worth: kill -9 while clients edit, and SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.exceptions import WebSocketException

from tests.clients.desk import created, named, op, signed_in, state, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.transports import TRANSPORTS
from tests.clients.wire import Closed, Payload, Refused, Wire, wire
from tests.waiting import until

CLIENTS = 50
RESOURCES = [f"event:shared-{n}" for n in range(10)]
Sent = dict[int, Payload]  # seq -> the payload of the OP


class Writer:
    """Edits one resource as fast as it is acknowledged, and remembers what it sent and what was answered."""

    def __init__(self, number: int) -> None:
        self.user = f"writer{number}"
        self.resource = RESOURCES[number % len(RESOURCES)]
        self.sent: Sent = {}
        self.acknowledged: dict[int, int] = {}  # seq -> version

    async def write(self, node: Gateway) -> None:
        """Until the connection breaks."""
        async with signed_in(node, self.user) as opened:
            try:
                version = (await subscribe(opened, self.resource))["version"]
                while True:
                    seq = len(self.sent) + 1
                    operation = {"op": "add", "path": "/tags/-", "value": f"{self.user}#{seq}"}
                    self.sent[seq] = op(opened, self.resource, version, operation, seq=seq)
                    ack = await opened.ask("OP", self.sent[seq])
                    self.acknowledged[seq] = version = ack["version"]
            except Closed:
                return

    async def resend(self, node: Gateway) -> None:
        """The last 16 submissions once more: known ones have the version they had."""
        async with signed_in(node, self.user) as opened:
            await subscribe(opened, self.resource)
            for seq in sorted(self.sent)[-16:]:
                ack = await opened.ask("OP", self.sent[seq])
                if seq in self.acknowledged:
                    assert (ack["version"], ack["duplicate"]) == (self.acknowledged[seq], True)
                self.acknowledged[seq] = ack["version"]


async def write_all(node: Gateway, writers: Sequence[Writer], then: Any) -> None:
    """All writers at once; `then` is awaited meanwhile."""
    async with trio.open_nursery() as nursery:
        for writer in writers:
            nursery.start_soon(writer.write, node)
        await then(node, writers)


async def acknowledged(writers: Sequence[Writer], edits: int) -> None:
    """Until so many edits more are acknowledged, some of each writer: so all are connected."""
    before = [len(writer.acknowledged) for writer in writers]

    def enough() -> bool:
        more = [len(writer.acknowledged) - count for writer, count in zip(writers, before, strict=True)]
        return sum(more) > edits and all(more)

    await until(enough, f"{edits} edits more")


async def history(opened: Wire, resource: str) -> list[Payload]:
    """Every change of a resource (at most 1,000, the cap of a resume)."""
    await subscribe(opened, resource)
    answer = await opened.ask("SYNC_REQUEST", {**named(resource), "last_version": 0, "max_changes": 1000})
    changes: list[Payload] = answer["changes"]
    versions = [change["version"] for change in changes]
    assert versions == list(range(1, answer["current_version"] + 1)), "a gap, or a double"
    return changes


async def check(node: Gateway, writers: Sequence[Writer]) -> int:
    """Every acknowledged operation is there once, under its version. Returns how many there are."""
    count = 0
    async with signed_in(node, "judge") as judge:
        for resource in RESOURCES:
            changes = await history(judge, resource)
            by_seq: dict[tuple[str, int], int] = {}
            for change in changes:
                if "seq" in change:
                    key = (change["user_id"], change["seq"])
                    assert key not in by_seq, f"{key} is there twice"
                    by_seq[key] = change["version"]
            _, document = await state(judge, resource)
            for writer in writers:
                if writer.resource == resource:
                    for seq, version in writer.acknowledged.items():
                        assert by_seq[(writer.user, seq)] == version
                        assert document["tags"].count(f"{writer.user}#{seq}") == 1
                        count += 1
    return count


async def create_all(node: Gateway) -> None:
    async with signed_in(node, "creator") as creator:
        for resource in RESOURCES:
            await created(creator, resource)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_after_kill_9_everything_acknowledged_is_there_once(tmp_path: Path, transport: str) -> None:
    writers = [Writer(number) for number in range(CLIENTS)]

    async def kill_soon(node: Gateway, writers: Sequence[Writer]) -> None:
        await acknowledged(writers, 500)
        node.kill()

    with gateway(tmp_path, server__transport=transport) as node:
        await create_all(node)
        await write_all(node, writers, kill_soon)
    with gateway(tmp_path, server__transport=transport) as node:
        assert await check(node, writers) >= 500
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.resend, node)
        assert await check(node, writers) == sum(len(writer.sent) for writer in writers)


async def attack(node: Gateway, number: int, *, task_status: trio.TaskStatus[None]) -> None:
    """The dearest edits, one after the other, until the connection breaks."""
    patch = [{"op": "text", "path": "/description", "value": [100 * n, "y"]} for n in range(1000)]
    async with signed_in(node, f"attacker{number}") as opened:
        with suppress(Closed):
            resource = await created(opened, value={"title": "T", "description": "x" * 150_000})
            task_status.started()
            while True:
                with suppress(Refused):
                    await opened.ask("OP", op(opened, resource, 1, *patch))


async def test_kill_9_again_and_again_under_attack_loses_nothing_acknowledged(tmp_path: Path) -> None:
    writers = [Writer(number) for number in range(10)]

    async def kill_soon(node: Gateway, writers: Sequence[Writer]) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                await nursery.start(attack, node, number)
            await acknowledged(writers, 40)
            node.kill()

    for round_ in range(3):
        with gateway(tmp_path) as node:
            if round_ == 0:
                await create_all(node)
            await write_all(node, writers, kill_soon)
    with gateway(tmp_path) as node:
        assert await check(node, writers) >= 120


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sigterm_says_goodbye_and_loses_nothing_acknowledged(tmp_path: Path, transport: str) -> None:
    writers = [Writer(number) for number in range(20)]
    idle: list[Wire] = []

    async def stop_soon(node: Gateway, writers: Sequence[Writer]) -> None:
        await acknowledged(writers, 200)
        async with AsyncExitStack() as stack:
            idle.extend([await stack.enter_async_context(signed_in(node, f"idle{n}")) for n in range(5)])
            node.terminate()
            delays = [(await opened.take("GOAWAY"))["reconnect_after_ms"] for opened in idle]
            assert len(set(delays)) == len(delays), "each has its own"
            assert all(isinstance(delay, int) and delay > 0 for delay in delays)
            for opened in idle:
                assert await opened.closed() == 1001
            assert await trio.to_thread.run_sync(node.wait) == 0

    patient = {"timeouts__drain_grace_s": 300}  # longer than anybody waits for its end
    with gateway(tmp_path, server__transport=transport, **patient) as node:
        await create_all(node)
        await write_all(node, writers, stop_soon)
        assert not [line for line in node.log if "ERROR" in line or "Traceback" in line]
    with gateway(tmp_path, server__transport=transport) as node:
        assert await check(node, writers) >= 200


async def test_a_draining_node_takes_nobody_in(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with signed_in(node) as opened:
            node.terminate()
            await opened.take("GOAWAY")
            with pytest.raises((OSError, WebSocketException)):  # refused, reset, or 503
                async with wire(node.url):
                    pass
            assert await opened.closed() == 1001
        assert await trio.to_thread.run_sync(node.wait) == 0


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with signed_in(node) as opened:
            await created(opened, "event:42")
            node._process.send_signal(signal.SIGTERM)
            node._process.send_signal(signal.SIGTERM)
            await trio.to_thread.run_sync(node.wait)
    with gateway(tmp_path) as node:
        async with signed_in(node) as opened:
            assert (await subscribe(opened, "event:42"))["version"] == 1
