"""The places of the service port's connections, and the answer to who gets none."""

from __future__ import annotations

from starlette.datastructures import Headers

from gateway.errors import Refusal
from gateway.http.early import Early
from gateway.http.problems import of_refusal
from gateway.http.server import HttpServer
from gateway.ports import HttpService, Rejection, UpgradeRequest


class Places:
    """The port `HttpPlaces` over a server. Who is refused is answered as by its application."""

    def __init__(self, server: HttpServer, early: Early) -> None:
        self._server = server
        self._early = early

    def take(self) -> HttpService | None:
        """See the port."""
        return self._server.take()

    def refuse(self, request: UpgradeRequest, refusal: Refusal) -> Rejection:
        """See the port."""
        answer = self._early.answer(request.method, Headers(request.headers), of_refusal(refusal))
        headers = {name.title(): value for name, value in answer.headers.items() if name != "content-length"}
        return Rejection(answer.status_code, bytes(answer.body).decode(), headers)
