"""The demo's page and files, read once, and `POST /demo/sign-in`: a short token for whoever asks.

For trying things out on one's own machine. A page of another origin gets nothing, whatever name it has given
this address (DNS rebinding): requests must name one of the demo's own hosts. Nor does who comes through a
proxy that can be told by what it sends: he may be anywhere, and name any host.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.preconditions import etag_of, is_known
from gateway.http.problems import Problem
from gateway.http.requests import json_body, json_response

STATIC = Path(__file__).parent / "static"
PAGE = "index.html"
WORKER = "worker.js"
# Nothing of the page comes from elsewhere, and nothing of it can be framed.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' {sockets}; worker-src 'self'; manifest-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
# It fetches the page, and keeps it for when there is no connection.
WORKER_POLICY = "default-src 'none'; connect-src 'self'"
TOKEN_TTL_S = 900.0
NAME_LENGTH_MAX = 64
BODY_BYTES_MAX = 4096
# What proxies add, beside X-Forwarded-...; nginx also asks by HTTP/1.0, where nothing else is configured.
FORWARDED = frozenset({"forwarded", "via", "x-real-ip"})
GRANTS = {"event:*": "admin", "calendar:*": "admin"}
# Build tools put a hash of the content into these names: they never change.
HASHED = re.compile(r"assets/.*[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+")
NOTICE = "Demo: anyone who reaches this port, through a proxy too, gets a token by giving a name."


class DemoContext(NamedTuple):
    """`sign(user_id, name, grants, ttl_s)` makes a token; ValueError for a name that no token may have.

    `origins`: those that the page has here, like `http://localhost:8787`.
    """

    sign: Callable[[str, str, dict[str, str], float], str]
    now_s: Callable[[], float]
    origins: Collection[str]


class StaticFile(NamedTuple):
    """One file of the page, as it is sent."""

    content: bytes
    media_type: str
    headers: Mapping[str, str]


class Demo:
    """See the module's docstring."""

    def __init__(self, context: DemoContext) -> None:
        self._context = context
        self._files = {path: _read(path) for path in _paths()}

    def routes(self) -> list[Route]:
        """The page's, behind everything else."""
        return [
            Route("/demo/sign-in", self.sign_in, methods=["POST"]),
            Route("/", self.page, methods=["GET"]),
            *(Route(f"/{path}", self.file, methods=["GET"]) for path in self._files),
        ]

    async def page(self, request: Request) -> Response:
        """The page itself."""
        if PAGE not in self._files:
            raise Problem(404, "The demo's page isn't built: `npm run build` in clients/calendar makes it.")
        return self._sent(request, PAGE)

    async def file(self, request: Request) -> Response:
        """A file of the page."""
        return self._sent(request, request.scope["path"].removeprefix("/"))

    def _sent(self, request: Request, path: str) -> Response:
        self._check_host(request)
        found = self._files.get(path)
        if found is None:  # a newline behind its name: the router overlooks that
            raise HTTPException(404)
        headers = dict(found.headers)
        if path == WORKER:
            headers["Content-Security-Policy"] = WORKER_POLICY
        if path == PAGE:
            # A policy knows no IPv6 address.
            named = [origin for origin in self._context.origins if "[" not in origin]
            sockets = " ".join(origin.replace("http", "ws", 1) for origin in named)
            headers["Content-Security-Policy"] = PAGE_POLICY.format(sockets=sockets)
        if is_known(request, headers):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    async def sign_in(self, request: Request) -> Response:
        """A token for a name; the same name is the same user, so that a token can be renewed."""
        self._check_host(request)
        asked = await json_body(request, BODY_BYTES_MAX, "an object with a name")
        name = asked.get("name") if isinstance(asked, dict) else None
        if not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH_MAX:
            raise Problem(400, f"name must be a string of 1 to {NAME_LENGTH_MAX} characters.")
        context, name = self._context, name.strip()
        try:
            made = context.sign(name, name, GRANTS, TOKEN_TTL_S)
        except ValueError as error:
            raise Problem(400, f"{error}.") from None
        fields = {"token": made, "user_id": name, "name": name, "notice": NOTICE}
        return json_response({**fields, "expires_at": int(context.now_s() + TOKEN_TTL_S) * 1000})

    def _check_host(self, request: Request) -> None:
        """Refuse what isn't asked of the demo's own address, by its own page or no page, without a proxy."""
        origins, headers = self._context.origins, request.headers
        hosts = {origin.partition("://")[2] for origin in origins}
        origin = headers.get("origin")
        is_own = headers.get("host", "").lower() in hosts and (origin is None or origin.lower() in origins)
        if not is_own or _is_forwarded(request):
            own = ", ".join(sorted(origins))
            raise Problem(403, f"The demo is for {own} only, without a proxy.", code="FORBIDDEN")


def _is_forwarded(request: Request) -> bool:
    """Whether a proxy sends it, of those that can be told."""
    by_header = any(name in FORWARDED or name.startswith("x-forwarded-") for name in request.headers)
    return by_header or request.scope["http_version"] == "1.0"


def _paths() -> list[str]:
    found = (path for path in STATIC.rglob("*") if path.is_file() and path.name != ".gitkeep")
    return sorted(path.relative_to(STATIC).as_posix() for path in found)


def _read(path: str) -> StaticFile:
    content = (STATIC / path).read_bytes()
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    cache = "public, max-age=31536000, immutable" if HASHED.fullmatch(path) else "no-cache"
    return StaticFile(content, kind, {**etag_of(content), "Cache-Control": cache})
