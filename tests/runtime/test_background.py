"""Tasks that nobody waits for."""

from __future__ import annotations

import trio
import trio.testing

from gateway.runtime.background import Background


async def test_what_is_begun_ends_with_the_background_and_nothing_begins_after(autojump_clock):
    background, begun, ended = Background(), [], []

    async def work(name):
        begun.append(name)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    async with trio.open_nursery() as nursery:
        await nursery.start(background.run)
        background.start(work, "before")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    background.start(work, "after")
    assert begun == ended == ["before"]
