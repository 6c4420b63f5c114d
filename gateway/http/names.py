"""Named versions over HTTP.

/v1/resources/{type}/{id}/versions          GET
/v1/resources/{type}/{id}/versions/{name}   PUT, DELETE
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.port import Resources, Revision
from gateway.http.preconditions import unconditional
from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    Target,
    json_body,
    json_response,
    known_parameters,
    refusals_noted,
    still_granted,
    target_of,
)
from gateway.hub.names import NamedVersion
from gateway.wire.version_names import LENGTH_MAX, RULE, is_version_name

BODY_BYTES_MAX = 1024
READS = 2


class NameRoutes:
    """The handlers. Each checks the token and the role before it says anything about a resource."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._resources = context.resources

    def routes(self) -> list[Route]:
        """What is served."""
        versions = "/v1/resources/{type}/{id}/versions"
        return [
            Route(versions, self.listed, methods=["GET"]),
            Route(f"{versions}/{{name}}", self.named, methods=["PUT", "DELETE"]),
        ]

    async def listed(self, request: Request) -> Response:
        """The names that versions have."""
        target = await target_of(self._context, request, "viewer")
        known_parameters(request, ())
        self._resources.charge_read(target.identity.user_id)
        found = await self._resources.named_versions(target.resource)
        return json_response({**target.named, "versions": [item.told for item in found]})

    async def named(self, request: Request) -> Response:
        """Give a name, or take it away."""
        target = await target_of(self._context, request, "editor")
        known_parameters(request, ())
        unconditional(request)
        name = request.path_params["name"]
        if not is_version_name(name):
            raise Problem(400, RULE)
        self._resources.charge_read(target.identity.user_id, READS)
        if request.method == "PUT":
            return await self._given(request, target, name)
        with refusals_noted(self._context, request, target):
            was_there = await self._resources.unname(target.identity, target.resource, name)
        if not was_there:
            raise Problem(404, f"No version of {target.name} has this name.")
        return json_response({**target.named, "name": name, "dropped": True})

    async def _given(self, request: Request, target: Target, name: str) -> Response:
        wanted = await json_body(request, BODY_BYTES_MAX, "an object with a version")
        target = await still_granted(self._context, request, target, "editor")
        version = wanted.get("version") if isinstance(wanted, dict) and set(wanted) <= {"version"} else None
        if type(version) is not int or version < 1:
            raise Problem(400, 'The body is an object such as {"version": 17}.')
        with refusals_noted(self._context, request, target):
            found = await self._resources.name_version(target.identity, target.resource, name, version)
        return json_response({**target.named, **found.told})


async def revision_named(resources: Resources, target: Target, name: str) -> Revision:
    """The resource at the version that has a name; raises Problem."""
    for item in await resources.named_versions(target.resource):
        if item.name == name:
            revision = await resources.read(target.resource, item.version)
            if await item.is_of(revision.document):
                return revision
            raise _not_what_was_named(target, item)
    raise Problem(404, f"No version of {target.name} has the name {name[:LENGTH_MAX]!r}.")


def _not_what_was_named(target: Target, item: NamedVersion) -> Problem:
    """The answer where changes were lost, and the number of what was named is another document's since."""
    what = f"Version {item.version} of {target.name} isn't what was named {item.name!r}"
    way = "Give the name to the version that is, or take it away."
    return Problem(404, f"{what}: changes were lost, and others have their numbers. {way}")
