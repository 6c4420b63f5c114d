"""Who may look at a node, and who may change it: the grants of a token on `node:admin`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from gateway.http.problems import Problem
from gateway.http.requests import HttpContext, identity_of, json_body, note_refusal
from gateway.ports import Identity, Role
from gateway.ports.resources import Resource

NODE = Resource("node", "admin")


def operator_of(context: HttpContext, request: Request) -> Identity:
    """Who asks, if it may change the node; raises Problem, Refusal."""
    return _granted(context, request, "admin")


async def operators_body(context: HttpContext, request: Request, bytes_max: int, what: str) -> Any:
    """The body, parsed, of who may change the node still once it came; raises Problem, Refusal."""
    body = await json_body(request, bytes_max, what)
    operator_of(context, request)
    return body


def viewer_of(context: HttpContext, request: Request) -> Identity:
    """Who asks, if it may look at everything; raises Problem, Refusal."""
    return _granted(context, request, "viewer")


def _granted(context: HttpContext, request: Request, role: Role) -> Identity:
    identity = identity_of(context, request)
    if not identity.allows(NODE, role):
        note_refusal(context, request.method, identity.user_id, request.url.path, "FORBIDDEN")
        grant = f"{NODE}={role}"
        raise Problem(403, f"This needs a token with the grant {grant} (or *=admin).", code="FORBIDDEN")
    return identity
