"""What a request asks for, read and checked: every mistake is a problem that says the way out."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

import orjson
import trio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from gateway.admission import at_least
from gateway.admission.tokens import USER_ID_LENGTH_MAX
from gateway.errors import LogUnavailable, Refusal
from gateway.http.port import Resources
from gateway.http.problems import Problem
from gateway.ports import Authenticator, Identity, Role
from gateway.ports.audit import DONE, NOT_ALLOWED, UNKNOWN, AuditLog
from gateway.ports.resources import Resource
from gateway.runtime.timeslice import Slices
from gateway.wire.integers import pieces
from gateway.wire.messages import RESOURCE_ID, parsed

BODY_TIMEOUT_S = 30.0
TOO_SLOW = 408
INTEGER_MAX = (1 << 53) - 1
# Where `Charged` says who asks, whose turn it is; or why that token is refused.
USER = "gateway.user"
REFUSED = "gateway.refused"


class HttpContext(NamedTuple):
    """What the routes work with. `now_s` is Unix time; `ending` is set when the node begins to drain."""

    resources: Resources
    authenticator: Authenticator
    document_bytes_max: int
    message_bytes_max: int
    now_s: Callable[[], float] = time.time
    ending: trio.Event | None = None
    audit: AuditLog | None = None


class Target(NamedTuple):
    """The resource that a request is about, and who asks."""

    resource: Resource
    identity: Identity

    @property
    def name(self) -> str:
        """As grants name it."""
        return str(self.resource)

    @property
    def named(self) -> dict[str, Any]:
        """Its members in an answer."""
        return {"resource": self.resource.type, "resource_id": self.resource.id}

    @property
    def named_in_edit(self) -> dict[str, Any]:
        """Its members in an edit, and in what answers one."""
        return {"resource_type": self.resource.type, "resource_id": self.resource.id}


class NamesResource(Protocol):
    """What says which resource it is of."""

    @property
    def type(self) -> str: ...

    @property
    def id(self) -> str: ...


Found = TypeVar("Found", bound=NamesResource)
Place = TypeVar("Place")


def token_of(authorization: str) -> str:
    """The bearer token of this header; "" where it has none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def identity_of(context: HttpContext, request: Request) -> Identity:
    """Who asks, by the bearer token; raises Problem, Refusal."""
    token = token_of(request.headers.get("authorization", ""))
    if not token:
        detail = "Send the header `Authorization: Bearer TOKEN`; `gateway token` makes one."
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"}, code="UNAUTHENTICATED")
    host = request.client.host if request.client else ""
    refusal: Refusal | None = request.scope.pop(REFUSED, None)  # kept, it would hold itself by its traceback
    if refusal is not None:
        _note_bad_token(context, request.method, host, refusal)
        raise refusal
    return verified(context, token, request.method, host)


def sign_in(context: HttpContext, scope: Scope) -> None:
    """Say in the scope who signed in, or why a token is refused, which is told where one is needed."""
    token = token_of(Headers(scope=scope).get("authorization", ""))
    if not token:
        return
    try:
        scope[USER] = context.authenticator.verify(token, context.now_s())
    except Refusal as refusal:
        scope[REFUSED] = refusal.with_traceback(None)


def review(context: HttpContext, scope: Scope) -> None:
    """Say it anew after a wait: with what is still granted, or why that token isn't accepted any more."""
    try:
        scope[USER] = context.authenticator.reviewed(scope.pop(USER), context.now_s())
    except Refusal as refusal:
        scope[REFUSED] = refusal.with_traceback(None)


def verified(context: HttpContext, token: str, method: str, host: str) -> Identity:
    """Who shows this token from there; raises Refusal."""
    try:
        return context.authenticator.verify(token, context.now_s())
    except Refusal as refusal:
        _note_bad_token(context, method, host, refusal)
        raise


def _note_bad_token(context: HttpContext, method: str, host: str, refusal: Refusal) -> None:
    """A bad token is recorded; one that has ended isn't."""
    if refusal.code != "TOKEN_EXPIRED":
        note_refusal(context, method, "", host, refusal.code)


async def user_of(context: HttpContext, request: Request) -> Identity:
    """Who asks, when it is his turn; raises Problem, Refusal."""
    admitted: Identity | None = request.scope.get(USER)
    if admitted is not None:
        return admitted
    identity = identity_of(context, request)
    await context.resources.admit(identity.user_id)
    reviewed: Identity = context.authenticator.reviewed(identity, context.now_s())
    return reviewed


