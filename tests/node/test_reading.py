"""A whole node reads what waits for an append when that begins."""

from __future__ import annotations

import math
import time

import trio

from gateway.log.sqlite.log import PACING
from gateway.transport.fast.loop import BUSY_WINDOW_S
from tests.http.node import served
from tests.waiting import PATIENCE_S

EVENTS = 30


async def test_where_many_are_edited_reading_waits_for_the_next_append(tmp_path):
    async with served(tmp_path, "fast") as node, trio.open_nursery() as nursery:
        waits: list[float] = []

        async def edit(number: int) -> None:
            while not max(waits, default=0.0):
                event = {"title": str(time.perf_counter())}
                (await node.client.put(f"/v1/resources/event/{number}", json=event)).raise_for_status()

        async def look() -> None:
            while True:
                waits.append(node.node.endpoint.edits_wait_s())
                await trio.sleep(0.001)

        assert node.node.endpoint.edits_wait_s() == 0
        nursery.start_soon(look)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as editors:
                for number in range(EVENTS):
                    editors.start_soon(edit, number)
        nursery.cancel_scope.cancel()
        assert 0 < max(waits) <= PACING.interval_s
        assert min(waits) == 0


async def test_what_is_no_edit_waits_with_them_and_for_so_long_at_most(tmp_path):
    async with served(tmp_path, "fast") as node, node.linked() as link:
        asked: list[bool] = []

        def for_ever() -> float:
            asked.append(True)
            return math.inf

        node.node.endpoint.edits_wait_s = for_ever
        with trio.fail_after(PATIENCE_S):
            while not asked:  # a loop that has no time doesn't ask for how long it may wait
                await trio.sleep(BUSY_WINDOW_S)
                await link.send("PING", {})
                while (await link.receive())["type"] != "PONG":
                    pass
