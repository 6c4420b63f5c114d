"""What the admin HTTP asks of the node: its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.runtime.metrics import Counters


class State(Protocol):
    """The node, as its health checks and its metrics see it."""

    name: str

    @property
    def draining(self) -> bool: ...

    @property
    def problems(self) -> Sequence[str]:
        """What an operator should mend though the node serves, for people."""
        ...

    @property
    def can_verify(self) -> bool:
        """Whether there is any key to verify tokens with."""
        ...

    @property
    def full(self) -> bool:
        """Whether it takes no more connections."""
        ...

    def counters(self) -> Counters:
        """The counters with every gauge up to date."""
        ...

    async def check(self) -> None:
        """Raise LogUnavailable unless the log answers; called by /readyz."""
        ...
