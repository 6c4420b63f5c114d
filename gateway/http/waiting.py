"""Long polls: a request that waits for news, and ends with its client."""

from __future__ import annotations

import trio
from starlette.requests import Request


async def until_changed(
    changed: trio.Event, wait_s: float, request: Request, ending: trio.Event | None
) -> bool:
    """Wait for `changed`; False when the time is over, the client gone, or the node ending."""
    with trio.move_on_after(wait_s):
        async with trio.open_nursery() as nursery:

            async def over(wait: trio.Event) -> None:
                await wait.wait()
                nursery.cancel_scope.cancel()

            async def left() -> None:
                while (await request.receive())["type"] != "http.disconnect":
                    pass  # the empty body comes first
                nursery.cancel_scope.cancel()

            nursery.start_soon(over, changed)
            nursery.start_soon(left)
            if ending is not None:
                nursery.start_soon(over, ending)
    return changed.is_set()
