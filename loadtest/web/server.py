"""The page's server: a thread beside the run, on loopback unless another host is named.

    GET /         the page
    GET /state    what it shows, as JSON
    GET /metrics  the same for Prometheus
    POST /control {"action": "pause" | "resume" | "faster" | "slower" | "stop"}

A control needs the header `X-Loadtest`, which a page of another origin can't send unasked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson

from loadtest.options import Control
from loadtest.report.exports import prometheus
from loadtest.web.state import State

PAGE = Path(__file__).with_name("live.html")
BODY_BYTES_MAX = 1000
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'",
}


class WebError(Exception):
    """The page can't be served; the message says why."""


class _Handler(BaseHTTPRequestHandler):
    state: State
    control: Control
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """The terminal is the run's."""

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == "/state":
            shown = {**self.state.document(), "control": self.control.document()}
            self._answer(200, "application/json", json.dumps(shown).encode())
        elif self.path == "/metrics":
            text = prometheus(self.state.document())
            self._answer(200, "text/plain; version=0.0.4; charset=utf-8", text.encode())
        else:
            self._answer(404, "text/plain", b"there is /, /state and /metrics\n")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(size, BODY_BYTES_MAX))
        if self.path != "/control" or "X-Loadtest" not in self.headers or size > BODY_BYTES_MAX:
            self._answer(403, "text/plain", b"a control is a POST to /control with the header X-Loadtest\n")
            return
        try:
            self.control.act(str(orjson.loads(body)["action"]))
        except (ValueError, KeyError, TypeError):
            self._answer(400, "text/plain", b"the action is pause, resume, faster, slower or stop\n")
            return
        self._answer(200, "application/json", json.dumps(self.control.document()).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def address_of(text: str) -> tuple[str, int]:
    """(host, port) of 8089 or 0.0.0.0:8089; raises WebError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise WebError(f"--web {text}: give a port, or HOST:PORT")
    return host or "127.0.0.1", int(port)


@contextmanager
def serving(address: tuple[str, int], state: State, control: Control) -> Iterator[str]:
    """The page's URL, while it is served; raises WebError."""
    handler = type("Handler", (_Handler,), {"state": state, "control": control})
    try:
        server = ThreadingHTTPServer(address, handler)
    except OSError as error:
        raise WebError(f"--web {address[0]}:{address[1]}: {error.strerror}") from None
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://{address[0]}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
