"""Revocations for operators: GET, POST and DELETE (?id=) of /v1/revocations; POST /v1/disconnect.

To change something takes a token that grants `node:admin=admin` (or `*=admin`), to look `viewer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.operators import operator_of, operators_body, viewer_of
from gateway.admission import Revocation
from gateway.admission.grants import checked_grant
from gateway.admission.revocations import Kind
from gateway.admission.tokens import (
    LATEST_S,
    TOKEN_ID_LENGTH_MAX,
    USER_ID_LENGTH_MAX,
    claims_of,
    is_claim_text,
    is_token_id,
    token_id_of,
)
from gateway.config.access import LEEWAY_MAX_S
from gateway.errors import Refusal
from gateway.http.problems import Problem
from gateway.http.requests import HttpContext, doubts_noted, json_response, known_parameters, note_act

PATH = "/v1/revocations"
DISCONNECT_PATH = "/v1/disconnect"
BODY_BYTES_MAX = 32 << 10
REASON_LENGTH_MAX = 200
MEMBERS = ("token", "token_id", "user_id", "grant", "role", "expires_at", "reason")
SHOWN = ("kind", "subject", "pattern", "role", "issued_until", "expires_at", "reason", "revoked_by")


class RevocationControl(Protocol):
    """What is revoked on all nodes."""

    async def listed(self) -> Sequence[Revocation]:
        """All that are in force, the newest first."""
        ...

    async def add(self, revocation: Revocation) -> Revocation:
        """Revoke on all nodes; raises Refusal TOO_LARGE, LogUnavailable."""
        ...

    async def disconnect(self, user_id: str, asked_by: str) -> None:
        """Close a user's connections on all nodes; raises as `add`."""
        ...

    async def take_back(self, ident: str, asked_by: str) -> bool:
        """Have it in force no more; False where there is none of this id. Raises LogUnavailable."""
        ...


class RevocationRoutes:
    """The handlers."""

    def __init__(self, context: HttpContext, control: RevocationControl) -> None:
        self._context = context
        self._control = control

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route(PATH, self.revocations, methods=["GET", "POST", "DELETE"]),
            Route(DISCONNECT_PATH, self.disconnect, methods=["POST"]),
        ]

    async def revocations(self, request: Request) -> Response:
        """What is revoked; POST revokes something, DELETE takes one back."""
        if request.method == "POST":
            return await self._add(request)
        if request.method == "DELETE":
            return await self._take_back(request)
        viewer_of(self._context, request)
        known_parameters(request, ())
        found = [one for one in await self._control.listed() if one.kind != "connections"]
        return json_response({"revocations": [shown(one) for one in found]})

    async def _add(self, request: Request) -> Response:
        identity = operator_of(self._context, request)
        known_parameters(request, ())
        body = await operators_body(self._context, request, BODY_BYTES_MAX, "an object")
        revocation = wanted(body, self._context.now_s(), identity.user_id)
        added = shown(revocation)
        async with doubts_noted(self._context, identity, "revoke", revocation.subject, revocation=added):
            await self._control.add(revocation)
        await note_act(self._context, identity, "revoke", revocation.subject, revocation=added)
        return json_response(added, 201)

    async def _take_back(self, request: Request) -> Response:
        identity = operator_of(self._context, request)
        known_parameters(request, ("id",))
        ident = request.query_params.get("id", "")
        async with doubts_noted(self._context, identity, "revoke.take_back", ident):
            was_there = await self._control.take_back(ident, identity.user_id)
        if not was_there:
            raise Problem(404, f"Nothing is revoked under the id {ident[:80]!r}; GET {PATH} lists what is.")
        await note_act(self._context, identity, "revoke.take_back", ident)
        return json_response({"taken_back": ident})

    async def disconnect(self, request: Request) -> Response:
        """Close a user's connections."""
        identity = operator_of(self._context, request)
        known_parameters(request, ())
        what = 'an object such as {"user_id": "ann"}'
        body = await operators_body(self._context, request, BODY_BYTES_MAX, what)
        user_id = body.get("user_id") if isinstance(body, dict) and len(body) == 1 else None
        if not user_id or not is_claim_text(user_id, USER_ID_LENGTH_MAX):
            raise Problem(400, f"Send {what}.")
        async with doubts_noted(self._context, identity, "disconnect", user_id):
            await self._control.disconnect(user_id, identity.user_id)
        await note_act(self._context, identity, "disconnect", user_id)
        return json_response({"user_id": user_id})


def shown(revocation: Revocation) -> dict[str, Any]:
    """As it is told."""
    fields = {name: value for name, value in revocation.fields().items() if name in SHOWN}
    if revocation.kind != "grant":
        del fields["pattern"], fields["role"]
    return {"id": revocation.id, **fields}


def wanted(body: Any, now_s: float, asked_by: str) -> Revocation:
    """What a request asks for; raises Problem."""
    if not isinstance(body, dict) or not body.keys() <= set(MEMBERS):
        raise Problem(400, f"Send an object with members among {', '.join(MEMBERS)}.")
    expires_at, reason = body.get("expires_at"), body.get("reason", "")
    if expires_at is not None and not (_is_time(expires_at) and expires_at > now_s):
        raise Problem(400, f"expires_at must be Unix seconds still to come; it is {int(now_s)} now.")
    if reason != "" and not _is_text(reason, REASON_LENGTH_MAX):
        raise Problem(400, f"reason must be a text of at most {REASON_LENGTH_MAX} characters.")
    named = [name for name in ("token", "token_id", "user_id") if name in body]
    of_grant = "grant" in body
    if len(named) != 1 or (of_grant and named != ["user_id"]) or ("role" in body and not of_grant):
        text = "Name a token, a token_id (its jti) or a user_id; with this a grant, and the role that is left"
        raise Problem(400, f"{text} of it (null: none).")
    value = body[named[0]]
    if named == ["token"]:
        token_id, ends_s = _of_token(value)
        return Revocation(
            "token", token_id, now_s, expires_at=expires_at or ends_s, reason=reason, revoked_by=asked_by
        )
    if not is_token_id(value) or (named == ["user_id"] and not is_claim_text(value, USER_ID_LENGTH_MAX)):
        raise Problem(400, f"{named[0]} must be a text of at most {TOKEN_ID_LENGTH_MAX} characters.")
    kind = _kind(named[0], of_grant)
    revocation = Revocation(kind, value, now_s, expires_at=expires_at, reason=reason, revoked_by=asked_by)
    return _of_grant(revocation, body) if kind == "grant" else revocation


def _kind(named: str, of_grant: bool) -> Kind:
    if of_grant:
        return "grant"
    return "token" if named == "token_id" else "user"


def _of_grant(revocation: Revocation, body: dict[str, Any]) -> Revocation:
    pattern = body["grant"]
    try:
        role = checked_grant(pattern, body.get("role"))
    except ValueError as error:
        raise Problem(400, f"{error}.") from None
    return revocation._replace(pattern=pattern, role=role)


def _of_token(token: object) -> tuple[str, float | None]:
    """A token's id, and when no node accepts it any more, whatever its leeway.

    Its signature doesn't matter: what nobody signed can be revoked, too.
    """
    try:
        claims = claims_of(str(token))
    except Refusal:
        raise Problem(400, "token must be a JWT.") from None
    ends_s: Any = claims.get("exp")
    return token_id_of(claims, str(token)), ends_s + LEEWAY_MAX_S if _is_time(ends_s) else None


def _is_text(value: object, length_max: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= length_max and value.isprintable()


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < LATEST_S
