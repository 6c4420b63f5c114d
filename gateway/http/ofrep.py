"""Flags for whoever asks, by the OpenFeature Remote Evaluation Protocol (OFREP 0.2): its web SDKs read it.

/ofrep/v1/evaluate/flags          every flag for the user of the token, with an ETag
/ofrep/v1/evaluate/flags/{key}    one of them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admission.features import Evaluation
from gateway.http.preconditions import etag_of, is_known
from gateway.http.problems import Problem
from gateway.http.requests import HttpContext, json_body, json_response, known_parameters, user_of
from gateway.ports import Identity

CONTEXT_BYTES_MAX = 16 << 10

Evaluate = Callable[[Identity], Sequence[Evaluation]]


class FlagRoutes:
    """The handlers. The user is the token's; a context may name the same one, and no other."""

    def __init__(self, context: HttpContext, evaluate: Evaluate) -> None:
        self._context = context
        self._evaluate = evaluate

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("/ofrep/v1/evaluate/flags", self.every, methods=["POST"]),
            Route("/ofrep/v1/evaluate/flags/{key}", self.one, methods=["POST"]),
        ]

    async def every(self, request: Request) -> Response:
        """All flags; 304 where the caller has them."""
        identity = await user_of(self._context, request)
        wrong = await self._wrong(request, identity)
        if wrong is not None:
            return json_response(wrong, 400)
        body = {"flags": [_told(found) for found in self._evaluate(identity)]}
        tag = etag_of(orjson.dumps(body))
        return Response(None, 304, tag) if is_known(request, tag) else json_response(body, headers=tag)

    async def one(self, request: Request) -> Response:
        """One flag."""
        key = request.path_params["key"]
        identity = await user_of(self._context, request)
        wrong = await self._wrong(request, identity)
        if wrong is not None:
            return json_response({"key": key, **wrong}, 400)
        flags = {found.key: found for found in self._evaluate(identity)}
        if key not in flags:
            details = f"There is no such flag; there are {', '.join(flags)}."
            return json_response({"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": details}, 404)
        return json_response(_told(flags[key]))

    async def _wrong(self, request: Request, identity: Identity) -> dict[str, str] | None:
        """What is wrong with what came along, as OFREP says it; None: nothing."""
        try:
            known_parameters(request, ())
            body = await json_body(request, CONTEXT_BYTES_MAX, "an evaluation context")
        except Problem as problem:
            if problem.status != 400:
                raise
            return {"errorCode": "PARSE_ERROR", "errorDetails": problem.detail}
        context = body.get("context", {}) if isinstance(body, dict) else None
        if not isinstance(context, dict):
            return {"errorCode": "INVALID_CONTEXT", "errorDetails": 'Send {"context": {...}}.'}
        if context.get("targetingKey") not in (None, "", identity.user_id):
            details = "A token's own user can be evaluated, and no other: leave targetingKey out."
            return {"errorCode": "INVALID_CONTEXT", "errorDetails": details}
        return None


def _told(found: Evaluation) -> dict[str, Any]:
    return {"key": found.key, "value": found.value, "variant": found.variant, "reason": found.reason}
