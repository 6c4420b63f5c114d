"""The admin HTTP: health, metrics, resources at any version, history. Every error is a problem document.

/healthz /readyz /metrics /openapi.json /          for operators; no token
/v1/resources/{type}/{id}[?version=N]              GET, PUT, DELETE
/v1/resources/{type}/{id}/history[?from=&limit=]   GET
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import orjson
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.admin import exposition, page, problems
from gateway.admin.openapi import description
from gateway.admin.port import Resources, Revision, State, Written
from gateway.admin.problems import Problem
from gateway.errors import LogUnavailable, Refusal
from gateway.ports import Authenticator, Identity, Role
from gateway.wire.messages import RESOURCE_ID

HISTORY_DEFAULT = 100
HISTORY_MAX = 1000
HISTORY_PAGE = 50
# A page of history ends early beyond so many bytes: an answer never holds the loop or the memory for long.
HISTORY_BYTES_MAX = 1 << 20
CHECK_TIMEOUT_S = 2.0
BODY_TIMEOUT_S = 30.0


class AdminContext(NamedTuple):
    """What the application works with. `now_s` is Unix time; `websocket_url` is shown to people."""

    resources: Resources
    state: State
    authenticator: Authenticator
    document_bytes_max: int
    websocket_url: str = "ws://HOST:PORT/realtime"
    now_s: Callable[[], float] = time.time


class Target(NamedTuple):
    """The resource that a request is about, and who asks."""

    type: str
    id: str
    identity: Identity


def application(context: AdminContext) -> Starlette:
    """The ASGI application over the core's port."""
    admin = _Admin(context)
    resource = "/v1/resources/{type}/{id}"
    return Starlette(
        routes=[
            Route("/", admin.page, methods=["GET"]),
            Route("/openapi.json", admin.openapi, methods=["GET"]),
            Route("/healthz", admin.healthz, methods=["GET"]),
            Route("/readyz", admin.readyz, methods=["GET"]),
            Route("/metrics", admin.metrics, methods=["GET"]),
            Route(resource, admin.resource, methods=["GET", "PUT", "DELETE"]),
            Route(f"{resource}/history", admin.history, methods=["GET"]),
        ],
        exception_handlers={
            Problem: problems.on_problem,
            Refusal: problems.on_refusal,
            LogUnavailable: problems.on_log_unavailable,
            HTTPException: problems.on_http_exception,
            Exception: problems.on_bug,
        },
    )