def type_of(context: HttpContext, request: Request) -> str:
    """The resource type that the path names."""
    resource_type: str = request.path_params["type"]
    types = context.resources.types()
    if resource_type not in types:
        detail = f"There is no resource type {resource_type!r}; this node serves {', '.join(types)}."
        raise Problem(404, detail, code="INVALID_MESSAGE")
    return resource_type


async def target_of(context: HttpContext, request: Request, role: Role) -> Target:
    """The resource that the path names, for a caller whose token grants the role there."""
    identity = await user_of(context, request)
    resource_type, resource_id = type_of(context, request), request.path_params["id"]
    if not RESOURCE_ID.match(resource_id):
        raise Problem(
            400, "A resource id is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ : @ -.", id=resource_id
        )
    target = Target(Resource(resource_type, resource_id), identity)
    await _allowed(context, request, target, role)
    return target


async def still_granted(context: HttpContext, request: Request, target: Target, role: Role) -> Target:
    """The target after a wait, for a body or for news: its token is accepted still, and grants the role;
    raises Refusal, Problem."""
    identity = context.authenticator.reviewed(target.identity, context.now_s())
    reviewed = target._replace(identity=identity)
    await _allowed(context, request, reviewed, role)
    return reviewed


async def _allowed(context: HttpContext, request: Request, target: Target, role: Role) -> None:
    grant, detail = f"{target.name}={role}", ""
    if not target.identity.allows(target.resource, role):
        detail = f"This token doesn't allow it; one with the grant {grant} does."
    else:
        await context.resources.decide(target.identity, (target.resource,))
        if not at_least(context.resources.role(target.identity, target.resource), role):
            detail = f"The token grants it, and the authoriser doesn't: it takes {grant}."
    if detail:
        note_refusal(context, request.method, target.identity.user_id, target.name, "FORBIDDEN")
        raise Problem(403, detail, code="FORBIDDEN")


async def readable(context: HttpContext, identity: Identity, found: Sequence[Found]) -> list[Found]:
    """What of this the caller may see, as it is decided of each; raises Refusal UNAVAILABLE."""
    resources = context.resources
    named = [Resource(item.type, item.id) for item in found]
    await resources.decide(identity, named)
    both = zip(found, named, strict=True)
    return [item for item, name in both if resources.role(identity, name) is not None]


@contextmanager
def refusals_noted(context: HttpContext, request: Request, target: Target) -> Iterator[None]:
    """Meanwhile a right to the target may be gone by when it counts: that is recorded as well."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code in NOT_ALLOWED:
            note_refusal(context, request.method, target.identity.user_id, target.name, refusal.code)
        raise


def note_refusal(context: HttpContext, method: str, user_id: str, subject: str, code: str) -> None:
    """A request wasn't allowed: that is recorded."""
    if context.audit is not None:
        context.audit.refused(f"http.{method}", user_id, subject, code)


async def note_act(
    context: HttpContext, identity: Identity, act: str, subject: str, result: str = DONE, **details: Any
) -> None:
    """An administrative act was done: that is recorded."""
    if context.audit is not None:
        await context.audit.record(act, identity.user_id, subject, result, **details)


@asynccontextmanager
async def doubts_noted(
    context: HttpContext, identity: Identity, act: str, subject: str, **details: Any
) -> AsyncIterator[None]:
    """Meanwhile the answer to an act may be lost: that is recorded, for it may be done."""
    try:
        yield
    except (Refusal, LogUnavailable) as error:
        outcome = error.details.get("outcome") if isinstance(error, Refusal) else error.outcome
        if outcome == UNKNOWN:
            await note_act(context, identity, act, subject, UNKNOWN, **details)
        raise


def known_parameters(request: Request, names: Collection[str]) -> None:
    """Refuse query parameters that aren't among these, or that are there twice."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in names:
            offered = f"; it takes {', '.join(names)}" if names else ""
            raise Problem(400, f"{name[:40]!r} is no parameter of this request{offered}.")
        if name in seen:
            raise Problem(400, f"The parameter {name} is there twice.")
        seen.add(name)


def whole_number(request: Request, name: str, least: int, most: int = INTEGER_MAX) -> int | None:
    """A query parameter that is a whole number; None where it is missing."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,16}", text, re.ASCII) or not least <= int(text) <= most:
        bounds = f"from {least} to {most}" if most < INTEGER_MAX else f"of at least {least}"
        raise Problem(400, f"{name} must be a whole number {bounds}; it was {text[:40]}.")
    return int(text)


