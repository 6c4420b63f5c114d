"""GET /v1/audit: what was done by operators and what was refused, newest first. Needs the grant
`node:admin=viewer`.

With `after` a page goes upwards, so that a chain can be followed from its beginning.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.operators import viewer_of
from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    following,
    instant_ms,
    known_parameters,
    page_response,
    whole_number,
)
from gateway.ports.audit import AuditLog, AuditSearch

PATH = "/v1/audit"
LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
TEXT_MAX = 256
TEXTS = ("act", "actor", "subject", "q")
PARAMETERS = (*TEXTS, "since", "until", "before", "after", "limit")


class AuditRoutes:
    """The handler."""

    def __init__(self, context: HttpContext, audit: AuditLog) -> None:
        self._context = context
        self._audit = audit

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route(PATH, self.audit, methods=["GET"])]

    async def audit(self, request: Request) -> Response:
        """A page of records."""
        viewer_of(self._context, request)
        wanted = _wanted(request)
        records = await self._audit.find(wanted)
        next_url = None
        if len(records) == wanted.limit:
            next_url = following(request, "before" if wanted.after is None else "after", records[-1].number)
        return page_response({"records": [record.named for record in records]}, next_url)


def _wanted(request: Request) -> AuditSearch:
    known_parameters(request, PARAMETERS)
    texts = [request.query_params.get(name) for name in TEXTS]
    for name, text in zip(TEXTS, texts, strict=True):
        if text is not None and not 1 <= len(text) <= TEXT_MAX:
            raise Problem(400, f"{name} must be 1 to {TEXT_MAX} characters.")
    before, after = whole_number(request, "before", least=1), whole_number(request, "after", least=0)
    if before is not None and after is not None:
        raise Problem(400, "Send either before or after.")
    limit = whole_number(request, "limit", least=1, most=LIMIT_MAX) or LIMIT_DEFAULT
    since_ms, until_ms = instant_ms(request, "since"), instant_ms(request, "until")
    act, actor, subject, text = texts
    return AuditSearch(limit, before, after, act, actor, subject, text, since_ms, until_ms)
