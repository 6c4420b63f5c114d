"""Errors of the HTTP side as problem details (RFC 9457): what is wrong, and the way out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
import trio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import LogTrimmed, LogUnavailable, Refusal, as_told
from gateway.runtime.log_failures import log_failures

# The status of each error code (docs/reference/protocol.md#errors) that can reach this side.
STATUSES = {
    "INVALID_MESSAGE": 400,
    "SEQ_REUSED": 409,
    "SEQ_TOO_OLD": 409,
    "UNAUTHENTICATED": 401,
    "TOKEN_EXPIRED": 401,
    "FORBIDDEN": 403,
    "VERSION_AHEAD": 404,
    "VERSION_TOO_OLD": 409,
    "CONFLICT": 412,
    "TOO_LARGE": 413,
    "INVALID_OPERATION": 422,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
# The code of what has one of these statuses, and says no other code.
CODES = {
    400: "INVALID_MESSAGE",
    405: "INVALID_MESSAGE",
    408: "UNAVAILABLE",
    415: "INVALID_MESSAGE",
    422: "INVALID_OPERATION",
}
RETRY_AFTER_S = 1
TOLD_LATE_S = 0.5


class Problem(Exception):
    """An answer other than success: status, a sentence that says the way out, error code, further members,
    headers. A 404 has no code where what is asked for isn't there."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or CODES.get(status)
        self.members = members
        self.headers = headers or {}


def response(problem: Problem) -> Response:
    """`application/problem+json`; members that are None are left out."""
    members = {"code": problem.code, **problem.members}
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **{name: value for name, value in members.items() if value is not None},
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(orjson.dumps(body), problem.status, headers, media_type="application/problem+json")


def of_refusal(refusal: Refusal) -> Problem:
    """A refusal of the core, with its code and details."""
    status = STATUSES.get(refusal.code, 409)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    elif status in (429, 503):
        wait_ms = refusal.details.get("retry_after_ms") or RETRY_AFTER_S * 1000
        headers["Retry-After"] = str(max(1, -(-wait_ms // 1000)))
    return Problem(status, refusal.message, headers=headers, code=refusal.code, **refusal.details)


async def told_late(refusal: Refusal) -> None:
    """Have who comes too often wait until he is told so: a client that heeds nothing is slowed."""
    if refusal.code == "RATE_LIMITED":
        await trio.sleep(min(refusal.details.get("retry_after_ms", 0) / 1000, TOLD_LATE_S))


async def on_problem(request: Request, error: Exception) -> Response:
    """The handler of Problem."""
    assert isinstance(error, Problem)
    return response(error)


async def on_refusal(request: Request, error: Exception) -> Response:
    """The handler of Refusal."""
    assert isinstance(error, Refusal)
    await told_late(error)
    return response(of_refusal(error))


async def on_log_unavailable(request: Request, error: Exception) -> Response:
    """The handler of LogUnavailable: try again soon, unless it's gone for good. Only the log has why."""
    assert isinstance(error, LogUnavailable)
    log_failures.failed(error)
    return _log_unavailable(error, as_told(error))


async def on_log_unavailable_for_operators(request: Request, error: Exception) -> Response:
    """The same with the reason."""
    assert isinstance(error, LogUnavailable)
    return _log_unavailable(error, f"That can't be done now: {error}. Try again in a moment.")


def _log_unavailable(error: LogUnavailable, text: str) -> Response:
    if isinstance(error, LogTrimmed):
        return response(Problem(410, as_told(error), code="VERSION_TOO_OLD", version=error.version))
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return response(Problem(503, text, headers=headers, code="UNAVAILABLE", outcome=error.outcome))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own: an unknown path, a method that a path doesn't have."""
    assert isinstance(error, HTTPException)
    detail, code = error.detail, None
    if error.status_code == 404:
        code = "INVALID_MESSAGE"
        detail = f"Nothing is served at {request.url.path}; /openapi.json lists what is."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} isn't offered at {request.url.path}; use one of {allowed}."
    return response(Problem(error.status_code, detail, code=code, headers=dict(error.headers or {})))


async def on_bug(request: Request, error: Exception) -> Response:
    """Anything else is a bug: the server logs it, and the caller learns nothing of the inside."""
    return response(Problem(500, "A bug; it was logged. Trying again may help.", code="INTERNAL"))


Handlers = Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]
HANDLERS: Handlers = {
    Problem: on_problem,
    Refusal: on_refusal,
    LogUnavailable: on_log_unavailable,
    HTTPException: on_http_exception,
    Exception: on_bug,
}
FOR_OPERATORS: Handlers = {**HANDLERS, LogUnavailable: on_log_unavailable_for_operators}
