"""Long polls: a request that waits for news, and ends with its client."""

from __future__ import annotations

from contextlib import suppress

import trio
from starlette.requests import Request

from gateway.http.problems import Problem

WAIT_MAX_S = 30


async def until_changed(
    changed: trio.Event, wait_s: float, request: Request, ending: trio.Event | None
) -> bool:
    """Wait for `changed`; False when the time is over, the node ending, or the client gone, or when a body
    comes, which nobody reads."""
    with trio.move_on_after(wait_s):
        async with trio.open_nursery() as nursery:

            async def over(wait: trio.Event) -> None:
                await wait.wait()
                nursery.cancel_scope.cancel()

            async def left() -> None:
                with suppress(Problem):  # too much beside other bodies
                    while (await request.receive()).get("body") == b"":
                        pass  # the empty body comes first
                nursery.cancel_scope.cancel()

            nursery.start_soon(over, changed)
            nursery.start_soon(left)
            if ending is not None:
                nursery.start_soon(over, ending)
    return changed.is_set()
