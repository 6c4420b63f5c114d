"""Bodies: read and parsed while others run."""

from __future__ import annotations

import orjson
import trio
from starlette.requests import Request

from gateway.http.requests import json_body
from gateway.runtime import timeslice
from gateway.wire.integers import PIECE_BYTES

DIGITS = "1" * 30
PIECES = 20


async def test_others_run_while_long_digits_in_many_strings_are_looked_through(monkeypatch):
    monkeypatch.setattr(timeslice, "SLICE_S", 0.0)
    strings, rounds = [DIGITS] * (PIECES * PIECE_BYTES // len(DIGITS)), 0

    async def others():
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async def receive():
        return {"type": "http.request", "body": orjson.dumps(strings), "more_body": False}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        body = await json_body(Request({"type": "http", "headers": []}, receive), 1 << 20, "a list")
        nursery.cancel_scope.cancel()
    assert body == strings
    assert rounds >= PIECES - 1, "between any two pieces"
