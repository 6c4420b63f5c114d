"""What the core tells of an edit's way, where somebody traces it; elsewhere there is no tracer to tell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gateway.ports.log import Batch, Outcome


class Tracer(Protocol):
    """Follows some of the batches from their first edit's arrival to the sockets, on every node."""

    def new_nonce(self, arrived_ms: int) -> str:
        """A batch is staged whose first edit arrived then: its nonce, which tells other nodes the trace."""
        ...

    def appending(self, batches: Sequence[Batch]) -> None:
        """They go to the log."""
        ...

    def answered(self, batches: Sequence[Batch], outcomes: Sequence[Outcome]) -> None:
        """The log has answered."""
        ...

    def settled(self, batch: Batch) -> None:
        """The room has carried the answer out: acknowledged and sent to the sockets, or refused."""
        ...

    def delivering(self, resource: str, nonce: str) -> AbstractContextManager[object]:
        """Meanwhile a batch of another worker is applied and sent to this one's sockets."""
        ...
