"""What every adapter of the port `Transport` does. A test module subclasses `TransportContract`.

The other side of the port is a small core of the test's own (`Core`, `Client`): rooms that count versions,
sessions that obey commands. Clients are the public `websockets` package and bare sockets.
"""

from __future__ import annotations

import json
import resource
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import websockets
from websockets.trio.client import ClientConnection, connect

from gateway.config import Config
from gateway.ports import (
    Ack,
    Admission,
    Connection,
    Group,
    HttpService,
    Own,
    Rejection,
    Transport,
    UpgradeRequest,
)
from gateway.runtime.metrics import Counters
from tests.transport.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Gone,
    RawClient,
    close_frame,
    frame,
    request,
)
from tests.waiting import PATIENCE_S, until

TOPIC = "event:42"
MESSAGE_BYTES_MAX = 4096


class Room:
    """A topic that counts versions; its group gets each as a broadcast, the author an acknowledgement."""

    def __init__(self, topic: str, group: Group) -> None:
        self.topic = topic
        self.group = group
        self.version = 0

    def commit(self, author: Connection, count: int, pad: int) -> None:
        versions = range(self.version + 1, self.version + 1 + count)
        self.version += count
        broadcasts = [_json(type="broadcast", version=version, pad="x" * pad) for version in versions]
        mine = {
            i: Own(_json(type="ack", version=version), Ack(f"op-{version}", None, version))
            for i, version in enumerate(versions)
        }
        self.group.publish(broadcasts, {author: mine}, self.topic)


class Client:
    """A session that does what its client says: {"do": command, ...}."""

    def __init__(self, core: Core, connection: Connection) -> None:
        self.core = core
        self.connection = connection
        self.received: list[bytes] = []
        self.binaries: list[int] = []  # the sizes of those that came
        self.controls = 0
        self.inflated_s = 0.0
        self.closes = 0
        self.resyncs = 0
        self.together: list[list[bytes]] = []  # what came with what was turned away
        self.topics: set[str] = set()

    @property
    def known(self) -> bool:
        return True

    def receive(self, payload: bytes) -> Awaitable[None] | None:
        assert isinstance(payload, bytes)
        assert not self.closes
        self.received.append(payload)
        command = json.loads(payload)
        match command["do"]:
            case "echo":
                self.connection.send(_json(type="echo", text=command["text"]))
            case "join":
                room = self.core.room(command.get("topic", TOPIC))
                self.topics.add(room.topic)
                room.group.add(self.connection)
                self.connection.send(_json(type="joined", version=room.version))
            case "leave":
                self.topics.discard(TOPIC)
                self.core.room(TOPIC).group.discard(self.connection)
            case "commit":
                room = self.core.room(command.get("topic", TOPIC))
                room.commit(self.connection, command.get("count", 1), command.get("pad", 0))
            case "close":
                self.connection.close(command["code"], command["reason"])
                self.connection.send(_json(type="echo", text="after the close"))
            case "wait":
                return self._wait()
            case "rest":
                self.connection.turn_away([_json(type="rests")])
            case other:
                raise AssertionError(other)
        return None

    async def _wait(self) -> None:
        await self.core.gate.wait()
        self.connection.send(_json(type="waited"))

    def inflated(self, seconds: float) -> None:
        self.inflated_s += seconds

    def turn_away(self, payloads: list[bytes]) -> int:
        """What came with an edit that was: all that say {"do": "rest"}, too."""
        number = 0
        while number < len(payloads) and json.loads(payloads[number])["do"] == "rest":
            number += 1
        self.together.append(payloads)
        if number:
            self.connection.turn_away([_json(type="rests")] * number)
        return number

    def receive_binary(self, size: int) -> Awaitable[None] | None:
        """The first comes from a client that has to wait for its turn."""
        self.binaries.append(size)
        self.connection.send(_json(type="binary"))
        return self._wait() if self.core.binaries_wait and len(self.binaries) == 1 else None

    def receive_control(self) -> Awaitable[None] | None:
        """The first comes from a client that has to wait for its turn."""
        self.controls += 1
        return self._wait() if self.core.pings_wait and self.controls == 1 else None

    def presence_state(self, topic: str) -> bytes | None:
        assert not self.closes
        return _json(type="presence_state", topic=topic) if topic in self.topics else None

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes | None:
        assert not self.closes
        if topic not in self.topics:
            for ack in acks:
                self.connection.send(_json(type="ack", version=ack.version))
            return None
        self.resyncs += 1
        version = self.core.room(topic).version
        return _json(type="resync", topic=topic, version=version, acks=[ack.version for ack in acks])

    def closed(self) -> None:
        self.closes += 1
        for topic in self.topics:  # it left every group before it was told
            there = [client for client in self.core.clients if topic in client.topics and not client.closes]
            assert len(self.core.room(topic).group) <= len(there)
        self.core.left.set()
        self.core.left = trio.Event()


