"""Sockets of the fast transport that another server answers on: each is closed, or a connection's again."""

from __future__ import annotations

import h11
import pytest
import trio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.config import Config
from gateway.http import http1
from gateway.http.http1 import Client
from gateway.http.server import HttpServer
from gateway.runtime.metrics import Counters
from gateway.transport.fast.transport import FastTransport
from tests.http.streams import connected
from tests.transport.wire import request

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answers_and_lingers(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that isn't over with its answer."""
    await Response()(scope, receive, send)
    await trio.sleep_forever()


class Open:
    """A gate that refuses nobody."""

    def client_of(self, peer: Client, headers: Headers) -> Client:
        return peer

    def refused(self, client: Client, method: str, headers: Headers) -> Response | None:
        return None


async def test_a_handshake_that_is_given_back_while_all_is_cancelled_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport, found, scope = FastTransport(Config(), Counters()), http1._is_handshake, trio.CancelScope()

    def found_and_cancelled(request: h11.Request) -> bool:
        if found(request):
            scope.cancel()
        return found(request)

    monkeypatch.setattr(http1, "_is_handshake", found_and_cancelled)
    with connected(GET + request()) as (stream, _):
        stream.remote = "127.0.0.1:1"
        with scope:
            service = HttpServer(answers_and_lingers, 1, gate=Open()).take()
            assert service is not None
            await transport._serve_requests(service, stream)
        assert scope.cancelled_caught
        assert stream.socket.fileno() == -1
