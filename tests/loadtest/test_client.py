"""The plain client that makes the documents of a run, against a real server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio_websocket import WebSocketRequest, serve_websocket

from loadtest import client as module
from loadtest import content, protocols
from loadtest.client import Client, ClientError, Refused, Unreachable, connect, opened
from loadtest.server import embedded
from loadtest.users import Target
from tests.answering import answering
from tests.servers import free_port

TIGHT = {"limits.operations_per_minute": 600, "limits.operations_burst": 1}


async def make(documents: int, settings: dict[str, int]) -> None:
    async with embedded(settings) as server:
        target = Target(server.url, server.secret, int(time.time()) + 600, "run", "event")
        async with connect(target.url, target.token("ann"), "ann", "event") as client:
            for number in range(documents):
                await client.create(target.resource_id(number), content.document(number), "ann-client")
                assert (await client.subscribe(target.resource_id(number)))["version"] == 1


@asynccontextmanager
async def saying(*messages: str) -> AsyncIterator[Client]:
    """A client of a server that says this to whoever sends something."""

    async def serve(request: WebSocketRequest) -> None:
        peer = await request.accept()
        await peer.get_message()
        for message in messages:
            await peer.send_message(message)

    async with trio.open_nursery() as nursery:
        listening = partial(serve_websocket, serve, "127.0.0.1", 0, None)
        server = await nursery.start(listening)
        async with opened(f"ws://127.0.0.1:{server.port}") as socket:
            yield Client(socket, "event")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["PONG", "PRESENCE_UPDATE", "ERROR", "SUBSCRIBE_ACK", "NEWS"])
@pytest.mark.parametrize("payload", ["5", '"x"', "[1]", "[]", "true", "0"])
async def test_a_message_that_can_not_be_read_is_told(kind: str, payload: str) -> None:
    """It ended the run with a traceback."""
    said = f'{{"type":"{kind}","payload":{payload}}}'
    async with saying(said) as client:
        with pytest.raises(ClientError, match="a message that can't be read: .*" + kind):
            await client.subscribe("load-1")


@pytest.mark.parametrize("payload", ["", ',"payload":null', ',"payload":{}'])
async def test_what_answers_nothing_is_passed_over(payload: str) -> None:
    """A PONG has no payload."""
    answer = '{"type":"SUBSCRIBE_ACK","payload":{"resource_id":"load-1","version":3}}'
    async with saying(f'{{"type":"PONG"{payload}}}', answer) as client:
        assert (await client.subscribe("load-1"))["version"] == 3


@pytest.mark.parametrize("payload", ["5", "[1]", '"x"'])
async def test_an_answer_of_another_form_is_told(payload: str) -> None:
    async with saying(f'{{"type":"AUTH_ACK","payload":{payload}}}') as client:
        with pytest.raises(ClientError, match="a message that can't be read"):
            await client.request("AUTH", {"token": "x"}, "AUTH_ACK")


async def test_an_error_without_a_reference_is_the_answer() -> None:
    async with saying(
        '{"type":"ERROR","payload":{"code":"UNAVAILABLE","message":"m","retry_after_ms":250}}'
    ) as one:
        with pytest.raises(Refused, match="UNAVAILABLE: m") as raised:
            await one.subscribe("load-1")
    assert raised.value.retry_after_s == 0.25


@pytest.mark.parametrize("name", ["collab", "sharedb", "yjs"])
async def test_why_a_server_can_not_be_reached_is_told_whatever_it_speaks(name: str) -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    target = Target(url, b"s" * 32, int(time.time()) + 600, "run", "event")
    _, problems = await protocols.find(name).auditor(target, None, 0).final_states([0])
    assert f"audit: {url}: all attempts to connect to 127.0.0.1" in problems[0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "it ends the connection without an answer to the handshake"),
        (b"HTTP/1.1 101 Switching", "it ends the connection without an answer to the handshake"),
        (b"SSH-2.0-x\r\n", "it ends the connection without an answer to the handshake"),
        (b"\x15\x03\x01\0\2\2\x28\r\n\r\n", "what it answers is no WebSocket"),
        (b"HTTP/1.1 101 Yes\r\n\r\n", "what it answers is no WebSocket"),
        (b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", "it answers HTTP 502"),
    ],
)
async def test_what_is_no_server_is_told_by_what_it_does(said: bytes, why: str) -> None:
    """It was waited for as if it were silent, or ended the run with a traceback and the status of a fault."""
    async with answering(said) as place:
        with pytest.raises(Unreachable, match=why):
            async with opened(f"ws://{place}/"):
                pass


async def test_what_takes_no_connection_is_waited_for_as_long_as_for_an_answer(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    """A kernel that gets no answer tries for two minutes."""

    async def never(*where: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    with trio.fail_after(2 * module.REQUEST_TIMEOUT_S), pytest.raises(Unreachable, match="no connection in"):
        async with opened("ws://192.0.2.1/"):
            pass


async def test_documents_are_made_later_where_the_server_says_so() -> None:
    await make(4, TIGHT)


async def test_who_is_told_to_wait_for_too_long_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 5.0)
    with pytest.raises(ClientError, match="RATE_LIMITED"):
        await make(2, {"limits.operations_per_minute": 1, "limits.operations_burst": 1})
