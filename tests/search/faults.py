"""A small proxy before a search server, which does what such servers do on bad days."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.waiting import PATIENCE_S

# Cut off; busy; its disk full; slower than anybody waits; half of a bulk put off.
MODES = ("cut", "busy", "full", "slow", "partly")
FULL = {"error": {"type": "cluster_block_exception", "reason": "disk usage exceeded flood-stage watermark"}}
SLOW_S = 3.0


class Faults:
    """On a port of loopback, `url`; passes requests on to `upstream` while `mode` is "".

    Only bulks suffer, but for `cut`.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.mode = ""
        self.asked = 0
        faults = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Nothing is logged."""

            def do_any(self) -> None:
                faults.asked += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                faults.answer(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request, or don't."""
        mode = self.mode if handler.path.endswith("_bulk") or self.mode == "cut" else ""
        if mode == "cut":
            handler.close_connection = True
            handler.connection.close()
            return
        if mode == "slow":
            time.sleep(SLOW_S)
        answers = {"busy": (429, b"{}"), "full": (403, json.dumps(FULL).encode())}
        if mode == "partly":
            answers[mode] = 200, self._half(handler, body)
        self._send(handler, *answers.get(mode) or self._passed_on(handler, body))

    def _half(self, handler: BaseHTTPRequestHandler, body: bytes) -> bytes:
        """The first entry of a bulk is stored; the others are put off."""
        lines = body.split(b"\n")
        _, answered = self._passed_on(handler, b"\n".join(lines[:2]) + b"\n")
        answer = json.loads(answered)
        put_off = {"index": {"_id": "x", "status": 429, "error": {"type": "rejected_execution_exception"}}}
        return json.dumps({"errors": True, "items": [*answer["items"], put_off]}).encode()

    def _passed_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        kind = handler.headers.get("Content-Type") or "application/json"
        request = Request(self.upstream + handler.path, body or None, {"Content-Type": kind})
        request.method = handler.command
        try:
            with urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(body)
        except OSError:
            handler.close_connection = True
