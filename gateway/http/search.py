"""Search over HTTP: documents and changes that match, newest first, of what the caller's token may see.

/v1/search?q=&kind=&type=&user_id=&since=&until=&after=&limit=&count=   GET
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.port import FoundPage
from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    flag,
    following,
    instant_ms,
    known_parameters,
    page_response,
    place_after,
    readable,
    user_id,
    user_of,
    whole_number,
)
from gateway.ports import Identity
from gateway.ports.search import KINDS, FoundEntry, Kind, SearchPlace, Wanted
from gateway.search.terms import TooManyTerms, terms_of

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
# Pages of LIMIT_MAX that are looked through for one, where more than the token decides what is shown.
PAGES_MAX = 10
COUNT_MAX = 10_000
QUERY_LENGTH_MAX = 1000
# Reads that a search counts as; and counting, on top.
SEARCH_READS = 10
PARAMETERS = ("q", "kind", "type", "user_id", "since", "until", "after", "limit", "count")


class SearchRoutes:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("/v1/search", self.search, methods=["GET"])]

    async def search(self, request: Request) -> Response:
        """A page of what matches."""
        identity = await user_of(self._context, request)
        wanted, counts = self._wanted(request, identity), flag(request, "count")
        resources = self._context.resources
        resources.charge_read(identity.user_id, SEARCH_READS * (2 if counts else 1))
        scope = await resources.scope(identity, wanted.types or ())
        if scope is None:
            found = FoundPage(await self._decided_of(identity, wanted), None)
        else:
            found = await resources.search(wanted._replace(scope=scope), COUNT_MAX if counts else None)
        next_url = None
        if len(found.entries) == wanted.limit:
            next_url = following(request, "after", found.entries[-1].place.written())
        fields: dict[str, Any] = {"items": [_item(entry) for entry in found.entries]}
        if found.total is not None:
            fields["count"] = found.total
        response = page_response(fields, next_url)
        resources.spend_bytes(identity.user_id, len(response.body))
        return response

    async def _decided_of(self, identity: Identity, wanted: Wanted) -> Sequence[FoundEntry]:
        """A page of what the caller may see of what his token grants; raises Refusal UNAVAILABLE.

        Where it isn't full there is no next one, whatever else was found: that would tell of the rest.
        """
        shown: list[FoundEntry] = []
        after = wanted.after
        for _ in range(PAGES_MAX):
            page = wanted._replace(after=after, limit=LIMIT_MAX)
            entries = (await self._context.resources.search(page, None)).entries
            shown += await readable(self._context, identity, entries)
            if len(shown) >= wanted.limit or len(entries) < LIMIT_MAX:
                break
            after = entries[-1].place
        return shown[: wanted.limit]

    def _wanted(self, request: Request, identity: Identity) -> Wanted:
        known_parameters(request, PARAMETERS)
        return Wanted(
            identity.scope,
            _terms(request),
            whole_number(request, "limit", least=1, most=LIMIT_MAX) or LIMIT_DEFAULT,
            _kind(request),
            self._types(request),
            user_id(request),
            instant_ms(request, "since"),
            instant_ms(request, "until"),
            place_after(request, SearchPlace.read),
        )

    def _types(self, request: Request) -> list[str]:
        served = list(self._context.resources.types())
        wanted = request.query_params.get("type")
        if wanted is not None and wanted not in served:
            raise Problem(400, f"type must be one of {', '.join(served)}.")
        return served if wanted is None else [wanted]


def _terms(request: Request) -> list[str]:
    query = request.query_params.get("q", "")
    try:
        if len(query) > QUERY_LENGTH_MAX:
            raise TooManyTerms(f"at most {QUERY_LENGTH_MAX} characters")
        return terms_of(query)
    except TooManyTerms as error:
        raise Problem(400, f"q is too long: {error}.") from None


def _kind(request: Request) -> Kind | None:
    wanted = request.query_params.get("kind")
    if wanted is None:
        return None
    for kind in KINDS:
        if kind == wanted:
            return kind
    raise Problem(400, f"kind must be one of {', '.join(KINDS)}.")


def _item(entry: FoundEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "resource": entry.type,
        "resource_id": entry.id,
        "version": entry.version,
        "user_id": entry.user_id,
        "timestamp": entry.timestamp,
        "fragments": [fragment._asdict() for fragment in entry.fragments],
    }
