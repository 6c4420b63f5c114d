"""Cross-origin requests of the pages that may open a WebSocket here (the Fetch standard, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

METHODS = ("GET", "PUT", "POST", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "If-Match", "If-None-Match")
ANSWER_HEADERS = ("ETag", "Link", "Retry-After")
PREFLIGHT_MAX_AGE_S = 600


class Cors(CORSMiddleware):
    """An application whose answers such pages may read; `allows_origin` goes by the same list as a
    handshake's."""

    def __init__(self, app: ASGIApp, allows_origin: Callable[[str], bool]) -> None:
        super().__init__(
            app,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=PREFLIGHT_MAX_AGE_S,
        )
        self._allows_origin = allows_origin

    def is_allowed_origin(self, origin: str) -> bool:
        """By the same list as a handshake's."""
        return self._allows_origin(origin)

    def early(self, method: str, asked: Headers, answer: Response) -> Response:
        """An answer that is given in the application's place, made readable; to a preflight, that the page
        may ask: it couldn't read the answer to that."""
        origin = asked.get("origin")
        if origin is None:
            return answer
        if method == "OPTIONS" and "access-control-request-method" in asked:
            return self.preflight_response(asked)
        answer.headers.update(self.simple_headers)
        if self.is_allowed_origin(origin):
            self.allow_explicit_origin(answer.headers, origin)
        return answer
