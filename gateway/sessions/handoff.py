"""What a session takes along when its connection moves to another worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.ports import Connection, Identity


class SessionState(NamedTuple):
    """A session before its first subscription. `opened_ms`: when it began, in Unix ms."""

    id: str
    opened_ms: int
    extended: bool
    identity: Identity
    client_id: str | None
    expiry_told: bool


HandOver = Callable[[Connection, str, Callable[[], SessionState], bytes], Awaitable[bool]]
"""`gateway.ports.Transport.hand_over`."""


async def stays(
    connection: Connection, resource: str, pack: Callable[[], SessionState], message: bytes
) -> bool:
    """The `HandOver` of a worker that has no others beside it."""
    return False
