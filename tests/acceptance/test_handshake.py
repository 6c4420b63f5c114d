"""Who may open a WebSocket on a real node: paths, versions, origins, and a node that is full."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from gateway.wire.messages import SUBPROTOCOL
from tests.clients.desk import signed_in
from tests.clients.gateway import Gateway, gateway
from tests.clients.transports import TRANSPORTS
from tests.transport.wire import RawClient, request
from tests.waiting import PATIENCE_S, until


@asynccontextmanager
async def dialled(node: Gateway) -> AsyncIterator[RawClient]:
    port = urlsplit(node.url).port
    assert port is not None
    client = await RawClient.connect(port)
    try:
        yield client
    finally:
        await client.aclose()


async def status_of(node: Gateway, sent: bytes) -> tuple[int, bytes]:
    """The HTTP status that a handshake gets, and the whole head."""
    async with dialled(node) as client:
        await client.send(sent)
        with trio.fail_after(PATIENCE_S):
            head = await client.head()
        return int(head.split()[1]), head


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_paths_versions_and_origins(tmp_path: Path, transport: str) -> None:
    settings = {"server__transport": transport, "server__origins": "https://calendar.test"}
    with gateway(tmp_path, **settings) as node:
        for sent, status in (
            (request(), 101),  # no Origin: not a browser
            (request("/realtime?via=k6"), 101),
            (request(origin="https://calendar.test"), 101),
            (request("/"), 404),
            (request("/realtime/"), 404),
            (request(sec_websocket_version="12"), 426),
            (request(upgrade=None, connection=None), 426),
            (request().replace(b"GET", b"POST"), 405),
            (b"nonsense\r\n\r\n", 400),
        ):
            assert (await status_of(node, sent))[0] == status, sent


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_foreign_page_is_let_in_to_read_why_it_must_leave(tmp_path: Path, transport: str) -> None:
    settings = {"server__transport": transport, "server__origins": "https://calendar.test"}
    with gateway(tmp_path, **settings) as node:
        for origin in ("https://evil.test", "null", "https://evil.test"):
            assert await close_of(node, page(origin)) == (4403, b"origin")


def page(origin: str) -> bytes:
    """The handshake of a page's client."""
    return request(origin=origin, sec_websocket_protocol=SUBPROTOCOL)


async def close_of(node: Gateway, sent: bytes) -> tuple[int | None, bytes]:
    """The code and reason of the close frame that follows an accepted handshake at once.

    A browser reads them only where a subprotocol that was offered is agreed to.
    """
    async with dialled(node) as client:
        await client.send(sent)
        with trio.fail_after(PATIENCE_S):
            head = (await client.head()).lower()
            assert head.startswith(b"http/1.1 101 ")
            assert f"sec-websocket-protocol: {SUBPROTOCOL}".encode() in head
            frame = await client.receive()
        return frame.code, frame.payload[2:]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_full_node_answers_503_with_retry_after(tmp_path: Path, transport: str) -> None:
    settings = {"server__transport": transport, "server__connections_max": 2, "server__origins": "*"}
    with gateway(tmp_path, **settings) as node:
        async with signed_in(node, "ann"), signed_in(node, "bob") as bob:
            status, head = await status_of(node, request())
            assert status == 503
            assert b"retry-after: " in head.lower()
            code, reason = await close_of(node, page("https://calendar.test"))
            assert code == 4503
            assert int(reason.removeprefix(b"retry_after_ms=")) >= 5000
            await bob.ask("PING")

        async def let_in() -> bool:
            return (await status_of(node, request()))[0] == 101

        await until(let_in, "another one is let in", every_s=0.02)


async def test_a_handshake_may_take_its_time_but_not_forever(tmp_path: Path) -> None:
    with gateway(tmp_path, timeouts__upgrade_timeout_s=8) as node:
        async with dialled(node) as client:
            await client.send(request()[:30])
            await trio.sleep(0.1)
            await client.send(request()[30:])
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        async with dialled(node) as client:
            await client.send(request()[:30])
            with trio.fail_after(PATIENCE_S):
                assert b" 101 " not in await client.rest()
