"""What the service port answers over HTTP, beside the WebSockets that share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.http import problems
from gateway.http.authorship import AuthorshipRoutes
from gateway.http.bodies import Bodies
from gateway.http.charging import Charged
from gateway.http.cors import Cors
from gateway.http.early import Early
from gateway.http.headers import RequestId, SecurityHeaders
from gateway.http.lists import ListRoutes
from gateway.http.names import NameRoutes
from gateway.http.ofrep import Evaluate, FlagRoutes
from gateway.http.openapi import description
from gateway.http.requests import HttpContext
from gateway.http.resources import ResourceRoutes
from gateway.http.search import SearchRoutes
from gateway.http.unchanging import Unchanging


def application(
    context: HttpContext,
    allows_origin: Callable[[str], bool],
    evaluate: Evaluate,
    visited: Callable[[ASGIApp], ASGIApp],
    bodies_bytes_max: Callable[[], int],
    pages: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """The ASGI application. `allows_origin`: which web pages may read answers; `visited` counts what comes
    from an address, `bodies_bytes_max` bounds what all requests hold; `pages` are served beside."""
    bounded = Bodies(routed([*routes(context, evaluate), *pages]), bodies_bytes_max)
    charged = Charged(Cors(bounded, allows_origin), context, Early(allows_origin))
    return RequestId(SecurityHeaders(visited(charged)))


def routed(routes: Sequence[BaseRoute], handlers: problems.Handlers = problems.HANDLERS) -> Starlette:
    """What answers at these paths and at no others: one slash more isn't sent elsewhere."""
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def routes(context: HttpContext, evaluate: Evaluate) -> list[Route]:
    """What the description describes."""
    openapi = Unchanging(description(context.resources.types(), context.document_bytes_max))
    return [
        Route("/openapi.json", openapi.answer, methods=["GET"]),
        *resource_routes(context),
        *FlagRoutes(context, evaluate).routes(),
    ]


def resource_routes(context: HttpContext, purges: bool = False) -> list[Route]:
    """What is the same at every port; `purges`: a resource can be erased for good."""
    return [
        *ListRoutes(context).routes(),
        *ResourceRoutes(context, purges).routes(),
        *AuthorshipRoutes(context).routes(),
        *NameRoutes(context).routes(),
        *SearchRoutes(context).routes(),
    ]
