"""Who may look at a node, and who may change it: the grants of a token on `node:admin`."""

from __future__ import annotations

from starlette.requests import Request

from gateway.http.problems import Problem
from gateway.http.requests import HttpContext, identity_of, note_refusal
from gateway.ports import Identity, Role

NODE = ("node", "admin")


def operator_of(context: HttpContext, request: Request) -> Identity:
    """Who asks, if it may change the node; raises Problem, Refusal."""
    return _granted(context, request, "admin")


def viewer_of(context: HttpContext, request: Request) -> Identity:
    """Who asks, if it may look at everything; raises Problem, Refusal."""
    return _granted(context, request, "viewer")


def _granted(context: HttpContext, request: Request, role: Role) -> Identity:
    identity = identity_of(context, request)
    if not identity.allows(*NODE, role):
        note_refusal(context, request, identity.user_id, request.url.path, "FORBIDDEN")
        grant = f"{':'.join(NODE)}={role}"
        raise Problem(403, f"This needs a token with the grant {grant} (or *=admin).", code="FORBIDDEN")
    return identity
