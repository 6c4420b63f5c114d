"""What requests over HTTP cost their users: reads, bytes and CPU as on a socket; and turns for much work."""

from __future__ import annotations

import math

import trio

from gateway.errors import Refusal
from gateway.sessions.charges import charge_read, spend_bytes
from gateway.sessions.context import SessionContext
from gateway.sessions.cpu_queue import TURN_S

# A body of so many bytes is much work: so much for each, at the most, until it is staged.
LARGE_BYTES = 64 * 1024
BODY_BYTE_S = 2e-8
# Who waits longer for a turn is to come again.
TURN_WAIT_MAX_S = 10.0


class RequestCharges:
    """The part of the port `gateway.http.port.Resources` that charges; `sessions` is shared with sockets."""

    def __init__(self, sessions: SessionContext) -> None:
        self._sessions = sessions

    def charge_read(self, user_id: str, reads: int = 1) -> None:
        """Count reads as a session's."""
        charge_read(self._sessions, user_id, reads)

    def spend_bytes(self, user_id: str, size: int) -> None:
        """An answer of so many bytes goes to this user."""
        spend_bytes(self._sessions, user_id, size)

    async def admit(self, user_id: str) -> None:
        """Refuse who used up his share, have who is over it wait for a turn; raises Refusal RATE_LIMITED."""
        now_s = self._sessions.hub.now_s()
        wait_s = self._sessions.cpu.wait_s(user_id, now_s)
        if wait_s > 0:
            wait_ms = math.ceil(wait_s * 1000)
            text = f"Your requests took too much of this node's time; wait {wait_ms} ms."
            raise Refusal("RATE_LIMITED", text, retry_after_ms=wait_ms)
        if self._sessions.cpu.over(user_id, now_s):
            await self._turn(TURN_S)
            self._sessions.cpu.linger(user_id, self._sessions.hub.now_s())

    async def turn_of(self, size: int) -> None:
        """Wait for a turn where a body of so many bytes is much work, whoever sent it."""
        if size > LARGE_BYTES and self._sessions.config.limits.user_cpu_share < 1:
            await self._turn(size * BODY_BYTE_S)

    async def _turn(self, work_s: float) -> None:
        """Wait for a turn of so much work; raises Refusal UNAVAILABLE where too many are before."""
        try:
            with trio.fail_after(TURN_WAIT_MAX_S):
                await self._sessions.cpu_queue.enter(work_s)
        except trio.TooSlowError:
            text = "Much work of others is before this request; send it again later."
            retry_after_ms = round(TURN_WAIT_MAX_S * 1000)
            raise Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=retry_after_ms) from None

    def spend_cpu(self, user_id: str, seconds: float) -> None:
        """A request of this user took so much."""
        now_s = self._sessions.hub.now_s()
        if seconds > TURN_S and self._sessions.cpu.over(user_id, now_s):
            self._sessions.cpu_queue.spent(seconds - TURN_S)
        self._sessions.cpu.spend(user_id, seconds, now_s)
