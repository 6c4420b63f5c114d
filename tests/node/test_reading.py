"""A whole node reads what waits for an append when that begins."""

from __future__ import annotations

import math
import time

import trio

from gateway.log.sqlite import PACING
from gateway.transport.fast_loop import READS_WAIT_MAX_S
from tests.http.node import served

EVENTS = 30


async def test_where_many_are_edited_reading_waits_for_the_next_append(tmp_path):
    unlimited = {"user_cpu_share": 1.0}
    async with served(tmp_path, "fast", limits=unlimited) as node, trio.open_nursery() as nursery:
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
        with trio.fail_after(60):
            async with trio.open_nursery() as editors:
                for number in range(EVENTS):
                    editors.start_soon(edit, number)
        nursery.cancel_scope.cancel()
        assert 0 < max(waits) <= PACING.interval_s
        assert min(waits) == 0


async def test_what_is_no_edit_waits_with_them_and_for_so_long_at_most(tmp_path):
    async with served(tmp_path, "fast") as node, node.linked() as link:
        node.node.endpoint.edits_wait_s = lambda: math.inf
        took_s = []
        for _ in range(20):
            began_s = time.perf_counter()
            await link.send("PING", {})
            with trio.fail_after(10):
                while (await link.receive())["type"] != "PONG":
                    pass
            took_s.append(time.perf_counter() - began_s)
        assert max(took_s) >= READS_WAIT_MAX_S