def instant_ms(request: Request, name: str) -> int | None:
    """A query parameter that is an instant, as Unix ms: RFC 3339, or Unix ms itself."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if re.fullmatch(r"-?[0-9]{1,15}", text, re.ASCII):
        return int(text)
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that wasn't escaped
        if found.tzinfo is None:
            raise ValueError(text)
        return int(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Problem(
            400,
            f"{name} must be an instant such as 2030-01-31T09:00:00Z, or Unix ms; it was {text[:40]}.",
        ) from None


def place_after(request: Request, read: Callable[[str], Place | None]) -> Place | None:
    """Where the page before this one ended, as `read` finds it in `after`; None where that is missing."""
    text = request.query_params.get("after")
    if text is None:
        return None
    found = read(text)
    if found is None:
        raise Problem(400, "after must be what `next` of the page before has.")
    return found


def user_id(request: Request) -> str | None:
    """The query parameter `user_id`; None where it is missing."""
    found = request.query_params.get("user_id")
    if found is not None and not 1 <= len(found) <= USER_ID_LENGTH_MAX:
        raise Problem(400, f"user_id must be 1 to {USER_ID_LENGTH_MAX} characters.")
    return found


def flag(request: Request, name: str) -> bool:
    """A query parameter that is true or false; false where it is missing."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Problem(400, f"{name} must be true or false; it was {text[:40]}.")
    return text == "true"


async def json_body(
    request: Request, bytes_max: int, what: str, before: Callable[[int], Awaitable[None]] | None = None
) -> Any:
    """The body, parsed; `what` it should be is for people. `before` is told its size once it came."""
    _check_coding(request)
    is_larger = int(request.headers.get("content-length", 0)) > bytes_max  # which isn't asked for then
    body = b"" if is_larger else await body_of(request, bytes_max)
    if is_larger or len(body) > bytes_max:
        raise Problem(413, f"{what[0].upper()}{what[1:]} has at most {bytes_max:,} bytes.", code="TOO_LARGE")
    if before is not None:
        await before(len(body))
    told = await _shortened(body)
    await trio.lowlevel.checkpoint()  # a megabyte is milliseconds of each
    try:
        value = parsed(told)
    except ValueError as error:
        raise Problem(400, f"The body must be {what}, as JSON: {error}.") from None
    await trio.lowlevel.checkpoint()
    return value


def _check_coding(request: Request) -> None:
    """Raise Problem where the body was compressed, say, on its way to us."""
    coding = request.headers.get("content-encoding", "").strip()
    if coding.lower() not in ("", "identity"):
        detail = f"Send the body as it is, without Content-Encoding; it was {coding[:40]}."
        raise Problem(415, detail, headers={"Accept-Encoding": "identity"})


async def _shortened(body: bytes) -> bytes:
    """As `integers.shortened`, in slices."""
    slices, told = Slices(trio.current_time), list[bytes]()
    for piece in pieces(body):
        told.append(piece)
        if slices.over:
            await slices.pause()
    return b"".join(told)


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The request's body, within BODY_TIMEOUT_S; of one that is too large, one byte too many."""
    received = bytearray()
    try:
        with trio.fail_after(BODY_TIMEOUT_S):
            async with aclosing(request.stream()) as stream:
                async for chunk in stream:
                    received += chunk
                    if len(received) > bytes_max:
                        break
    except trio.TooSlowError:
        raise Problem(TOO_SLOW, f"The body didn't arrive in {BODY_TIMEOUT_S:g} s.", outcome="none") from None
    except ClientDisconnect:
        raise Problem(400, "The body ended early.") from None
    del received[bytes_max + 1 :]
    return bytes(received)


def following(request: Request, name: str, value: object) -> str:
    """The address of the next page: this request's, but from there on."""
    kept = [(key, text) for key, text in request.query_params.items() if key != name]
    return f"{request.url.path}?{urlencode([*kept, (name, value)])}"


def page_response(fields: dict[str, Any], next_url: str | None) -> Response:
    """The answer that is a page; None: there is no next one."""
    headers = {"Link": f'<{next_url}>; rel="next"'} if next_url else {}
    return json_response({**fields, "next": next_url}, headers=headers)


def json_response(fields: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer that nobody stores."""
    return Response(
        orjson.dumps(fields),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
