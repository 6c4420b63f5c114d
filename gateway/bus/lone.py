"""The bus of a node without others, for a log that it has to itself."""

from __future__ import annotations

import trio

from gateway.ports import BusListener


class LoneBus:
    """The port `Bus` of a node that knows no others: nobody hears it, and it hears nobody."""

    def attach(self, listener: BusListener) -> None:
        """Nothing will be heard."""

    async def subscribe(self, resource: str) -> None:
        """A checkpoint, as on every bus."""
        await trio.lowlevel.checkpoint()

    async def unsubscribe(self, resource: str) -> None:
        """A checkpoint, as on every bus."""
        await trio.lowlevel.checkpoint()

    def publish(self, resource: str, payload: bytes) -> None:
        """To nobody."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See the port."""
        task_status.started()
        await trio.sleep_forever()
