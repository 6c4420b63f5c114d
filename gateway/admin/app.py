"""The admin HTTP: health, metrics, and the service port's resources, with what operators alone may do.

/healthz /readyz /metrics /openapi.json /          for operators; no token
/v1/flags /v1/revocations /v1/disconnect /v1/drain  who is let in, for all nodes; the end (node:admin)
/v1/audit                                          what was done and refused (node:admin)
/console /v1/node /v1/sessions /v1/trace            what goes on, for people and programs (node:admin)
/v1/resources/...                                  as on the service port; DELETE takes ?purge=true
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.admin import console_pages, exposition, page
from gateway.admin.audit import AuditRoutes
from gateway.admin.draining import DrainRoutes
from gateway.admin.flags import FlagAdminRoutes, FlagControl
from gateway.admin.insight import InsightRoutes, NodeView
from gateway.admin.openapi import description
from gateway.admin.port import State
from gateway.admin.revocations import RevocationControl, RevocationRoutes
from gateway.errors import LogUnavailable
from gateway.http.app import resource_routes, routed
from gateway.http.bodies import Bodies
from gateway.http.headers import NOTHING, RequestId, SecurityHeaders
from gateway.http.problems import FOR_OPERATORS
from gateway.http.requests import HttpContext, json_response
from gateway.http.unchanging import Unchanging
from gateway.ports.audit import AuditLog

CHECK_TIMEOUT_S = 2.0
FULL = "full"


class Controls(NamedTuple):
    """What an operator changes: who is let in, on all nodes; and that this one ends. What records it, and
    what the node shows."""

    flags: FlagControl
    revocations: RevocationControl
    drain: Callable[[], None]
    audit: AuditLog
    view: NodeView


class AdminContext(NamedTuple):
    """What the application works with. `websocket_url` is shown to people."""

    http: HttpContext
    state: State
    websocket_url: str = "ws://HOST:PORT/realtime"
    controls: Controls | None = None
    drain_grace_s: float = 0.0
    bodies_bytes_max: int = 64 << 20


def application(context: AdminContext) -> Starlette:
    """The ASGI application over the core's port."""
    return guarded(routes(context), lambda: context.bodies_bytes_max, page.POLICY)


def guarded(routes: Sequence[Route], bodies_bytes_max: Callable[[], int], policy: str = NOTHING) -> Starlette:
    """The application of an operators' port: its requests hold at most so many bytes of bodies."""
    app = routed(routes, FOR_OPERATORS)
    app.add_middleware(Bodies, bytes_max=bodies_bytes_max)
    app.add_middleware(SecurityHeaders, policy=policy)
    app.add_middleware(RequestId)
    return app


def routes(context: AdminContext) -> list[Route]:
    """What the description describes."""
    admin, shared = _Admin(context), context.http
    openapi = Unchanging(description(sorted(shared.resources.types()), shared.document_bytes_max))
    return [
        Route("/", admin.page, methods=["GET"]),
        Route("/openapi.json", openapi.answer, methods=["GET"]),
        Route("/healthz", admin.healthz, methods=["GET"]),
        Route("/readyz", admin.readyz, methods=["GET"]),
        Route("/metrics", admin.metrics, methods=["GET"]),
        *_operators(context),
        *resource_routes(shared, purges=True),
    ]


def _operators(context: AdminContext) -> list[Route]:
    """What only operators may do, where the node offers it."""
    shared, controls = context.http, context.controls
    if controls is None:
        return []
    return [
        *FlagAdminRoutes(shared, controls.flags).routes(),
        *RevocationRoutes(shared, controls.revocations).routes(),
        *InsightRoutes(shared, controls.view).routes(),
        *console_pages.routes(),
        *DrainRoutes(shared, context.state.name, context.drain_grace_s, controls.drain).routes(),
        *AuditRoutes(shared, controls.audit).routes(),
    ]


class _Admin:
    """The handlers of what operators alone ask for."""

    def __init__(self, context: AdminContext) -> None:
        self._state = context.state
        self._context = context

    async def page(self, request: Request) -> Response:
        state = "draining" if self._state.draining else "serving"
        return HTMLResponse(page.html(self._state.name, state, self._context.websocket_url))

    async def healthz(self, request: Request) -> Response:
        """The process runs and its loop turns; nothing else is asked."""
        return json_response({"status": "ok", "node": self._state.name})

    async def readyz(self, request: Request) -> Response:
        """Whether new clients should be sent here."""
        if self._state.draining:
            return json_response({"status": "draining", "node": self._state.name}, 503)
        try:
            with trio.fail_after(CHECK_TIMEOUT_S):
                await self._state.check()
        except (LogUnavailable, trio.TooSlowError) as error:
            reason = str(error) or f"no answer in {CHECK_TIMEOUT_S:g} s"
            fields = {"status": "log unavailable", "reason": reason, "node": self._state.name}
            return json_response(fields, 503)
        if self._state.full:
            reason = "it takes no more connections (gateway_connections_left)"
            return json_response({"status": FULL, "reason": reason, "node": self._state.name}, 503)
        found = list(self._state.problems)
        if not self._state.can_verify:
            return json_response({"status": "no keys", "problems": found, "node": self._state.name}, 503)
        if found:
            return json_response({"status": "degraded", "problems": found, "node": self._state.name})
        return json_response({"status": "ready", "node": self._state.name})

    async def metrics(self, request: Request) -> Response:
        scrape = exposition.of_one(self._state.counters(), self._state.draining)
        text = await trio.to_thread.run_sync(exposition.text, scrape)
        return Response(text, headers={"Content-Type": exposition.CONTENT_TYPE})
