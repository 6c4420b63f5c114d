"""What edits and reads cost a user, whichever way they come; reads by their number and their bytes."""

from __future__ import annotations

import math

from gateway.errors import Refusal
from gateway.ports import ASK
from gateway.sessions.context import SessionContext

# So many bytes of an answer count as one more read.
READ_BYTES = 64 << 10
# An edit waits for so many answers of other workers; whoever asks for another edit of the user may be first.
ANSWERS_MAX = 4
# Then its user waits so long, a few round trips.
UNANSWERED_MS = 50


async def wait_of_edit(shared: SessionContext, user_id: str, cost: float) -> int:
    """Count an edit against the user's rate; 0, or the milliseconds to wait before it would be allowed.

    Where this worker may not give it unasked, others are asked first.
    """
    for _ in range(ANSWERS_MAX):
        wait_ms = shared.rate_limit.take(user_id, shared.now_s(), cost)
        if wait_ms != ASK:
            return wait_ms
        await shared.rates_told(user_id)
    return UNANSWERED_MS


def charge_read(shared: SessionContext, user_id: str, reads: int = 1) -> None:
    """Count reads of a user; raises Refusal RATE_LIMITED."""
    now_s = shared.now_s()
    wait_s = shared.reads.wait_s(user_id, now_s)
    if wait_s > 0:
        wait_ms = math.ceil(wait_s * 1000)
        most = shared.limits.reads_per_minute
        text = f"At most {most} reads a minute, of which long ones are several; wait {wait_ms} ms."
        raise Refusal("RATE_LIMITED", text, retry_after_ms=wait_ms)
    shared.reads.spend(user_id, reads, now_s)


def spend_bytes(shared: SessionContext, user_id: str, size: int) -> None:
    """An answer of so many bytes went to a user."""
    shared.reads.spend(user_id, size / READ_BYTES, shared.now_s())
