"""A node looked into: GET /v1/node and /v1/sessions; GET, POST and DELETE of /v1/trace.

Each answers with what every worker of the node says: `workers`. To look takes a token that grants
`node:admin=viewer`; tracing shows who does what, so it takes `admin`. `asker_role` of /v1/node says which the
asker has.
"""

from __future__ import annotations

from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.operators import NODE, operator_of, operators_body, viewer_of
from gateway.admission.tokens import USER_ID_LENGTH_MAX, is_claim_text
from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    json_response,
    known_parameters,
    note_act,
    whole_number,
)
from gateway.http.shapes import TRACE_S_MAX
from gateway.wire.messages import is_resource_id

NODE_PATH = "/v1/node"
SESSIONS_PATH = "/v1/sessions"
TRACE_PATH = "/v1/trace"
# Asked of every worker.
OF_ALL = {NODE_PATH: ("GET",), SESSIONS_PATH: ("GET",), TRACE_PATH: ("GET", "POST", "DELETE")}
# In the scope of a request that another worker was asked before: what is done is recorded there.
REPEATED = "gateway.repeated"
BODY_BYTES_MAX = 4 << 10
SESSIONS_DEFAULT, SESSIONS_MAX = 100, 1000
TRACE_S_DEFAULT = 60.0


class LiveTrace(Protocol):
    """One client or one room, followed."""

    async def start(self, user_id: str | None, resource: str | None, for_s: float) -> str:
        """Trace this from now on, and nothing else; returns its subject. Raises Refusal, LogUnavailable."""
        ...

    def stop(self) -> str | None:
        """Trace nothing; returns the subject of what was traced."""
        ...

    def told(self, after: int) -> dict[str, Any]:
        """The events after this number."""
        ...


class NodeView(Protocol):
    """What a worker shows of itself."""

    worker: str

    @property
    def live(self) -> LiveTrace: ...

    def state(self) -> dict[str, Any]:
        """Numbers of now, sums since the start, and who stands out."""
        ...

    def sessions(self, user_id: str | None, resource: str | None, limit: int) -> list[dict[str, Any]]:
        """Those of a user, or with a resource, or any."""
        ...


class InsightRoutes:
    """The handlers."""

    def __init__(self, context: HttpContext, view: NodeView) -> None:
        self._context = context
        self._view = view

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route(NODE_PATH, self.node, methods=OF_ALL[NODE_PATH]),
            Route(SESSIONS_PATH, self.sessions, methods=OF_ALL[SESSIONS_PATH]),
            Route(TRACE_PATH, self.trace, methods=OF_ALL[TRACE_PATH]),
        ]

    async def node(self, request: Request) -> Response:
        """Numbers, who stands out, and what the asker may be here."""
        role = viewer_of(self._context, request).role(NODE)
        known_parameters(request, ())
        return json_response({"workers": [{**self._view.state(), "asker_role": role}]})

    async def sessions(self, request: Request) -> Response:
        """Who is connected."""
        viewer_of(self._context, request)
        known_parameters(request, ("user_id", "resource", "limit"))
        limit = whole_number(request, "limit", least=1, most=SESSIONS_MAX) or SESSIONS_DEFAULT
        resource = self._resource(request.query_params.get("resource"))
        found = self._view.sessions(request.query_params.get("user_id"), resource, limit)
        return json_response({"workers": [{"worker": self._view.worker, "sessions": found}]})

    async def trace(self, request: Request) -> Response:
        """What was heard of what is traced; POST begins, DELETE ends."""
        operator = operator_of(self._context, request)
        known_parameters(request, ("after",) if request.method == "GET" else ())
        live = self._view.live
        if request.method == "POST":
            user_id, resource, for_s = await self._wanted(request)
            subject = await live.start(user_id, resource, for_s)
            if not request.scope.get(REPEATED):
                await note_act(self._context, operator, "trace.start", subject, for_s=for_s)
        elif request.method == "DELETE":
            ended = live.stop()
            if ended is not None and not request.scope.get(REPEATED):
                await note_act(self._context, operator, "trace.stop", ended)
        after = whole_number(request, "after", least=0) or 0
        return json_response({"workers": [{"worker": self._view.worker, **live.told(after)}]})

    async def _wanted(self, request: Request) -> tuple[str | None, str | None, float]:
        body = await operators_body(self._context, request, BODY_BYTES_MAX, "an object")
        known = isinstance(body, dict) and body.keys() <= {"user_id", "resource", "for_s"}
        if not known or ("user_id" in body) == ("resource" in body):
            raise Problem(400, 'Send an object such as {"user_id": "ann"} or {"resource": "event:42"}.')
        for_s = body.get("for_s", TRACE_S_DEFAULT)
        if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 < for_s <= TRACE_S_MAX:
            raise Problem(400, f"for_s must be a number of seconds up to {TRACE_S_MAX:g}.")
        user_id, resource = body.get("user_id"), self._resource(body.get("resource"))
        if resource is None and not is_claim_text(user_id, USER_ID_LENGTH_MAX):
            raise Problem(400, f"user_id must be a text of at most {USER_ID_LENGTH_MAX} characters.")
        return user_id, resource, float(for_s)

    def _resource(self, resource: object) -> str | None:
        """What is asked for, where it may be there."""
        if resource is None:
            return None
        kind, _, ident = resource.partition(":") if isinstance(resource, str) else ("", "", "")
        if kind in self._context.resources.types() and is_resource_id(ident):
            return f"{kind}:{ident}"
        raise Problem(400, "resource must be TYPE:ID, e.g. event:42.")