class _Admin:
    """The handlers. Each checks the token and the role before it says anything about a resource."""

    def __init__(self, context: AdminContext) -> None:
        self._resources = context.resources
        self._state = context.state
        self._context = context

    async def page(self, request: Request) -> Response:
        state = "draining" if self._state.draining else "serving"
        return HTMLResponse(page.html(self._state.name, state, self._context.websocket_url))

    async def openapi(self, request: Request) -> Response:
        return _json(description(sorted(self._resources.types()), self._context.document_bytes_max))

    async def healthz(self, request: Request) -> Response:
        """The process runs and its loop turns; nothing else is asked."""
        return _json({"status": "ok", "node": self._state.name})

    async def readyz(self, request: Request) -> Response:
        """Whether new clients should be sent here."""
        if self._state.draining:
            return _json({"status": "draining", "node": self._state.name}, 503)
        try:
            with trio.fail_after(CHECK_TIMEOUT_S):
                await self._state.check()
        except (LogUnavailable, trio.TooSlowError) as error:
            reason = str(error) or f"no answer in {CHECK_TIMEOUT_S:g} s"
            return _json({"status": "log unavailable", "reason": reason, "node": self._state.name}, 503)
        problems = list(self._state.problems)
        if not self._state.can_verify:
            return _json({"status": "no keys", "problems": problems, "node": self._state.name}, 503)
        if problems:
            return _json({"status": "degraded", "problems": problems, "node": self._state.name})
        return _json({"status": "ready", "node": self._state.name})

    async def metrics(self, request: Request) -> Response:
        exported = self._state.counters().export()
        text = await trio.to_thread.run_sync(exposition.text, exported, self._state.draining)
        return Response(text, headers={"Content-Type": exposition.CONTENT_TYPE})

    async def resource(self, request: Request) -> Response:
        # One route for all methods, so that a 405 names them all.
        handlers = {"PUT": self.put, "DELETE": self.delete}
        return await handlers.get(request.method, self.read)(request)

    async def read(self, request: Request) -> Response:
        target = self._target(request, "viewer")
        version = _whole_number(request, "version", least=0)
        revision = await self._resources.read(target.type, target.id, version)
        if revision.document == b"null":
            raise _nothing_there(target, revision)
        fields = {**_named(target), "version": revision.version, "epoch": revision.epoch}
        fields |= {"timestamp": revision.timestamp, "document": orjson.Fragment(revision.document)}
        return _json(fields, headers=_etag(revision.version))

    async def put(self, request: Request) -> Response:
        target = self._target(request, "editor")
        document = await self._document(request)
        expected = await self._expected_version(request, target)
        written = await self._resources.put(
            target.identity.user_id, target.type, target.id, document, expected
        )
        return _written(target, written, 201 if written.version == 1 else 200)

    async def delete(self, request: Request) -> Response:
        target = self._target(request, "admin")
        purge = _flag(request, "purge")
        user_id = target.identity.user_id
        if purge:
            return _written(target, await self._resources.purge(user_id, target.type, target.id))
        expected = await self._expected_version(request, target)
        return _written(target, await self._resources.delete(user_id, target.type, target.id, expected))

    async def history(self, request: Request) -> Response:
        target = self._target(request, "viewer")
        first = _whole_number(request, "from", least=1) or 1
        limit = _whole_number(request, "limit", least=1, most=HISTORY_MAX) or HISTORY_DEFAULT
        changes = await self._changes(target, first, limit)
        whole = len(changes) < limit and sum(map(len, changes)) < HISTORY_BYTES_MAX
        next_url = None if whole else f"{request.url.path}?from={first + len(changes)}&limit={limit}"
        fields = {**_named(target), "changes": [orjson.Fragment(body) for body in changes], "next": next_url}
        return _json(fields, headers={"Link": f'<{next_url}>; rel="next"'} if next_url else {})

    async def _changes(self, target: Target, first: int, limit: int) -> list[bytes]:
        """The changes from version `first`; ends early when they grow large."""
        changes: list[bytes] = []
        size_bytes = 0
        while len(changes) < limit and size_bytes < HISTORY_BYTES_MAX:
            wanted = min(HISTORY_PAGE, limit - len(changes))
            after = first - 1 + len(changes)
            found = await self._resources.history(target.type, target.id, after, wanted)
            for body in found:
                if size_bytes < HISTORY_BYTES_MAX:
                    changes.append(body)
                    size_bytes += len(body)
            if len(found) < wanted:
                break
        return changes

    def _target(self, request: Request, role: Role) -> Target:
        """The resource that the path names, for a caller whose token grants the role there."""
        identity = self._identity(request)
        resource_type, resource_id = request.path_params["type"], request.path_params["id"]
        types = self._resources.types()
        if resource_type not in types:
            raise Problem(
                404, f"There is no resource type {resource_type!r}; this node serves {', '.join(types)}."
            )
        if not RESOURCE_ID.match(resource_id):
            raise Problem(
                400, "A resource id is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ : @ -.", id=resource_id
            )
        if not identity.allows(resource_type, resource_id, role):
            grant = f"{resource_type}:{resource_id}={role}"
            raise Problem(
                403, f"This token doesn't allow it; one with the grant {grant} does.", code="FORBIDDEN"
            )
        return Target(resource_type, resource_id, identity)

    def _identity(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            detail = "Send the header `Authorization: Bearer TOKEN`; `gateway token` makes one."
            raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"}, code="UNAUTHENTICATED")
        return self._context.authenticator.verify(token.strip(), self._context.now_s())

    async def _document(self, request: Request) -> Any:
        """The body, parsed; null isn't a document."""
        body = await _body(request, self._context.document_bytes_max)
        try:
            document = orjson.loads(body)
        except ValueError as error:
            raise Problem(400, f"The body must be the document, as JSON: {error}.") from None
        if document is None:
            raise Problem(400, "null is no document; use DELETE to remove one.")
        return document

    async def _expected_version(self, request: Request, target: Target) -> int | None:
        """The version that the write must follow, from If-Match or `If-None-Match: *`; None for any."""
        match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
        if none_match is None:
            return _version_of_etag(match) if match not in (None, "*") else None
        if none_match != "*" or match is not None:
            raise Problem(400, 'Use either `If-Match: "VERSION"` or `If-None-Match: *`.')
        revision = await self._resources.read(target.type, target.id, None)
        if revision.document != b"null":
            detail = f"{target.type}:{target.id} exists, at version {revision.version}."
            raise Problem(412, detail, code="CONFLICT", version=revision.version)
        return revision.version


async def _body(request: Request, bytes_max: int) -> bytes:
    """The request's body, at most `bytes_max`, within BODY_TIMEOUT_S."""
    received = bytearray()
    try:
        with trio.fail_after(BODY_TIMEOUT_S):
            async with aclosing(request.stream()) as stream:
                async for chunk in stream:
                    received += chunk
                    if len(received) > bytes_max:
                        raise Problem(413, f"A document has at most {bytes_max:,} bytes.", code="TOO_LARGE")
    except trio.TooSlowError:
        raise Problem(408, f"The body didn't arrive in {BODY_TIMEOUT_S:g} s.") from None
    except ClientDisconnect:
        raise Problem(400, "The body ended early.") from None
    return bytes(received)


def _json(fields: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(fields),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def _named(target: Target) -> dict[str, Any]:
    return {"resource": target.type, "resource_id": target.id}


def _written(target: Target, written: Written, status: int = 200) -> Response:
    fields = {**_named(target), "version": written.version, "epoch": written.epoch}
    return _json(fields, status, _etag(written.version))


def _etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def _version_of_etag(value: str | None) -> int:
    found = re.fullmatch(r'(?:W/)?"?([0-9]{1,16})"?', value or "")
    if found is None:
        raise Problem(400, f'If-Match must be a version, e.g. "17"; it was {value}.')
    return int(found[1])


def _nothing_there(target: Target, revision: Revision) -> Problem:
    name = f"{target.type}:{target.id}"
    detail = f"{name} was never written; PUT creates it."
    if revision.version:
        detail = f"{name} doesn't exist at version {revision.version}; its history says why, PUT creates it."
    return Problem(404, detail, version=revision.version, epoch=revision.epoch)


def _whole_number(request: Request, name: str, least: int, most: int = 1 << 53) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,16}", text) or not least <= int(text) <= most:
        bounds = f"from {least} to {most}" if most < 1 << 53 else f"of at least {least}"
        raise Problem(400, f"{name} must be a whole number {bounds}; it was {text[:40]}.")
    return int(text)


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Problem(400, f"{name} must be true or false; it was {text[:40]}.")
    return text == "true"
