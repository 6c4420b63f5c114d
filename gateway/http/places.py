"""The places of the service port's connections, and the answer to who gets none."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.errors import Refusal
from gateway.http.cors import Cors
from gateway.http.headers import secure
from gateway.http.problems import of_refusal, response
from gateway.http.server import HttpServer
from gateway.ports import HttpService, Rejection, UpgradeRequest


class Places:
    """The port `HttpPlaces` over a server. Who is refused is answered as by its application."""

    def __init__(self, server: HttpServer, allows_origin: Callable[[str], bool]) -> None:
        self._server = server
        self._cors = Cors(Response(), allows_origin)  # nothing is behind it

    def take(self) -> HttpService | None:
        """See the port."""
        return self._server.take()

    def refuse(self, request: UpgradeRequest, refusal: Refusal) -> Rejection:
        """See the port."""
        problem = response(of_refusal(refusal))
        answer = self._cors.early(request.method, Headers(request.headers), problem)
        secure(answer.headers)
        headers = {name.title(): value for name, value in answer.headers.items() if name != "content-length"}
        return Rejection(answer.status_code, bytes(answer.body).decode(), headers)
