"""What an operators' port answers until its node has started: the process runs, and isn't ready, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admin.app import guarded
from gateway.http.problems import Problem
from gateway.http.requests import json_response

METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]
RETRY_AFTER = {"Retry-After": "1"}


class Starting:
    """An application in the place of `started`, until that is there; `problems()`: what it waits for."""

    def __init__(
        self, name: str, problems: Callable[[], Sequence[str]], bodies_bytes_max: Callable[[], int]
    ) -> None:
        self.started: ASGIApp | None = None
        self._name = name
        self._problems = problems
        routes = [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
            Route("/{path:path}", self._anything, methods=METHODS),
        ]
        self._starting = guarded(routes, bodies_bytes_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await (self.started or self._starting)(scope, receive, send)

    async def _healthz(self, request: Request) -> Response:
        return json_response({"status": "ok", "node": self._name})

    async def _readyz(self, request: Request) -> Response:
        fields = {"status": "starting", "node": self._name}
        problems = self._problems()
        if problems:
            fields["reason"] = "; ".join(problems)
        return json_response(fields, 503)

    async def _anything(self, request: Request) -> Response:
        text = "The node is starting; /readyz says what it waits for. Try again in a moment."
        raise Problem(503, text, headers=RETRY_AFTER, code="UNAVAILABLE", outcome="none")
