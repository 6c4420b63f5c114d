"""What the shipped HAProxy asks of a second node where the first has failed: reads and handshakes alone."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from h2.connection import H2Connection
from h2.events import Event, ResponseReceived, SettingsAcknowledged

from tests.certificates import self_signed
from tests.cli.commands import http_of
from tests.deploy import haproxy
from tests.deploy.haproxy import Place
from tests.waiting import PATIENCE_S, unawaited

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# A path with a resource goes by that, any other to whom has fewest connections.
PATHS = ["/v1/resources/event/42/operations", "/v1/other"]

Serve = Callable[[trio.SocketStream], Awaitable[None]]


class Failing:
    """Nodes that are ready and fail each request, with `answer`; `asked` counts these by their method."""

    def __init__(self, answer: bytes) -> None:
        self.asked: Counter[str] = Counter()
        self._answer = answer

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            request = await _request(stream)
            if request:
                self.asked[request.split()[0].decode()] += 1
                await stream.send_all(self._answer)

    async def ready(self, stream: trio.SocketStream) -> None:
        async with stream:
            if await _request(stream):
                await stream.send_all(READY)


async def _request(stream: trio.SocketStream) -> bytes:
    """A request without a body; b"" where nobody asks."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        more = await stream.receive_some()
        if not more:
            return b""
        received += more
    return received


async def _listening(nursery: trio.Nursery, serve: Serve) -> int:
    [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return int(listener.socket.getsockname()[1])


@asynccontextmanager
async def balanced(answer: bytes, secured: Path | None) -> AsyncIterator[tuple[Failing, httpx.AsyncClient]]:
    """Two such nodes behind HAProxy, and a client of it."""
    failing, certificate, trusted = Failing(answer), None, True
    if secured is not None:
        made = self_signed(secured)
        certificate = secured / "site.pem"
        certificate.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
        trusted = ssl.create_default_context(cafile=str(made.certificate))
    async with unawaited() as nursery:
        places = [
            Place(await _listening(nursery, failing.serve), await _listening(nursery, failing.ready))
            for _ in range(2)
        ]
        with haproxy.haproxy(places, certificate) as balancer:
            async with httpx.AsyncClient(
                base_url=http_of(balancer.url), verify=trusted, timeout=PATIENCE_S
            ) as client:
                yield failing, client


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("answer", "status"), [(UNAVAILABLE, 503), (b"", 502)], ids=["503", "empty"])
async def test_what_changes_something_is_asked_once(tmp_path, secured, path, answer, status):
    async with balanced(answer, tmp_path if secured else None) as (failing, client):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            told = await client.request(method, path)
            assert (told.status_code, failing.asked[method]) == (status, 1), method
        assert (await client.get(path)).status_code in (502, 503)
        assert failing.asked["GET"] > 1, "another node may answer a read"


async def test_a_handshake_by_http_2_may_be_asked_of_another_node(tmp_path):
    """Which is no GET there (RFC 8441), but becomes one before a node."""
    async with balanced(UNAVAILABLE, tmp_path) as (failing, client):
        port = urlsplit(str(client.base_url)).port
        assert port is not None
        context = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        context.set_alpn_protocols(["h2"])
        with trio.fail_after(PATIENCE_S):
            opened = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
            async with opened:
                spoken = _Spoken(opened)
                await spoken.until(SettingsAcknowledged)
                extended = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https"}
                named = {":path": "/realtime", ":authority": "x", "sec-websocket-version": "13"}
                spoken.http.send_headers(1, list({**extended, **named}.items()))
                await spoken.until(ResponseReceived)
    assert failing.asked.keys() == {"GET"} and failing.asked["GET"] > 1


class _Spoken:
    """A client's end of HTTP/2."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.http = H2Connection()
        self.http.initiate_connection()
        self._stream = stream

    async def until(self, wanted: type[Event]) -> None:
        """Send what is to be sent, until this has come."""
        while True:
            await self._stream.send_all(self.http.data_to_send())
            heard = self.http.receive_data(await self._stream.receive_some())
            if any(isinstance(event, wanted) for event in heard):
                return
