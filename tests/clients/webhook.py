"""An authoriser's webhook on a real socket, that can be slow, wrong and down."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import free_port
from tests.waiting import PATIENCE_S


class Webhook:
    """Answers each question by `roles` (`USER TYPE:ID` to role), else by `otherwise`.

    `visible`: what it tells of a user's (`USER TYPE` to ids), None where that isn't there.
    `mood`: "right", "slow" (nothing until it changes), "endless", a status such as "500", or what to answer.
    """

    def __init__(self, otherwise: str | None = None) -> None:
        self.roles: dict[str, str | None] = {}
        self.otherwise = otherwise
        self.visible: dict[str, list[str]] = {}
        self.mood = "right"
        self.asked: list[list[str]] = []
        self.connections: set[socket.socket] = set()
        self.bearers: set[str | None] = set()
        self._changed = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/decide"

    def start(self) -> None:
        """Listen, where it did before."""
        handler = type("Handler", (_Handler,), {"hook": self})
        self._server = _Server(self, ("127.0.0.1", self._port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens any more, and who waits has no answer."""
        assert self._server is not None and self._thread is not None
        self.turn(self.mood)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def turn(self, mood: str) -> None:
        """Be like this from now on."""
        self.mood = mood
        waiting, self._changed = self._changed, threading.Event()
        waiting.set()

    def answer(self, questions: list[dict[str, str]], bearer: str | None) -> list[str | None]:
        self.bearers.add(bearer)
        names = [f"{one['user_id']} {one['resource_type']}:{one['resource_id']}" for one in questions]
        self.asked.append(names)
        return [self.roles.get(name, self.otherwise) for name in names]

    @property
    def visible_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/visible"

    def told(self, asked: dict[str, str]) -> list[str] | None:
        return self.visible.get(f"{asked['user_id']} {asked['resource_type']}")

    def wait(self) -> None:
        """While it is slow."""
        changed = self._changed  # before the look: else it might be that of the next change
        if self.mood == "slow":
            changed.wait(PATIENCE_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hook: Webhook, *options: Any) -> None:
        super().__init__(*options)
        self._hook = hook

    def process_request(self, request: Any, client_address: Any) -> None:
        """Who stops the server ends each connection that it accepted, also one that has no thread yet."""
        self._hook.connections.add(request)
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hook: Webhook
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/visible":
            answer = json.dumps({"resource_ids": self.hook.told(body)})
        else:
            roles = self.hook.answer(body["questions"], self.headers.get("Authorization"))
            answer = json.dumps({"roles": roles})
        mood = self.hook.mood
        with suppress(OSError):
            if mood == "slow":
                self.hook.wait()
            elif mood == "endless":
                self._endless()
            elif mood.isdigit():
                self._send(int(mood), answer)
            else:
                self._send(200, answer if mood == "right" else mood)

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"1000\r\n" + b" " * 4096 + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@contextmanager
def webhook(otherwise: str | None = None) -> Iterator[Webhook]:
    started = Webhook(otherwise)
    try:
        yield started
    finally:
        started.stop()
