"""POST /v1/drain: the node ends in order. Needs a token that grants `node:admin=admin`."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.operators import operator_of
from gateway.http.requests import HttpContext, json_response, known_parameters, note_act

PATH = "/v1/drain"
ACCEPTED = 202


class DrainRoutes:
    """The handler. `drain` begins the end; of several workers their supervisor does, seeing the answer."""

    def __init__(self, context: HttpContext, node: str, grace_s: float, drain: Callable[[], None]) -> None:
        self._context = context
        self._node = node
        self._grace_s = grace_s
        self._drain = drain

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route(PATH, self.drain, methods=["POST"])]

    async def drain(self, request: Request) -> Response:
        """Begin the end."""
        identity = operator_of(self._context, request)
        known_parameters(request, ())
        await note_act(self._context, identity, "drain", self._node)
        self._drain()
        return json_response({"node": self._node, "grace_s": self._grace_s}, ACCEPTED)
