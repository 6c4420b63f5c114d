"""100,000 hostile messages: each is answered, the node stays up, its memory flat, others unharmed."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.acceptance.hostile import REFUSALS, Generator, Hostile
from tests.clients.desk import created, signed_in, state, submit, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.transports import TRANSPORTS
from tests.operations import replace
from tests.transport.wire import CLOSE, PING, PONG, TEXT, Gone, RawClient, frame
from tests.waiting import PATIENCE_S

MESSAGES = {name: 100_000 if name == TRANSPORTS[-1] else 10_000 for name in TRANSPORTS}
CONNECTIONS = 4
BATCH = 250
GROWTH_BYTES_MAX = 24 * 1024 * 1024
GRANTS = {"event:hostile-*": "editor"}


class Attacker:
    """Sends batches on one connection after the other, and checks the answers."""

    def __init__(self, node: Gateway, number: int) -> None:
        self.node = node
        self.ident = f"hostile-{number}"
        self.token = node.token(self.ident, GRANTS)
        self.generator = Generator(number, self.ident)
        self.answered = 0
        self._pings = itertools.count(1)

    async def connect(self) -> RawClient:
        port = urlsplit(self.node.url).port
        assert port is not None
        client = await RawClient.open(port)
        for kind, payload in (
            ("AUTH", {"token": self.token, "client_id": "hostile", "protocol": 1}),
            ("SUBSCRIBE", {"resource": "event", "resource_id": self.ident}),
        ):
            await client.send_text(json.dumps({"type": kind, "payload": payload}))
        while (await self.message(client))["type"] != "SUBSCRIBE_ACK":
            pass
        return client

    async def message(self, client: RawClient) -> Any:
        return json.loads(await client.receive_message())

    async def attack(self, count: int) -> None:
        stream = self.generator.messages(count)
        while True:
            client = await self.connect()
            closed = False
            while not closed:
                batch, closer = _batch(stream)
                if not batch and closer is None:
                    await client.aclose()
                    return
                await self.run_batch(client, batch)
                if closer is not None:
                    await self.run_closer(client, closer)
                    closed = True
            await client.aclose()

    async def run_batch(self, client: RawClient, batch: list[Hostile]) -> None:
        for some in (
            [hostile for hostile in batch if not hostile.may_pass],
            [hostile for hostile in batch if hostile.may_pass],
        ):
            errors = await self.exchange(client, some)
            in_order = iter([error for error in errors if error["ref"] is None])
            by_ref = {error["ref"]: error for error in errors}
            for hostile in some:
                if hostile.may_pass:  # its id may be another one by now, too
                    continue
                error = next(in_order, None) if hostile.ref is None else by_ref[hostile.ref]
                assert error is not None, f"no answer to {hostile}"
                assert error["code"] in hostile.codes, (error, hostile)
            assert next(in_order, None) is None or not some or some[0].may_pass, "answers to nothing"
            assert {error["code"] for error in errors} <= REFUSALS, errors
        self.answered += len(batch)

    async def exchange(self, client: RawClient, batch: list[Hostile]) -> list[Any]:
        """Send all at once, and a PING. Its PONG follows all answers but edits'; returns the ERRORs."""
        last = f"last-{next(self._pings)}"
        ping = frame(TEXT, json.dumps({"type": "PING", "id": last}).encode())
        errors: list[Any] = []
        awaited = {hostile.ref for hostile in batch if hostile.ref is not None and not hostile.may_pass}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"".join(hostile.data for hostile in batch) + ping)
            nursery.cancel_scope.deadline = trio.current_time() + 30
            while last or awaited:
                message = await self.message(client)
                if message["type"] == "ERROR":
                    errors.append(message["payload"])
                    awaited.discard(message["payload"]["ref"])
                elif message["type"] == "PONG" and message["id"] == last:
                    last = ""
        assert not last and not awaited, f"no answer to {awaited} within 30 s"
        return errors

    async def run_closer(self, client: RawClient, hostile: Hostile) -> None:
        async def send() -> None:
            with contextlib.suppress(Gone):
                await client.send(hostile.data)

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while True:
                    got = await client.receive()
                    if got.opcode == CLOSE:
                        break
                    assert got.opcode in (TEXT, PING, PONG)
        assert got.code in hostile.close, (got, hostile)
        self.answered += 1


def _batch(stream: Iterator[Hostile]) -> tuple[list[Hostile], Hostile | None]:
    """Messages up to one that costs the connection, which comes apart."""
    batch: list[Hostile] = []
    for hostile in stream:
        if hostile.close:
            return batch, hostile
        batch.append(hostile)
        if len(batch) == BATCH:
            break
    return batch, None


async def edit_calmly(node: Gateway, stop: trio.Event) -> tuple[int, float]:
    """Two honest clients at work all the while; returns the edits and the longest wait for an answer."""
    edits, longest_s = 0, 0.0
    async with signed_in(node, "calm") as author, signed_in(node, "reader") as reader:
        resource = await created(author, "event:calm")
        await subscribe(reader, resource)
        while not stop.is_set():
            started = trio.current_time()
            await submit(author, resource, edits + 1, replace("/title", f"edit {edits}"), seq=edits + 1)
            longest_s = max(longest_s, trio.current_time() - started)
            edits += 1
            assert (await reader.take("OP_BROADCAST"))["version"] == edits + 1
            await trio.sleep(0.02)
        assert (await state(reader, resource))[0] == edits + 1
        assert not author.of_type("ERROR") and not reader.of_type("ERROR")
    return edits, longest_s


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_hostile_messages_are_answered_and_harm_nobody(tmp_path: Path, transport: str) -> None:
    unlimited = {"limits__reads_per_minute": 0, "limits__user_cpu_share": 1}  # it is about answers, not rates
    more = {"limits__invalid_messages_max": 1_000_000, **unlimited}
    with gateway(tmp_path, server__transport=transport, **more) as node:
        attackers = [Attacker(node, number) for number in range(CONNECTIONS)]
        async with signed_in(node, "owner") as owner:
            for attacker in attackers:
                await created(owner, f"event:{attacker.ident}")
        each = MESSAGES[transport] // CONNECTIONS
        stop = trio.Event()
        async with trio.open_nursery() as calm:
            calm.start_soon(edit_calmly, node, stop)
            await attack_all(attackers, each // 5)  # whatever is allocated once is allocated then
            before = node.rss_bytes()
            await attack_all(attackers, each - each // 5)
            growth = node.rss_bytes() - before
            stop.set()
        assert sum(attacker.answered for attacker in attackers) == MESSAGES[transport]
        assert growth < GROWTH_BYTES_MAX, f"{growth} bytes"
        assert node.running
        assert not [line for line in node.log if "Traceback" in line or "ERROR" in line]


async def attack_all(attackers: list[Attacker], count: int) -> None:
    async with trio.open_nursery() as nursery:
        for attacker in attackers:
            nursery.start_soon(attacker.attack, count)
