"""What a client can make a node do before it has shown who it is, and what may wait of all together.

Counted in messages, bytes and sockets; nothing here looks at a clock.
"""

from __future__ import annotations

import socket
import zlib

import pytest
import trio
import trio.lowlevel

from _speedups import frames
from gateway.config import Config
from gateway.runtime.metrics import Counters
from gateway.transport.fast.loop import PASS_MAX_S, READ, Poller
from gateway.transport.fast.transport import FastTransport
from gateway.transport.handshakes import Handshakes
from gateway.transport.portable.transport import PortableTransport
from tests.clocks import Clock
from tests.contracts.transport_contract import Client, TransportHarness, code_of, raw_answer
from tests.transport.wire import BINARY, PING, PONG, TEXT, Gone, RawClient, frame, request
from tests.waiting import PATIENCE_S, until

ECHO = b'{"do": "echo", "text": "x"}'
KIB = 1024
LIMITS = {
    "message_bytes_max": 256 * KIB,
    "frame_bytes_max": 256 * KIB,
    "unknown_bytes_max": 2 * KIB,
    "document_bytes_max": 64 * KIB,
}


class Strangers(TransportHarness):
    """For both transports: the core's clients are strangers until a test says otherwise."""

    deflates: bool

    @pytest.fixture(autouse=True)
    def unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known = False
        monkeypatch.setattr(Client, "known", property(lambda client: self.known))

    async def test_a_large_message_of_a_stranger_closes_whole_or_unfinished(self) -> None:
        async with self.serving(limits=LIMITS) as served:
            whole, unfinished = await served.open(), await served.open()
            await whole.send(frame(TEXT, b"x" * 3000))
            assert await code_of(whole) == 1009
            await send_until_closed(unfinished, 200 * KIB)
            assert await code_of(unfinished) in (1008, 1009)
            assert served.core.clients[0].received == served.core.clients[1].received == []

    async def test_a_known_client_sends_as_much_as_the_limits_say(self) -> None:
        async with self.serving(limits=LIMITS) as served:
            self.known = True
            client = await served.open()
            text = "y" * (200 * KIB)
            await client.send(frame(TEXT, b'{"do": "echo", "text": "first"}'))
            await raw_answer(client)
            await client.send(frame(TEXT, b'{"do": "echo", "text": "%s"}' % text.encode()))
            assert (await raw_answer(client))["text"] == text

    @pytest.mark.parametrize("kind", [TEXT, BINARY])
    async def test_a_stranger_says_so_many_things_and_no_more(self, kind: int) -> None:
        async with self.serving(limits={"unknown_messages_max": 5}) as served:
            client = await served.open()
            await client.send(frame(kind, ECHO) * 100)
            assert await code_of(client) == 1008
            [known] = served.core.clients
            assert len(known.received if kind == TEXT else known.binaries) == 5

    async def test_a_large_binary_message_of_a_stranger_closes(self) -> None:
        async with self.serving(limits=LIMITS) as served:
            client = await served.open()
            await client.send(frame(BINARY, b"x" * 3000))
            assert await code_of(client) == 1009
            assert served.core.clients[0].binaries == []

    async def test_unfinished_messages_of_all_together_are_bounded(self) -> None:
        bound = {"unfinished_bytes_max": 100 * KIB, "unknown_bytes_max": 64 * KIB}
        async with self.serving(limits={**LIMITS, **bound}) as served:
            self.known = True
            clients = [await served.open() for _ in range(4)]
            for client in clients:
                await client.send(frame(TEXT, ECHO))
                await raw_answer(client)
            for client in clients:  # 4 x 40 KiB that never end
                await send_until_closed(client, 40 * KIB)
            await until(lambda: served.counters.connections < 4)
            assert 2 <= served.counters.connections < 4

    async def test_who_holds_an_unfinished_message_for_longest_makes_room_for_the_others(self) -> None:
        async with self.serving(limits={**LIMITS, "unfinished_bytes_max": 100 * KIB}) as served:
            self.known = True
            first, second, third = [await served.open() for _ in range(3)]
            for client in (first, second, third):
                await client.send(frame(TEXT, ECHO))
                await raw_answer(client)
            text = b"y" * (40 * KIB)
            for client in (first, second):
                await begin(client, text)
            await first.send(frame(0, b'"}') + frame(TEXT, b'{"do": "echo", "text": "', fin=False))
            assert (await raw_answer(first))["text"] == text.decode()
            await first.send(frame(0, text, fin=False) + frame(PING, b""))  # it began later than the second's
            assert (await first.receive()).opcode == PONG
            await begin(third, text)
            assert await code_of(second) == 4429
            for client in (first, third):
                await client.send(frame(0, b'"}'))
                assert (await raw_answer(client))["text"] == text.decode()
            assert len(served.core.clients[1].received) == 1
            await served.core.until_left(1)
            assert served.counters.connections_closed == {"4429": 1}

    async def test_who_sends_compressed_pays_for_inflating(self) -> None:
        text = "y" * (200 * KIB)
        message = b'{"do": "echo", "text": "%s"}' % text.encode()
        async with self.serving(limits=LIMITS) as served:
            self.known = True
            plain, compressing = await served.open(), await served.dial()
            await compressing.send(request(sec_websocket_extensions="permessage-deflate"))
            deflates = b"permessage-deflate" in await compressing.head()
            sent = frame(TEXT, message)
            if deflates:
                sent = frames.encode_masked(TEXT, frames.deflate(message), True)
                assert len(sent) < len(message) / 100
            for client in (plain, compressing):
                await client.send(frame(TEXT, ECHO))
                await raw_answer(client)
            await plain.send(frame(TEXT, message))
            assert (await raw_answer(plain))["text"] == text
            await compressing.send(sent)
            await until(lambda: served.core.clients[1].received[1:] == [message])
            assert deflates is self.deflates, "portable clients can't make the node inflate anything"
            assert [client.inflated_s > 0 for client in served.core.clients] == [False, deflates]

    async def test_a_pong_that_answers_a_ping_of_ours_counts_for_nothing(self) -> None:
        times = {"ping_interval_s": 0.02}
        async with self.serving(limits={**LIMITS, "unknown_messages_max": 2}, timeouts=times) as served:
            client = await served.open()
            for _ in range(4):
                ping = await client.receive()
                assert ping.opcode == PING
                await client.send(frame(PONG, ping.payload))
            await client.send(frame(TEXT, ECHO))
            while (got := await client.receive()).opcode != TEXT:
                assert got.opcode == PING
            assert served.core.clients[0].controls == 0

    @pytest.mark.parametrize("kind", [PING, PONG])
    async def test_a_stranger_sends_as_few_pings_and_pongs_as_messages(self, kind: int) -> None:
        async with self.serving(limits={**LIMITS, "unknown_messages_max": 3}) as served:
            few, many = await served.open(), await served.open()
            await few.send(frame(kind, b"") * 2 + frame(TEXT, ECHO))
            for _ in range(2 if kind == PING else 0):
                assert (await few.receive()).opcode == PONG
            assert (await raw_answer(few))["text"] == "x"
            await many.send(frame(kind, b"") * 4)
            assert await code_of(many) == 1008

    async def test_handshakes_under_way_are_bounded_by_address(self) -> None:
        async with self.serving(limits={"handshakes_per_address_max": 2}) as served:
            held = [await served.dial() for _ in range(2)]
            for client in held:
                await client.send(request()[:20])
            await trio.sleep(0.05)
            refused = await served.dial()
            with trio.fail_after(PATIENCE_S):
                assert await ended(refused)
            assert served.counters.connections_rejected["503"] == 1
            await held[0].send(request()[20:])
            assert (await held[0].head()).startswith(b"HTTP/1.1 101")
            further = await served.open()
            await further.send(frame(TEXT, ECHO))
            await raw_answer(further)


