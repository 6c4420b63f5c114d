"""Summaries of a type's resources over HTTP, by calendar and time: only those that the caller's token grants.

/v1/resources/{type}[?calendar_id=&from=&to=&after=&limit=]   GET
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    instant_ms,
    json_response,
    known_parameters,
    type_of,
    user_of,
    whole_number,
)
from gateway.ports import Identity
from gateway.ports.summaries import Cursor, Listing, Summary
from gateway.wire import messages

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
# Read at once, and looked through at most, where a token grants few of them.
PAGE = 1000
SCANNED_MAX = 20_000
# Of so many at once is asked whether the caller may see them, where more than the token decides.
DECIDED = 100


class ListRoutes:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("/v1/resources/{type}", self.listed, methods=["GET"])]

    async def listed(self, request: Request) -> Response:
        """A page of summaries, by start."""
        identity = await user_of(self._context, request)
        known_parameters(request, ("calendar_id", "from", "to", "after", "limit"))
        wanted = Listing(
            type_of(self._context, request),
            whole_number(request, "limit", least=1, most=LIMIT_MAX) or LIMIT_DEFAULT,
            _calendar(request),
            instant_ms(request, "from"),
            instant_ms(request, "to"),
            _cursor(request),
        )
        items, after = await self._visible(identity, wanted)
        parameters = [(name, value) for name, value in request.query_params.items() if name != "after"]
        query = urlencode([*parameters, ("after", after.text())]) if after else ""
        following = f"{request.url.path}?{query}" if after else None
        fields = {"items": [_item(summary) for summary in items], "next": following}
        return json_response(fields, headers={"Link": f'<{following}>; rel="next"'} if following else {})

    async def _visible(self, identity: Identity, wanted: Listing) -> tuple[list[Summary], Cursor | None]:
        """A page of what the caller may see, and where the next one goes on; None at the end."""
        resources = self._context.resources
        items: list[Summary] = []
        after, scanned = wanted.after, 0
        while scanned < SCANNED_MAX:
            page = await resources.listed(wanted._replace(after=after, limit=PAGE))
            for number, summary in enumerate(page):
                if number % DECIDED == 0:
                    idents = [item.id for item in page[number : number + DECIDED]]
                    await resources.decide(identity, wanted.type, idents)
                scanned += 1
                after = Cursor(summary.start_ms, summary.id)
                if resources.role(identity, summary.type, summary.id) is not None:
                    items.append(summary)
                    if len(items) == wanted.limit:
                        return items, after
            if len(page) < PAGE:
                return items, None
        return items, after


def _item(summary: Summary) -> dict[str, Any]:
    return {
        "resource": summary.type,
        "resource_id": summary.id,
        "version": summary.version,
        "title": summary.title,
        "start_time": summary.start_time,
        "end_time": summary.end_time,
        "calendar_id": summary.calendar_id,
    }


def _calendar(request: Request) -> str | None:
    ident = request.query_params.get("calendar_id")
    if ident is not None and not messages.is_resource_id(ident):
        raise Problem(400, "calendar_id must be the id of a calendar: 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -")
    return ident


def _cursor(request: Request) -> Cursor | None:
    text = request.query_params.get("after")
    if text is None:
        return None
    found = Cursor.read(text)
    if found is None:
        raise Problem(400, "after must be what `next` of the page before has.")
    return found
