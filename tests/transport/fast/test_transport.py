"""The fast transport: the contract, and what only it does."""

from __future__ import annotations

import fcntl
import json
import logging
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from gateway.config import Config
from gateway.errors import ConfigError
from gateway.node import make_transport
from gateway.ports import Own
from gateway.runtime.metrics import Counters
from gateway.transport.fast.arrival import REFUSED_MAX
from gateway.transport.fast.transport import FastTransport, obstacle
from tests.certificates import self_signed
from tests.contracts.transport_contract import (
    TOPIC,
    Served,
    TransportContract,
    answer,
    ask,
    call,
    raw_answer,
    raw_ask,
    slow_sockets,
)
from tests.transport.wire import CLOSE, PONG, TEXT, Gone, RawClient, close_frame, frame, request
from tests.waiting import until, until_equal

TEXT_OF_SIZE = "all work and no play makes a dull gateway; "


def unacknowledged_bytes(client: RawClient) -> int:
    """What was sent and isn't in the peer's buffer."""
    found = fcntl.ioctl(client.stream.socket.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(found, sys.byteorder)


class TestFastTransport(TransportContract):
    def make(self, config: Config, counters: Counters) -> FastTransport:
        return FastTransport(config, counters)

    # --------------------------------------------------------------------------------- compression

    async def test_members_with_and_without_compression_get_the_same_messages(self) -> None:
        async with (
            self.serving() as served,
            served.connect(compression="deflate") as small,
            served.connect(compression=None) as plain,
        ):
            for client in (small, plain):
                await ask(client, do="join")
            await call(plain, do="commit", pad=2000)
            await call(small, do="commit", pad=2000)
            assert (await answer(plain))["type"] == "ack"
            got = [await answer(small), await answer(plain)]
            assert [message["pad"] for message in got] == ["x" * 2000] * 2
            assert await answer(small) == {"type": "ack", "version": 2}

    async def test_a_long_message_is_compressed_and_a_short_one_is_not(self) -> None:
        async with self.serving() as served:
            client = await self.open_compressed(served, "permessage-deflate")
            await client.send_text(json.dumps({"do": "echo", "text": "short"}))
            assert await self.first_and_size(client) == (0x81, 33)
            await client.send_text(json.dumps({"do": "echo", "text": TEXT_OF_SIZE * 20}))
            first, size = await self.first_and_size(client)
            assert first == 0xC1
            assert size < 120

    async def test_without_compression_in_the_configuration_no_offer_is_taken(self) -> None:
        async with self.serving(server={"compression": False}) as served:
            client = await served.dial()
            await client.send(request(Sec_WebSocket_Extensions="permessage-deflate"))
            assert b"extensions" not in (await client.head()).lower()

    async def test_a_message_that_inflates_beyond_the_limit_is_refused(self) -> None:
        async with self.serving() as served, served.connect(compression="deflate") as client:
            await call(client, do="echo", text="x" * 100_000)
            await client.wait_closed()
            assert client.close_code == 1009

    async def open_compressed(self, served: Served, offer: str) -> RawClient:
        client = await served.dial()
        await client.send(request(Sec_WebSocket_Extensions=offer))
        assert b"permessage-deflate" in await client.head()
        return client

    async def first_and_size(self, client: RawClient) -> tuple[int, int]:
        first, size = await client._take(2)
        if size == 126:
            size = int.from_bytes(await client._take(2), "big")
        await client._take(size)
        return first, size

    # --------------------------------------------------------------------------------- turning away

    async def test_what_comes_in_one_read_with_what_is_turned_away_is_asked_about_together(self) -> None:
        async with self.serving() as served:
            client = await self.read_at_once(served, [{"do": "rest"}] * 101 + [{"do": "echo", "text": "on"}])
            told = [(await raw_answer(client))["type"] for _ in range(103)]
            assert told == ["waited"] + ["rests"] * 101 + ["echo"]
            [session] = served.core.clients
            assert [len(payloads) for payloads in session.together] == [64, 36]
            assert len(session.received) == 1 + 2 + 1
            assert served.counters.messages_received == 103

    async def test_a_large_message_is_not_looked_at_together_with_others(self) -> None:
        """Megabytes may come in one read, compressed: others have their turns between."""
        async with self.serving() as served:
            client = await self.read_at_once(served, [{"do": "rest", "pad": "x" * 4000}] * 15)
            assert [(await raw_answer(client))["type"] for _ in range(16)] == ["waited"] + ["rests"] * 15
            [session] = served.core.clients
            assert [len(payloads) for payloads in session.together] == [4, 4, 4]

    async def read_at_once(self, served: Served, commands: Sequence[Mapping[str, Any]]) -> RawClient:
        """A client whose messages come while it isn't read, so that all are there at the next read."""
        client = await served.open()
        await client.send_text('{"do": "wait"}')
        await until(lambda: bool(served.core.clients[0].received))
        await client.send(b"".join(frame(TEXT, json.dumps(command).encode()) for command in commands))
        await until(lambda: unacknowledged_bytes(client) == 0)
        served.core.gate.set()
        return client

    # ------------------------------------------------------------------------------------- joining

    async def test_joined_messages_keep_their_order_with_direct_ones(self) -> None:
        """The loop is told that it is busy, so that everything is joined for a moment."""
        async with self.serving() as served, served.connect() as client:
            await ask(client, do="join")
            self.pretend_busy(served)
            for number in range(50):
                await call(client, do="commit", count=2)
                await call(client, do="echo", text=str(number))
            got = [await answer(client) for _ in range(150)]
            expected: list[Any] = []
            for number in range(50):
                expected += [{"type": "ack", "version": 2 * number + v} for v in (1, 2)]
                expected.append({"type": "echo", "text": str(number)})
            assert got == expected

    async def test_who_asks_without_reading_is_not_read_from_either_when_answers_are_joined(self) -> None:
        async with self.serving(**slow_sockets()) as served:
            client = await served.open(receive_bytes=4096)
            self.pretend_busy(served)
            asked = frame(TEXT, json.dumps({"do": "echo", "text": "x" * 1000}).encode())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, asked * 200)
                await trio.sleep(0.2)
                assert len(served.core.clients[0].received) < 200
                for _ in range(200):
                    await raw_answer(client)

    async def test_a_close_overtakes_nothing_that_is_joined(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            await raw_ask(client, do="join")
            self.pretend_busy(served)
            await client.send_text('{"do": "commit", "count": 20}')
            await client.send_text('{"do": "close", "code": 4408, "reason": "idle"}')
            for version in range(1, 21):
                assert (await raw_answer(client))["version"] == version
            assert (await client.receive()).opcode == CLOSE

    async def test_who_goes_on_sending_after_our_close_frame_is_read_slowly(self) -> None:
        """Reading all of it to throw it away would be a core's work, for as long as a close may take."""
        async with self.serving(**slow_sockets()) as served:
            client = await served.open()
            await client.send_text('{"do": "close", "code": 4408, "reason": "idle"}')
            assert (await client.receive()).code == 4408
            sent, chunk = 0, frame(TEXT, b"x" * 1000) * 64
            with trio.move_on_after(1.2), suppress(Gone):  # three ticks of those that rest, at the most
                while True:
                    await client.send(chunk)
                    sent += len(chunk)
            assert 64 << 10 <= sent < 2 << 20

    def pretend_busy(self, served: Served) -> None:
        load = served.transport._shared.flusher.load  # type: ignore[attr-defined]
        load.interval_s = 0.02
        load.after_io_wait = load.before_io_wait = lambda timeout: None

    async def test_a_fan_out_in_many_slices_reaches_everybody_in_order(self) -> None:
        async with self.serving(server={"flush_slice_ms": 0.05}) as served:
            clients = [await served.open() for _ in range(120)]
            for client in clients:
                await raw_ask(client, do="join")
            await clients[0].send_text('{"do": "commit", "count": 3, "pad": 100}')
            await clients[0].send_text('{"do": "commit", "count": 2, "pad": 100}')
            for client in clients:
                assert [(await raw_answer(client))["version"] for _ in range(5)] == [1, 2, 3, 4, 5]

    # ------------------------------------------------------------------------------------ lifetime

    async def test_a_task_that_is_free_again_serves_the_next_connection(self) -> None:
        async with self.serving() as served:
            tasks: list[list[int]] = []
            for _ in range(5):
                async with served.connect() as client:
                    await ask(client, do="echo", text="here")
                    tasks.append(self.tasks(served))
                await served.core.until_left(len(tasks))
            assert len({task for found in tasks for task in found}) == 1

    def tasks(self, served: Served) -> list[int]:
        connections = served.transport._shared.connections.values()  # type: ignore[attr-defined]
        return [id(connection.task) for connection in connections]

    async def test_work_that_is_awaited_ends_with_its_connection_and_the_task_serves_on(self) -> None:
        async with self.serving(timeouts={"stall_timeout_s": 0.2, "ping_interval_s": 0.05}) as served:
            client = await served.open()
            await client.send_text('{"do": "wait"}')
            await until(lambda: bool(served.core.clients[0].received))
            served.core.clients[0].connection.close(1001, "away")
            await served.core.until_left(1)
            async with served.connect() as other:
                assert (await ask(other, do="echo", text="here"))["text"] == "here"

    async def test_a_socket_whose_request_never_comes_or_is_refused_takes_no_task_and_no_slot(self) -> None:
        async with self.serving() as served:
            silent, refused = await served.dial(), await served.dial()
            await refused.send(request("/elsewhere"))
            assert b" 404 " in (await refused.head()).splitlines()[0]
            shared, arrivals = self.shared_and_arrivals(served)
            assert len(arrivals) == 2
            assert not shared.connections
            assert len(shared.slots) == 0
            silent.stream.socket.close()
            refused.stream.socket.close()
            await until_equal(partial(len, arrivals), 0)
            assert not any(shared.sweep._buckets.values())

    async def test_who_was_refused_and_stays_holds_up_nobody(self) -> None:
        async with self.serving(limits={"handshakes_per_address_max": 2}) as served:
            refused = []
            for _ in range(REFUSED_MAX + 10):
                refused.append(client := await served.dial())
                await client.send(request("/elsewhere"))
                assert b" 404 " in (await client.head()).splitlines()[0]
            _, arrivals = self.shared_and_arrivals(served)
            assert len(arrivals) == REFUSED_MAX
            async with served.connect() as client:
                assert (await ask(client, do="echo", text="here"))["text"] == "here"

    async def test_sockets_whose_requests_never_came_are_closed_with_the_transport(self) -> None:
        async with self.serving() as served:
            silent = await served.dial()
            async with served.connect() as client:
                await ask(client, do="echo", text="accepted after the silent one")
            served.scope.cancel()
            assert await silent.stream.receive_some() == b""

    def shared_and_arrivals(self, served: Served) -> Any:
        transport = served.transport
        return transport._shared, transport._arrivals  # type: ignore[attr-defined]

    async def test_a_closed_connection_is_held_by_nothing(self) -> None:
        async with self.serving() as served:
            async with served.connect() as client:
                await ask(client, do="join")
            await served.core.until_left(1)
            shared = served.transport._shared  # type: ignore[attr-defined]
            assert not shared.connections
            assert len(shared.slots) == 0
            assert not any(shared.sweep._buckets.values())

    async def test_events_behind_an_awaited_message_are_kept_in_order(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            echoes = [frame(TEXT, b'{"do": "echo", "text": "%d"}' % number) for number in range(3)]
            await client.send(frame(TEXT, b'{"do": "wait"}') + b"".join(echoes) + close_frame(1000))
            await until(lambda: bool(served.core.clients[0].received))
            served.core.gate.set()
            kinds = [json.loads((await client.receive()).payload) for _ in range(4)]
            assert [kind.get("text", kind["type"]) for kind in kinds] == ["waited", "0", "1", "2"]
            assert (await client.receive()).code == 1000

    async def test_a_pong_is_sent_for_a_ping_between_fragments(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            whole = b'{"do": "echo", "text": "pieces"}'
            await client.send(frame(TEXT, whole[:9], fin=False) + frame(9, b"now") + frame(0, whole[9:]))
            got = await client.receive()
            assert (got.opcode, got.payload) == (PONG, b"now")
            assert (await raw_answer(client))["text"] == "pieces"

    # -------------------------------------------------------------------------------------- groups

    async def test_a_member_that_is_added_twice_is_one(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            await raw_ask(client, do="join")
            await raw_ask(client, do="join")
            group = served.core.room(TOPIC).group
            assert len(group) == 1
            await self.publish(served, [b'"once"'], {})
            assert await raw_answer(client) == "once"
            group.discard(served.core.clients[0].connection)
            group.discard(served.core.clients[0].connection)
            assert len(group) == 0

    async def test_something_of_its_own_for_somebody_outside_the_group_is_not_sent(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            outside = served.core.clients[0].connection
            await self.publish(served, [b'"no"'], {outside: {0: Own(b'"no"')}})
            assert (await raw_ask(client, do="echo", text="first"))["text"] == "first"

    async def publish(self, served: Served, payloads: Sequence[bytes], own: Any) -> None:
        served.core.room(TOPIC).group.publish(payloads, own, TOPIC)
        await trio.lowlevel.checkpoint()


def test_tls_is_refused_with_the_way_out_to_who_asks_for_this_transport(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = self_signed(tmp_path)
    config = Config().with_(server={"tls_cert": str(made.certificate), "tls_key": str(made.key)})
    with pytest.raises(ConfigError, match="no TLS"):
        FastTransport(config, Counters())
    assert obstacle(Config()) is None
    with pytest.raises(ConfigError, match=r"no TLS.*: set server\.transport to auto or portable"):
        make_transport(config.with_(server={"transport": "fast"}), Counters())
    caplog.set_level(logging.INFO)
    assert make_transport(config, Counters()).name == "portable"
    [told] = caplog.messages
    assert "no TLS" in told and "set server.transport" not in told, "it is auto"
