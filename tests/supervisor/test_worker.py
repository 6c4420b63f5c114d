"""The requests of operators that a worker answers for its supervisor."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http import problems
from gateway.supervisor.channel import Frame
from gateway.supervisor.worker import respond


async def test_a_bug_is_answered_and_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("the secret detail")

    application = Starlette(routes=[Route("/", broken)], exception_handlers=problems.HANDLERS)
    frame = Frame({"repeated": False, "method": "GET", "path": "/", "query": "", "headers": []})
    header, body = await respond(application, frame)
    assert (header["status"], b"A bug" in body, b"secret" in body) == (500, True, False)
    assert "the secret detail" in caplog.text
