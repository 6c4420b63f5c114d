"""The console: a page for operators, without a build, and its files. It asks the admin port by itself."""

from __future__ import annotations

from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/console"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
)
# Path and media type of each file.
FILES = {
    "index.html": (PATH, "text/html"),
    "console.css": (f"{PATH}/console.css", "text/css"),
    "console.js": (f"{PATH}/console.js", "text/javascript"),
}


@cache
def _content(name: str) -> bytes:
    return (resources.files("gateway.admin") / "console" / name).read_bytes()


def _served(name: str) -> Route:
    path, media_type = FILES[name]

    async def serve(request: Request) -> Response:
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return Response(_content(name), media_type=media_type, headers=headers)

    return Route(path, serve, methods=["GET"])


def routes() -> list[Route]:
    """What is served."""
    return [_served(name) for name in FILES]
