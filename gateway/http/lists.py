"""Summaries of a type's resources over HTTP, by calendar and time: only those that the caller's token grants.

/v1/resources/{type}[?calendar_id=&from=&to=&after=&limit=]   GET
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    following,
    instant_ms,
    known_parameters,
    page_response,
    place_after,
    readable,
    type_of,
    user_of,
    whole_number,
)
from gateway.ports import Identity
from gateway.ports.summaries import Cursor, Listing, Summary
from gateway.wire import messages

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
# Where more than the token decides: read at once, and looked through at most; of so many at once it is asked.
PAGE = 1000
SCANNED_MAX = 20_000
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
        kind = type_of(self._context, request)
        wanted = Listing(
            kind,
            whole_number(request, "limit", least=1, most=LIMIT_MAX) or LIMIT_DEFAULT,
            _calendar(request),
            instant_ms(request, "from"),
            instant_ms(request, "to"),
            place_after(request, Cursor.read),
        )
        resources = self._context.resources
        resources.charge_read(identity.user_id)
        items = await self._page(identity, wanted)
        next_url = None
        if len(items) == wanted.limit:
            next_url = following(request, "after", Cursor(items[-1].start_ms, items[-1].id).text())
        response = page_response({"items": [_item(summary) for summary in items]}, next_url)
        resources.spend_bytes(identity.user_id, len(response.body))
        return response

    async def _page(self, identity: Identity, wanted: Listing) -> Sequence[Summary]:
        resources, beginning = self._context.resources, f"{wanted.type}:"
        scope = await resources.scope(identity, (wanted.type,))
        if scope is None:
            return await self._decided_of(identity, wanted._replace(scope=identity.scope.within(beginning)))
        return await resources.listed(wanted._replace(scope=scope.within(beginning)))

    async def _decided_of(self, identity: Identity, wanted: Listing) -> Sequence[Summary]:
        """A page of what the caller may see of what his token grants; raises Refusal UNAVAILABLE.

        Where it isn't full there is no next one, whatever else is there: that would tell of the rest.
        """
        shown: list[Summary] = []
        after = wanted.after
        for _ in range(SCANNED_MAX // PAGE):
            page = await self._context.resources.listed(wanted._replace(after=after, limit=PAGE))
            for begin in range(0, len(page), DECIDED):
                shown += await readable(self._context, identity, page[begin : begin + DECIDED])
                if len(shown) >= wanted.limit:
                    return shown[: wanted.limit]
            if len(page) < PAGE:
                break
            after = Cursor(page[-1].start_ms, page[-1].id)
            self._context.resources.charge_read(identity.user_id)
        return shown


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