class Core:
    """The endpoint: every session it opened, every request it was asked about."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.rooms: dict[str, Room] = {}
        self.clients: list[Client] = []
        self.requests: list[UpgradeRequest] = []
        self.gate = trio.Event()
        self.pings_wait = False  # whether the first ping or pong of a client has to
        self.binaries_wait = False  # whether the first binary message has to
        self.left = trio.Event()
        self.is_full: Callable[[], bool] = lambda: False
        self.http_service: HttpService | None = None

    def room(self, topic: str) -> Room:
        if topic not in self.rooms:
            self.rooms[topic] = Room(topic, self.transport.group())
        return self.rooms[topic]

    def edits_wait_s(self) -> float:
        return 0.0

    def http(self, request: UpgradeRequest) -> HttpService | Rejection | None:
        return self.http_service if request.target.startswith("/v1/") else None

    def admit(self, request: UpgradeRequest) -> Admission | Rejection:
        self.requests.append(request)
        if request.target != "/realtime":
            return Rejection(404, "there is nothing here; the path is /realtime", {})
        if request.headers.get("origin") == "https://evil.test":
            return Rejection(403, "this origin may not connect", {})
        if self.is_full():
            return Rejection(503, "this node is full", {"Retry-After": "7"})
        offered = request.headers.get("sec-websocket-protocol", "")
        return Admission("collab.v1" if "collab.v1" in offered else None, self.open)

    def open(self, connection: Connection) -> Client:
        client = Client(self, connection)
        self.clients.append(client)
        return client

    async def until_left(self, count: int) -> None:
        """Wait until so many clients were told that they are closed."""
        with trio.fail_after(PATIENCE_S):
            while sum(client.closes for client in self.clients) < count:
                await self.left.wait()


def _json(**members: Any) -> bytes:
    return json.dumps(members).encode()


async def call(client: ClientConnection, **command: Any) -> None:
    await client.send(json.dumps(command))


async def answer(client: ClientConnection) -> Any:
    with trio.fail_after(PATIENCE_S):
        return json.loads(await client.recv())


async def ask(client: ClientConnection, **command: Any) -> Any:
    await call(client, **command)
    return await answer(client)


async def raw_answer(client: RawClient) -> Any:
    with trio.fail_after(PATIENCE_S):
        return json.loads(await client.receive_message())


async def raw_ask(client: RawClient, **command: Any) -> Any:
    await client.send_text(json.dumps(command))
    return await raw_answer(client)


async def closing_of(client: RawClient) -> Frame:
    """The close frame that comes, whatever comes before it."""
    with trio.fail_after(PATIENCE_S):
        while (got := await client.receive()).opcode != CLOSE:
            pass
    return got


async def code_of(client: RawClient) -> int | None:
    with trio.fail_after(PATIENCE_S):
        return await client.close_code()


def address_of(client: RawClient) -> str:
    host, port = client.stream.socket.getsockname()
    return f"{host}:{port}"


class Served:
    """A transport that serves, and its core."""

    def __init__(self, transport: Transport, counters: Counters) -> None:
        self.transport = transport
        self.counters = counters
        self.core = Core(transport)
        self.scope = trio.CancelScope()
        self.port = 0
        self.raw: list[RawClient] = []

    async def serve(self, *, task_status: trio.TaskStatus[Sequence[tuple[str, int]]]) -> None:
        with self.scope:
            await self.transport.serve(self.core, task_status=task_status)

    def connect(self, **options: Any) -> connect:
        patient = {"proxy": None, "max_queue": None, "open_timeout": PATIENCE_S}
        return connect(f"ws://127.0.0.1:{self.port}/realtime", **patient, **options)

    async def dial(self) -> RawClient:
        """A bare socket; closed at the end of the test."""
        self.raw.append(await RawClient.connect(self.port))
        return self.raw[-1]

    async def open(self, receive_bytes: int = 0) -> RawClient:
        """A bare WebSocket; closed at the end of the test."""
        self.raw.append(await RawClient.open(self.port, receive_bytes))
        return self.raw[-1]

    async def join_slowly(self) -> RawClient:
        """A bare WebSocket in the room whose reader, when it stops, soon holds the server up."""
        client = await self.open(receive_bytes=4096)
        await raw_ask(client, do="join")
        return client

    def close(self) -> None:
        for client in self.raw:
            client.stream.socket.close()


# Longer than tests wait: whoever goes, goes for another reason.
PATIENT = {"close_timeout_s": 600.0, "stall_timeout_s": 600.0, "ping_interval_s": 600.0}


def slow_sockets(**limits: int) -> dict[str, Mapping[str, Any]]:
    """Sections that make a reader who stops hold the server up soon: small kernel buffers, a small outbox."""
    return {"server": {"socket_send_bytes": 4096}, "limits": {"outbox_bytes_max": 16 * 1024, **limits}}


class TransportHarness:
    """Serves a transport for a test, and looks afterwards at what it left."""

    def make(self, config: Config, counters: Counters) -> Transport:
        raise NotImplementedError

    @asynccontextmanager
    async def serving(self, **sections: Mapping[str, Any]) -> AsyncIterator[Served]:
        defaults: dict[str, dict[str, Any]] = {
            "server": {"port": 0},
            "limits": {"message_bytes_max": MESSAGE_BYTES_MAX, "frame_bytes_max": MESSAGE_BYTES_MAX},
            "timeouts": {"close_timeout_s": 1.0},
        }
        for section, values in sections.items():
            defaults.setdefault(section, {}).update(values)
        config = Config().with_(**defaults)
        counters = Counters()
        async with trio.open_nursery() as nursery:
            served = Served(self.make(config, counters), counters)
            [(_, served.port)] = await nursery.start(served.serve)
            try:
                yield served
            finally:
                nursery.cancel_scope.cancel()
                served.close()
        assert trio.current_time() < nursery.cancel_scope.deadline, "the test took too long"
        assert [client.closes for client in served.core.clients] == [1] * len(served.core.clients)
        assert counters.connections == 0
        assert counters.outbox_bytes == 0
        assert counters.internal_errors == 0


class Messages(TransportHarness):
    """What is sent, and to whom a group is told."""

    async def test_messages_go_in_both_directions(self) -> None:
        async with self.serving() as served, served.connect() as client:
            for text in ("", "é", "\U0001f600", "x" * 3000):
                assert await ask(client, do="echo", text=text) == {"type": "echo", "text": text}
            assert served.counters.connections == 1
            assert served.counters.messages_received == served.counters.messages_sent == 4

    async def test_who_rests_gets_everything_still_and_is_heard_again_in_order(self) -> None:
        async with self.serving() as served, served.connect() as client, served.connect() as other:
            await ask(client, do="join")
            for n in range(5):
                await call(client, do="rest")
                await call(client, do="echo", text=str(n))
            await call(other, do="commit")
            seen = [await answer(client) for _ in range(11)]
            assert [message for message in seen if message["type"] != "broadcast"] == [
                message for n in range(5) for message in ({"type": "rests"}, {"type": "echo", "text": str(n)})
            ]
            assert [message["version"] for message in seen if message["type"] == "broadcast"] == [1]

    async def test_what_comes_together_with_what_is_turned_away_is_answered_in_order(self) -> None:
        """Once each, whether it is turned away with it or not."""
        async with self.serving() as served, served.connect() as client:
            for n in range(100):
                for _ in range(n % 4):
                    await call(client, do="rest")
                await call(client, do="echo", text=str(n))
            for n in range(100):
                for _ in range(n % 4):
                    assert await answer(client) == {"type": "rests"}
                assert await answer(client) == {"type": "echo", "text": str(n)}
            assert served.counters.messages_received == served.counters.messages_sent == 250

    async def test_who_leaves_while_it_rests_is_gone(self) -> None:
        async with self.serving() as served:
            async with served.connect() as client:
                await ask(client, do="rest")
            await served.core.until_left(1)

    async def test_the_order_of_sends_and_publishes_is_the_order_on_the_wire(self) -> None:
        async with self.serving() as served, served.connect() as client, served.connect() as other:
            await ask(client, do="join")
            await ask(other, do="join")
            for n in range(40):
                await call(client, do="echo", text=str(n))
                await call(client, do="commit", count=3)
            for n in range(40):
                assert (await answer(client))["text"] == str(n)
                acks = [await answer(client) for _ in range(3)]
                assert acks == [{"type": "ack", "version": 3 * n + i} for i in (1, 2, 3)]
            seen = [(await answer(other))["version"] for _ in range(120)]
            assert seen == list(range(1, 121))

    async def test_a_members_own_message_takes_the_place_of_the_groups_and_none_is_nothing(self) -> None:
        async with self.serving() as served, served.connect() as one, served.connect() as two:
            await ask(one, do="join")
            await ask(two, do="join")
            room, (first, second) = served.core.room(TOPIC), served.core.clients
            room.group.publish(
                [b'"a"', b'"b"', b'"c"'],
                {first.connection: {1: Own(b'"mine"'), 2: Own(None)}, second.connection: {0: Own(None)}},
                TOPIC,
            )
            first.connection.send(b'"end"')
            second.connection.send(b'"end"')
            assert [await answer(one) for _ in range(3)] == ["a", "mine", "end"]
            assert [await answer(two) for _ in range(3)] == ["b", "c", "end"]

    async def test_who_left_a_group_gets_nothing_from_it(self) -> None:
        async with self.serving() as served, served.connect() as client:
            await ask(client, do="join")
            group, connection = served.core.room(TOPIC).group, served.core.clients[0].connection
            assert len(group) == 1
            group.add(connection)
            assert len(group) == 1
            group.discard(connection)
            group.discard(connection)
            assert len(group) == 0
            await call(client, do="commit")
            assert (await ask(client, do="echo", text="next"))["type"] == "echo"

    async def test_an_awaitable_is_awaited_before_the_next_message_is_read(self) -> None:
        async with self.serving() as served, served.connect() as client:
            await call(client, do="wait")
            await call(client, do="echo", text="later")
            await until(lambda: served.core.clients[0].received)
            await trio.sleep(0.05)
            assert len(served.core.clients[0].received) == 1
            served.core.gate.set()
            assert (await answer(client))["type"] == "waited"
            assert (await answer(client))["type"] == "echo"

    async def test_a_binary_message_is_told_apart(self) -> None:
        async with self.serving() as served, served.connect() as client:
            await client.send(b"\x00\xff")
            assert (await answer(client))["type"] == "binary"
            assert (await ask(client, do="echo", text="still here"))["type"] == "echo"
            assert served.core.clients[0].binaries == [2]

    async def test_what_a_binary_message_has_to_wait_for_is_awaited_before_the_next_message(self) -> None:
        async with self.serving() as served, served.connect() as client:
            served.core.binaries_wait = True
            await client.send(b"\x00\xff")
            await call(client, do="echo", text="later")
            assert (await answer(client))["type"] == "binary"
            await trio.sleep(0.05)
            assert not served.core.clients[0].received
            served.core.gate.set()
            assert (await answer(client))["type"] == "waited"
            assert (await answer(client))["type"] == "echo"

    async def test_a_fragmented_message_is_one_message(self) -> None:
        async with self.serving() as served, served.connect() as client:
            await client.send(['{"do": "ec', 'ho", "text"', ': "\u00e9"}'])
            assert await answer(client) == {"type": "echo", "text": "é"}
            raw = await served.open()
            whole = json.dumps({"do": "echo", "text": "é"}, ensure_ascii=False).encode()
            for i, byte in enumerate(whole):  # also cut within a character, with pings between
                opcode = TEXT if i == 0 else CONTINUATION
                await raw.send(frame(opcode, bytes([byte]), fin=i == len(whole) - 1))
                await raw.send(frame(PING, b"%d" % i))
                pong = await raw.receive()
                while pong.opcode != PONG:
                    assert (pong.opcode, i) == (TEXT, len(whole) - 1)
                    pong = await raw.receive()
                assert pong.payload == b"%d" % i
            assert served.core.clients[1].received == [whole]

    async def test_bytes_may_come_one_by_one_and_with_the_request(self) -> None:
        async with self.serving() as served:
            raw = await served.dial()
            everything = request() + frame(TEXT, b'{"do": "echo", "text": "early"}')
            await raw.send(everything)
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
            assert (await raw_answer(raw))["text"] == "early"
            slow = await served.dial()
            for byte in everything:
                await slow.send(bytes([byte]))
            assert (await slow.head()).startswith(b"HTTP/1.1 101 ")
            assert (await raw_answer(slow))["text"] == "early"

    async def test_many_connections_each_get_every_message_once(self) -> None:
        async with self.serving() as served:
            clients = [await served.open() for _ in range(200)]
            for client in clients:
                await raw_ask(client, do="join")
            assert served.counters.connections == 200
            for _ in range(5):
                await clients[0].send_text('{"do": "commit", "count": 4}')
            for client in clients:
                assert [(await raw_answer(client))["version"] for _ in range(20)] == list(range(1, 21))
            for client in clients[::2]:
                client.reset()
            for client in clients[1::2]:
                await client.aclose()
            await served.core.until_left(200)
            assert served.counters.connections == 0
            assert len(served.core.room(TOPIC).group) == 0


class Upgrades(TransportHarness):
    """Handshakes, and who may connect."""

    async def test_the_endpoint_sees_the_request_and_its_subprotocol_is_agreed_on(self) -> None:
        async with self.serving() as served:
            options = {"subprotocols": ["other", "collab.v1"], "additional_headers": {"X-Name": "v"}}
            async with served.connect(**options) as client:
                assert client.subprotocol == "collab.v1"
                await ask(client, do="echo", text="")
            async with served.connect() as client:
                assert client.subprotocol is None
            asked = served.core.requests[0]
            assert asked.target == "/realtime"
            assert asked.headers["x-name"] == "v"
            assert asked.remote.startswith("127.0.0.1")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (request("/elsewhere"), 404),
            (request(origin="https://evil.test"), 403),
            (request(sec_websocket_version="8"), 426),
            (request(upgrade=None, connection=None), 426),
            (request(sec_websocket_key=None), 400),
            (request(sec_websocket_key="c2hvcnQ="), 400),
            (request(host=None), 400),
            (request().replace(b"GET", b"POST"), 405),
            (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),
            (b"GET /realtime HTTP/1.1\r\n" + b"X: " + b"y" * 40_000, 431),
        ],
    )
    async def test_a_bad_handshake_gets_its_status_and_no_session(self, sent: bytes, status: int) -> None:
        async with self.serving() as served:
            client = await served.dial()
            await client.send(sent)
            with trio.fail_after(PATIENCE_S):
                answered = await client.rest()
            assert answered.startswith(b"HTTP/1.1 %d " % status)
            assert served.core.clients == []
            assert served.counters.connections == 0
            assert served.counters.connections_rejected == {str(status): 1}

    async def test_a_full_node_answers_503_with_retry_after_until_somebody_leaves(self) -> None:
        async with self.serving() as served:
            served.core.is_full = lambda: served.counters.connections == 1
            first = await served.open()
            second = await served.dial()
            await second.send(request())
            answered = await second.rest()
            assert answered.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 7\r\n" in answered.lower()
            await first.aclose()
            await served.core.until_left(1)
            await served.open()

    async def test_a_handshake_that_drips_is_cut_off_and_delays_nobody(self) -> None:
        async with self.serving(timeouts={"upgrade_timeout_s": 2}) as served:
            drips = [await served.dial() for _ in range(50)]
            for drip in drips:
                await drip.send(request()[:40])
            async with served.connect() as client:
                await ask(client, do="echo", text="")
                with trio.fail_after(PATIENCE_S):
                    for drip in drips:
                        assert (await drip.rest()).startswith(b"HTTP/1.1 408 ")
                assert (await ask(client, do="echo", text="here"))["text"] == "here"
        assert served.counters.connections_rejected["408"] == len(drips)

    @pytest.mark.parametrize(
        ("said", "timeout_s", "status"), [(request(), 600.0, "400"), (b"PROXY TCP4", 0.2, "408")]
    )
    async def test_a_proxy_that_does_not_say_whose_connection_it_is_is_told(
        self, said: bytes, timeout_s: float, status: str
    ) -> None:
        proxied = {"proxies": ("127.0.0.1",), "proxy_protocol": True}
        async with self.serving(server=proxied, timeouts={"upgrade_timeout_s": timeout_s}) as served:
            proxy = await served.dial()
            await proxy.send(said)
            with trio.fail_after(PATIENCE_S):
                assert (await proxy.rest()).startswith(b"HTTP/1.1 %s " % status.encode())
        assert served.counters.connections_rejected == {status: 1}

    async def test_a_proxy_that_is_gone_within_its_announcement_leaves_its_place(self) -> None:
        proxied = {"proxies": ("127.0.0.1",), "proxy_protocol": True}
        async with self.serving(
            server=proxied, limits={"handshakes_max": 1}, timeouts={"upgrade_timeout_s": 600.0}
        ) as served:
            cut = await served.dial()
            await cut.send(b"PROXY TCP4")
            await cut.stream.send_eof()
            with trio.fail_after(PATIENCE_S):
                assert await cut.rest() == b""
                next_one = await served.dial()
                await next_one.send(b"PROXY TCP4 1.1.1.1 10.0.0.7 77 80\r\n" + request())
                assert (await next_one.head()).startswith(b"HTTP/1.1 101 ")

    async def test_after_stop_accepting_connections_live_on(self) -> None:
        async with self.serving() as served, served.connect() as client:
            served.transport.stop_accepting()
            await trio.sleep(0.05)
            with pytest.raises(OSError):
                await served.dial()
            assert (await ask(client, do="echo", text="here"))["text"] == "here"

    async def test_running_out_of_descriptors_is_waited_out(self) -> None:
        async with self.serving() as served:
            clients = [RawClient(trio.SocketStream(trio.socket.socket())) for _ in range(5)]
            served.raw += clients
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest_free = trio.socket.socket()
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free.fileno(), hard))
            lowest_free.close()
            try:
                for client in clients:
                    await client.stream.socket.connect(("127.0.0.1", served.port))
                    await client.send(request())
                await trio.sleep(0.2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            with trio.fail_after(PATIENCE_S):
                for client in clients:
                    assert (await client.head()).startswith(b"HTTP/1.1 101 ")


class Endings(TransportHarness):
    """How connections end, and that it is told once."""

    async def test_a_clients_close_is_answered_with_its_code(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            await client.send(close_frame(4321, b"done"))
            assert await code_of(client) == 4321
            assert await client.rest() == b""
            await served.core.until_left(1)
            assert served.counters.connections_closed == {"other": 1}  # labels are bounded

    async def test_a_close_that_comes_with_a_message_is_answered(self) -> None:
        async with self.serving() as served:
            for _ in range(20):
                client = await served.open()
                echo = frame(TEXT, b'{"do": "echo", "text": "too late to be read"}')
                await client.send(echo + close_frame(4321))
                assert await code_of(client) == 4321
            await served.core.until_left(20)
            assert [len(client.received) for client in served.core.clients] == [1] * 20

    async def test_a_sessions_close_comes_after_what_was_queued_and_nothing_after_it(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            for n in range(50):
                await client.send_text(json.dumps({"do": "echo", "text": str(n)}))
            await client.send_text('{"do": "close", "code": 4401, "reason": "bye"}')
            await client.send_text('{"do": "echo", "text": "ignored"}')
            assert [(await raw_answer(client))["text"] for _ in range(50)] == [str(n) for n in range(50)]
            closing = await client.receive()
            assert (closing.opcode, closing.code, closing.payload[2:]) == (CLOSE, 4401, b"bye")
            await client.send(close_frame(4401))
            assert await client.rest() == b""
            await served.core.until_left(1)
            assert len(served.core.clients[0].received) == 51

    async def test_a_session_that_closes_a_second_time_or_after_the_end_changes_nothing(self) -> None:
        async with self.serving() as served, served.connect() as client:
            await ask(client, do="echo", text="")
            connection = served.core.clients[0].connection
            connection.close(4401, "first")
            connection.close(4429, "second")
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 4401
            await served.core.until_left(1)
            connection.close(4429, "third")
            connection.send(b"nobody hears it")

    async def test_a_peer_that_does_not_answer_a_close_is_dropped_in_time(self) -> None:
        async with self.serving(timeouts={**PATIENT, "close_timeout_s": 0.3}) as served:
            client = await served.open()
            await client.send_text('{"do": "close", "code": 1001, "reason": ""}')
            assert await code_of(client) == 1001
            await served.core.until_left(1)
            assert await client.rest() == b""

    @pytest.mark.parametrize("how", ["reset", "aclose"])
    async def test_an_abrupt_end_is_told_once_and_leaves_the_groups(self, how: str) -> None:
        async with self.serving() as served, served.connect() as watcher:
            await ask(watcher, do="join")
            client = await served.open()
            await raw_ask(client, do="join")
            if how == "reset":
                client.reset()
            else:
                await client.aclose()
            await served.core.until_left(1)
            assert len(served.core.room(TOPIC).group) == 1
            await call(watcher, do="commit")
            assert (await answer(watcher))["type"] == "ack"
            assert served.core.clients[1].closes == 1

    async def test_a_peer_that_is_gone_while_its_message_is_handled_is_told_once(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            await client.send_text('{"do": "wait"}')
            await until(lambda: served.core.clients[0].received)
            client.reset()
            await trio.sleep(0.02)
            served.core.gate.set()
            await served.core.until_left(1)

    async def test_cancelling_closes_everything_at_once(self) -> None:
        async with self.serving(timeouts=PATIENT) as served:
            clients = [await served.open() for _ in range(10)]
            served.scope.cancel()
            with trio.fail_after(PATIENCE_S):
                for client in clients:
                    await client.rest()
            assert sum(client.closes for client in served.core.clients) == 10

    async def test_a_silent_peer_that_answers_no_ping_is_dropped_and_one_that_does_is_kept(self) -> None:
        times = {"ping_interval_s": 0.1, "stall_timeout_s": 2.0}
        async with self.serving(timeouts=times) as served, served.connect() as alive:
            await ask(alive, do="echo", text="")
            dead = await served.open()
            await served.core.until_left(1)
            assert served.core.clients[1].closes == 1
            assert (await dead.receive()).opcode == PING
            await dead.rest()
            assert (await ask(alive, do="echo", text="alive"))["text"] == "alive"


class HostilePeers(TransportHarness):
    """What breaks the protocol, or costs more than it may."""

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="not UTF-8"),
            pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="an encoded surrogate"),
            pytest.param(frame(TEXT, b"\xc3"), 1007, id="half a character"),
            pytest.param(frame(TEXT, b"{}", masked=False), 1002, id="not masked"),
            pytest.param(frame(TEXT, b"{}", reserved=4), 1002, id="a reserved bit"),
            pytest.param(frame(3, b""), 1002, id="an unknown opcode"),
            pytest.param(frame(PING, b"x" * 126), 1002, id="a long ping"),
            pytest.param(frame(PING, b"", fin=False), 1002, id="a fragmented ping"),
            pytest.param(frame(CONTINUATION, b"x"), 1002, id="a continuation of nothing"),
            pytest.param(frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002, id="a message in another"),
            pytest.param(frame(CLOSE, b"\x03"), 1002, id="a close of one byte"),
            pytest.param(close_frame(1005), 1002, id="a close code that is never sent"),
            pytest.param(close_frame(1000, b"\xff"), 1007, id="a close reason that is not UTF-8"),
            pytest.param(frame(TEXT, b" " * (MESSAGE_BYTES_MAX + 1)), 1009, id="too large"),
            pytest.param(frame(TEXT, "é".encode() * MESSAGE_BYTES_MAX), 1009, id="too large in UTF-8"),
            pytest.param(frame(BINARY, b" " * (MESSAGE_BYTES_MAX + 1)), 1009, id="too large binary"),
            pytest.param(
                frame(TEXT, b" " * MESSAGE_BYTES_MAX, fin=False) + frame(CONTINUATION, b"xx"),
                1009,
                id="too large in fragments",
            ),
            pytest.param(
                b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), 1009, id="announced too large"
            ),
            pytest.param(
                frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 400,
                1008,
                id="endless fragments",
            ),
        ],
    )
    async def test_a_violation_is_closed_with_its_code_and_a_reason(self, sent: bytes, code: int) -> None:
        async with self.serving() as served, served.connect() as other:
            await ask(other, do="join")
            client = await served.open()
            await raw_ask(client, do="join")
            await client.send(sent)
            closing = await closing_of(client)
            assert closing.code == code
            assert closing.payload[2:].decode()
            await served.core.until_left(1)
            assert served.counters.connections_closed == {str(code): 1}
            assert (await ask(other, do="echo", text="unharmed"))["text"] == "unharmed"

    async def test_a_message_of_exactly_the_limit_is_taken(self) -> None:
        async with self.serving() as served, served.connect() as client:
            empty = len(json.dumps({"do": "echo", "text": ""}))
            text = "x" * (MESSAGE_BYTES_MAX - empty)
            assert (await ask(client, do="echo", text=text))["text"] == text

    @pytest.mark.parametrize("kind", [PING, PONG])
    async def test_a_ping_or_pong_of_who_has_to_wait_holds_up_what_comes_after_it(self, kind: int) -> None:
        async with self.serving() as served:
            served.core.pings_wait = True
            client, other = await served.open(), await served.open()
            echo = frame(TEXT, b'{"do": "echo", "text": "x"}')
            await client.send(frame(kind, b"1") + frame(PING, b"2") + echo)
            await until(lambda: served.core.clients[0].controls == 1)
            await raw_ask(other, do="echo", text="y")
            assert served.core.clients[0].controls == 1 and not served.core.clients[0].received
            served.core.gate.set()
            told = [await client.receive() for _ in range(4 if kind == PING else 3)]
            pongs = [got.payload for got in told if got.opcode == PONG]
            assert pongs == ([b"1", b"2"] if kind == PING else [b"2"])
            assert json.loads(told[-1].payload)["text"] == "x"
            assert served.core.clients[0].controls == 2

    async def test_fragments_without_content_do_not_go_on_forever(self) -> None:
        async with self.serving() as served:
            client = await served.open()
            await client.send(frame(TEXT, b"", fin=False))
            with trio.fail_after(PATIENCE_S):
                try:
                    while True:
                        await client.send(frame(CONTINUATION, b"", fin=False) * 500)
                except Gone:
                    pass
            await served.core.until_left(1)

    async def test_a_flood_of_pings_from_a_peer_that_reads_nothing_is_bounded(self) -> None:
        sections = slow_sockets()
        sections["timeouts"] = {"stall_timeout_s": 0.3, "close_timeout_s": 0.3}
        async with self.serving(**sections) as served:
            client = await served.open(receive_bytes=4096)
            with trio.fail_after(PATIENCE_S):
                try:
                    while True:
                        await client.send(frame(PING, b"x" * 125) * 50)
                except Gone:
                    pass
            await served.core.until_left(1)


class SlowReaders(TransportHarness):
    """Who doesn't read what comes delays nobody, and is told the truth later."""

    async def test_a_slow_reader_delays_nobody_and_is_right_after_a_resync(self) -> None:
        async with self.serving(**slow_sockets()) as served, served.connect() as author:
            slow = await served.join_slowly()
            await ask(author, do="join")
            with trio.fail_after(PATIENCE_S):
                for version in range(1, 401):
                    await call(author, do="commit", pad=500)
                    assert await answer(author) == {"type": "ack", "version": version}
            assert served.counters.outbox_bytes <= 16 * 1024 + 1024
            seen = await self.catch_up(slow, 400)
            assert seen["resync"] >= 1
            assert served.counters.resyncs == served.core.clients[1].resyncs == seen["resync"]
            await call(author, do="commit")
            assert (await raw_answer(slow))["version"] == 401

    async def catch_up(self, client: RawClient, head: int) -> Mapping[str, int]:
        """Read until the head; versions come without a gap, but for a resync. Counts messages by type."""
        version = 0
        seen: dict[str, int] = defaultdict(int)
        while version < head:
            message = await raw_answer(client)
            seen[message["type"]] += 1
            if message["type"] in ("broadcast", "ack"):
                assert message["version"] == version + 1
                version += 1
            elif message["type"] == "resync":
                assert message["version"] > version
                version = message["version"]
        return seen

    async def edit_in_turn(self, slow: RawClient, other: ClientConnection) -> None:
        """Thirty edits of a slow reader, each followed by three large ones of another one."""
        await ask(other, do="join")
        for _ in range(30):
            await slow.send_text('{"do": "commit"}')
            assert (await answer(other))["type"] == "broadcast"
            await call(other, do="commit", count=3, pad=500)
            assert [(await answer(other))["type"] for _ in range(3)] == ["ack"] * 3

    async def test_a_resync_carries_the_acknowledgements_it_replaces(self) -> None:
        async with self.serving(**slow_sockets()) as served, served.connect() as other:
            slow = await served.join_slowly()
            await self.edit_in_turn(slow, other)
            acks, version = [], 0
            while version < 120:
                message = await raw_answer(slow)
                version = message["version"]
                acks += message["acks"] if message["type"] == "resync" else []
                acks += [version] if message["type"] == "ack" else []
            assert acks == [1 + 4 * n for n in range(30)]
            assert served.counters.resyncs >= 1

    async def test_a_slow_reader_that_left_a_topic_still_gets_its_acknowledgements(self) -> None:
        async with self.serving(**slow_sockets()) as served, served.connect() as other:
            slow = await served.join_slowly()
            await self.edit_in_turn(slow, other)
            await slow.send_text('{"do": "leave"}')
            await until(lambda: not served.core.clients[1].topics)
            acks: list[int] = []
            while len(acks) < 30:
                message = await raw_answer(slow)
                acks += [message["version"]] if message["type"] == "ack" else []
            assert acks == [1 + 4 * n for n in range(30)]
            assert served.counters.resyncs == 0

    async def test_presence_is_dropped_before_anything_else(self) -> None:
        async with self.serving(**slow_sockets()) as served, served.connect() as author:
            slow = await served.join_slowly()
            await ask(author, do="join")
            room = served.core.room(TOPIC)
            for _ in range(400):
                room.group.publish([_json(type="presence", pad="x" * 500)], {}, TOPIC, droppable=True)
            await trio.sleep(0.05)
            assert served.counters.presence_dropped > 0
            before = served.counters.presence_dropped
            await call(author, do="commit", count=10)
            with trio.fail_after(PATIENCE_S):
                while (await answer(author))["type"] != "ack":
                    pass
            seen = await self.catch_up(slow, 10)
            assert seen["broadcast"] == 10
            assert seen["resync"] == 0
            assert before >= 400 - seen["presence"] > 0
            while (made_up := await raw_answer(slow))["type"] == "presence":
                pass
            assert made_up == {"type": "presence_state", "topic": TOPIC}

    async def test_a_reader_without_progress_is_closed_with_4429(self) -> None:
        sections = slow_sockets()
        sections["timeouts"] = {"stall_timeout_s": 0.3, "close_timeout_s": 5}
        async with self.serving(**sections) as served, served.connect() as author:
            slow = await served.join_slowly()
            await ask(author, do="join")
            with trio.fail_after(PATIENCE_S):
                while not served.counters.slow_closes:
                    await ask(author, do="commit", pad=1000)
            assert await code_of(slow) == 4429
            await slow.aclose()
            await served.core.until_left(1)
            assert served.counters.connections_closed == {"4429": 1}

    async def test_a_stalled_reader_that_never_reads_again_is_dropped(self) -> None:
        sections = slow_sockets()
        sections["timeouts"] = {"stall_timeout_s": 0.2, "close_timeout_s": 0.2}
        async with self.serving(**sections) as served, served.connect() as author:
            slow = await served.join_slowly()
            await ask(author, do="join")
            with trio.fail_after(PATIENCE_S):
                while not served.core.clients[0].closes + served.core.clients[1].closes:
                    await ask(author, do="commit", pad=1000)
            assert [client.connection.remote for client in served.core.clients if client.closes] == [
                address_of(slow)
            ]

    async def test_who_asks_without_reading_is_not_read_from(self) -> None:
        async with self.serving(**slow_sockets()) as served:
            slow = await served.open(receive_bytes=4096)
            asked = json.dumps({"do": "echo", "text": "x" * 1000})

            async def flood() -> None:
                for _ in range(400):
                    await slow.send_text(asked)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood)
                await trio.sleep(0.3)
                handled = len(served.core.clients[0].received)
                assert handled < 400
                assert served.counters.outbox_bytes <= 16 * 1024
                for _ in range(400):
                    await raw_answer(slow)
            assert len(served.core.clients[0].received) == 400

    async def test_closing_a_reader_that_does_not_read_is_bounded(self) -> None:
        sections = slow_sockets()
        sections["timeouts"] = {**PATIENT, "close_timeout_s": 0.3}
        async with self.serving(**sections) as served:
            slow = await served.join_slowly()
            await slow.send_text('{"do": "commit", "count": 200, "pad": 1000}')
            await until(lambda: served.counters.outbox_bytes)
            served.core.clients[0].connection.close(1001, "going away")
            await served.core.until_left(1)


class TransportContract(Messages, Upgrades, Endings, HostilePeers, SlowReaders):
    """See the module's docstring."""
