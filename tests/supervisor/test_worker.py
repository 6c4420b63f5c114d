"""The requests of operators that a worker answers for its supervisor, and when it is ready."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import ConfigError
from gateway.http import problems
from gateway.node import Node
from gateway.supervisor.channel import Frame
from gateway.supervisor.worker import respond
from tests.admission.keys import config_for, public_jwk
from tests.doubles.backend import MemoryBackend
from tests.doubles.log import MemoryLog


async def test_a_bug_is_answered_and_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("the secret detail")

    application = Starlette(routes=[Route("/", broken)], exception_handlers=problems.HANDLERS)
    frame = Frame({"repeated": False, "method": "GET", "path": "/", "query": "", "headers": []})
    header, body = await respond(application, frame)
    assert (header["status"], b"A bug" in body, b"secret" in body) == (500, True, False)
    assert "the secret detail" in caplog.text


async def test_a_worker_whose_demo_cannot_be_served_is_never_ready(tmp_path: Path) -> None:
    config = config_for(tmp_path, [public_jwk("ES256", "a")], secret=False)
    config = config.with_(server={"demo": "on", "port": 0, "transport": "portable"})
    is_ready = False
    with pytest.RaisesGroup(
        pytest.RaisesExc(ConfigError, match=r"the demo signs tokens itself: set auth\.secret_file"),
        flatten_subgroups=True,
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(Node(config, backend=MemoryBackend(MemoryLog()), admin=False).run)
            is_ready = True
    assert not is_ready
