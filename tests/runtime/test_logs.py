"""Lines for people and for programs: what is in them, and what never is."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import structlog
import trio

from gateway.runtime import logs
from tests.waiting import PATIENCE_S, unawaited

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where it is logged; the root logger is as before afterwards."""
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()


def test_a_line_for_people_says_when_how_bad_where_and_what(stream):
    logs.configure("INFO", "console", "n1.0", stream)
    logging.getLogger("gateway.node").warning("worker %d ended", 3)
    stamp, rest = stream.getvalue().split(" ", 1)
    assert stamp.endswith("+00:00")
    assert rest == "WARNING n1.0 gateway.node: worker 3 ended\n"


def test_a_line_for_programs_is_an_object(stream):
    logs.configure("INFO", "json", "n1.0", stream)
    logging.getLogger("gateway.node").info("ready", extra={"port": 8787})
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp")
    assert line == {"event": "ready", "level": "info", "logger": "gateway.node", "node": "n1.0", "port": 8787}


def test_what_is_told_once_a_node_is_told_again_a_day_later(stream, tmp_path):
    logs.configure("INFO", "console", "n1.0", stream, str(tmp_path))

    def warn_thrice() -> int:
        for _ in range(3):
            logging.getLogger("gateway.node").warning("it keeps nothing", extra=logs.ONCE_A_NODE)
        return stream.getvalue().count("it keeps nothing")

    assert warn_thrice() == 1
    [mark] = tmp_path.iterdir()
    told_s = mark.stat().st_mtime
    for ago_s, times in ((80_000, 1), (90_000, 2)):
        os.utime(mark, (told_s - ago_s, told_s - ago_s))
        assert warn_thrice() == times


def test_an_exception_is_one_line_for_programs_and_readable_for_people(stream):
    for form in logs.FORMS:
        stream.seek(0)
        stream.truncate()
        logs.configure("INFO", form, "", stream)
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("gateway").exception("bug")
        text = stream.getvalue()
        assert "Traceback" in text and "ValueError: no" in text
        assert (text.count("\n") == 1) is (form == "json")


def test_what_is_bound_is_in_every_line_until_it_isnt(stream):
    logs.configure("INFO", "json", "", stream)
    logs.bind(request="r1")
    logging.getLogger("gateway").info("one")
    structlog.contextvars.clear_contextvars()
    logging.getLogger("gateway").info("two")
    one, two = map(json.loads, stream.getvalue().splitlines())
    assert one["request"] == "r1" and "request" not in two


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_the_address_of_who_is_asked_over_http_is_not_logged(stream, level):
    async def answer(asked: trio.SocketStream) -> None:
        await asked.receive_some()
        await asked.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    logs.configure(level, "console", "", stream)
    async with unawaited() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/may?code=hunter2"
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.post(url)).status_code == 200
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("form", logs.FORMS)
def test_no_token_is_ever_logged(stream, form):
    logs.configure("INFO", form, "", stream)
    logger = logging.getLogger("gateway")
    logger.info("Authorization: Bearer %s", "secret-opaque-token")
    logger.info("GET /realtime?token=%s&x=1", "another-secret")
    logger.info("it says %s", TOKEN, extra={"header": f"Bearer {TOKEN}"})
    try:
        raise ValueError(f"bad token {TOKEN}")
    except ValueError:
        logger.exception("bug")
    text = stream.getvalue()
    for secret in ("secret-opaque-token", "another-secret", TOKEN, TOKEN.split(".")[1]):
        assert secret not in text
    assert text.count(logs.HIDDEN) >= 5


def test_what_is_below_the_level_is_not_logged(stream):
    logs.configure("WARNING", "console", "", stream)
    logging.getLogger("gateway").info("chatter")
    assert not stream.getvalue()


def test_a_text_from_outside_makes_no_line_of_its_own_and_no_colour(stream):
    logs.configure("INFO", "console", "", stream)
    hostile = "x\n2030-01-01 ERROR forged\x1b[2J\x9b\u2028\u202e"
    try:
        raise ValueError(hostile.replace("\n", " "))
    except ValueError:
        logging.getLogger("gateway").exception("of %s", hostile, extra={"request": hostile})
    line, *traceback = stream.getvalue().splitlines()
    shown = r"x\n2030-01-01 ERROR forged\x1b[2J\x9b\u2028\u202e"
    assert line.endswith(f"ERROR gateway: of {shown} request={shown}")
    assert traceback[0].startswith("Traceback")
    assert traceback[-1] == rf"ValueError: {shown}".replace(r"\n", " ")