async def begin(client: RawClient, text: bytes) -> None:
    """Send an echo's beginning, up to this text, until the server has read it."""
    await client.send(frame(TEXT, b'{"do": "echo", "text": "' + text, fin=False) + frame(PING, b""))
    assert (await client.receive()).opcode == PONG


async def send_until_closed(client: RawClient, size: int) -> None:
    """Send the beginning of a message, with pings between its pieces."""
    try:
        await client.send(frame(TEXT, b"x" * 1000, fin=False))
        for _ in range(size // 1000):
            await client.send(frame(0, b"x" * 1000, fin=False) + frame(PING, b""))
            await trio.lowlevel.checkpoint()
    except (trio.BrokenResourceError, Gone):
        return


async def ended(client: RawClient) -> bool:
    try:
        return await client.stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


class TestFastStrangers(Strangers):
    deflates = True

    @pytest.mark.parametrize("is_too_much", [False, True])
    async def test_what_comes_compressed_before_the_answer_is_as_bounded_as_a_read(
        self, is_too_much: bool
    ) -> None:
        message = b'{"do": "echo", "text": "%s"}' % (b"y" * (100 * KIB))
        sent = frames.encode_masked(TEXT, frames.deflate(message), True)
        async with self.serving(limits=LIMITS) as served:
            self.known = True
            client = await served.dial()
            early = sent * (5 * KIB // len(sent)) if is_too_much else sent
            await client.send(request(sec_websocket_extensions="permessage-deflate") + early)
            assert b"permessage-deflate" in await client.head()
            if is_too_much:
                assert await code_of(client) == 1002
                assert served.core.clients[0].received == []
            else:
                await until(lambda: served.core.clients[0].received == [message])
                assert served.core.clients[0].inflated_s > 0

    def make(self, config: Config, counters: Counters) -> FastTransport:
        return FastTransport(config, counters)


class TestPortableStrangers(Strangers):
    deflates = False

    def make(self, config: Config, counters: Counters) -> PortableTransport:
        return PortableTransport(config, counters)


def test_one_read_of_compressed_pings_is_a_bounded_piece_of_what_was_written() -> None:
    deflated = frames.deflate(b'{"type": "PING", "payload": "' + b" " * 30_000 + b'"}')
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        sent = frames.encode_masked(TEXT, deflated, True)
        wrote = theirs.send(sent * (65_000 // len(sent)))
        decoder = frames.Decoder(256 * KIB, deflate=True)
        inflated = []
        while events := decoder.receive(ours.fileno()) if wrote else None:
            inflated.append(sum(len(event[1]) for event in events if event[0] == TEXT))
            wrote -= min(wrote, 4 * KIB)
        assert len(inflated) >= 65_000 // (4 * KIB)
        assert max(inflated) <= 1032 * 4 * KIB
        assert sum(inflated) > 10 * max(inflated) / 2


def test_the_best_that_zlib_can_do_is_what_the_bound_counts_on() -> None:
    packed = zlib.compress(b"\0" * (1 << 24), 9)
    assert (1 << 24) / len(packed) < 1032


def test_a_pass_ends_early_when_few_connections_are_much_work_and_the_rest_comes_next() -> None:
    clock = Clock()
    poller = Poller(clock=clock)
    called: list[int] = []

    class Owner:
        def __init__(self, end: socket.socket) -> None:
            self.end = end

        def ready(self, flags: int) -> None:
            called.append(self.end.fileno())
            self.end.recv(1)
            clock.now_s += 0.4 * PASS_MAX_S

    pairs = [socket.socketpair() for _ in range(7)]
    for ours, theirs in pairs:
        theirs.send(b"x")
        poller.watch(ours.fileno(), READ, Owner(ours))
    counts = []
    while len(called) < 7:
        before = len(called)
        poller._pass()
        counts.append(len(called) - before)
    assert counts == [3, 3, 1]
    assert len(set(called)) == 7
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()


def test_handshakes_are_counted_beside_connections_and_by_address() -> None:
    config = Config().with_(server={"connections_max": 1}, limits={"handshakes_max": 100})
    counters = Counters()
    handshakes = Handshakes(config, counters)
    counters.connections = 100
    entered = [handshakes.enter(f"10.0.0.{number}:1") for number in range(40)]
    assert sum(entered) == 1 + 128 - 100
    for number, is_in in enumerate(entered):
        if is_in:
            handshakes.leave(f"10.0.0.{number}:1")
    assert len(handshakes) == 0
    assert not handshakes._by_address
