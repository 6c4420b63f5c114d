"""What a connection costs: CPU, charged to its user in lumps, and his turns where he is over his share."""

from __future__ import annotations

import trio

from gateway.sessions.context import SessionContext
from gateway.sessions.cpu_queue import TURN_S

# CPU is charged when so much has gathered: most messages take microseconds.
UNPAID_MAX_S = 0.0005
# What a message and each of its bytes take before and after it is handled: its frame, its answer's, the log.
MESSAGE_S = 0.00001
BYTE_S = 1e-8
# What it takes more where something has to be awaited.
AWAITED_S = 0.0001
# The kernel's unit of work, and what it is to ask the log something for a message, and to open a room.
UNIT_S = 1e-9
ASKED_UNITS = 300_000
OPENED_UNITS = 400_000
# Who waits for his share looks again after so long.
WAIT_MAX_S = 1.0


class Account:
    """One connection's; `user_id` is None until somebody has signed in, who pays for what was before, too.

    `has_left`: the session has ended, nobody waits for its turn any more.
    """

    __slots__ = ("_busy_s", "_shared", "_turn_until_s", "_unpaid_s", "has_left", "user_id")

    def __init__(self, shared: SessionContext) -> None:
        self._shared = shared
        self.user_id: str | None = None
        self.has_left = False
        self._busy_s = 0.0  # in all
        self._unpaid_s = 0.0  # of that, not charged yet
        self._turn_until_s = 0.0  # in the queue of heavy users: until so much in all

    def used(self, seconds: float) -> None:
        """So much CPU was used for it."""
        self._busy_s += seconds
        self._unpaid_s += seconds
        if self._unpaid_s >= UNPAID_MAX_S:
            self.pay()

    def came(self, size: int) -> None:
        """A message of so many bytes came."""
        self.used(MESSAGE_S + BYTE_S * size)

    def worked(self, units: int) -> None:
        """So much work was done for it elsewhere. It is paid at once: the connection may be gone by now."""
        self.used(UNIT_S * units)
        self.pay()

    def pay(self) -> None:
        """Charge the user for what isn't yet."""
        if self._unpaid_s > 0.0 and self.user_id is not None:
            self._shared.cpu.spend(self.user_id, self._unpaid_s, self._shared.now_s())
            self._unpaid_s = 0.0

    # ------------------------------------------------------------------------------------- turns

    def has_to_wait(self, now_s: float) -> bool:
        """Whether the next message needs a turn: its user is over his share, and the last turn used up."""
        if self.user_id is None or self._busy_s < self._turn_until_s:
            return False
        return self._shared.cpu.over(self.user_id, now_s)

    async def turn(self) -> None:
        """Wait until the user's share allows the next message, and it is his turn among others like him.

        What is left of the turn is for the messages that follow.
        """
        assert self.user_id is not None
        shared = self._shared
        shared.counters.messages_waited += 1
        self.end_turn()
        while not self.has_left:
            wait_s = shared.cpu.wait_s(self.user_id, shared.now_s())
            if wait_s <= 0:
                break
            await trio.sleep(min(wait_s, WAIT_MAX_S))
        await shared.cpu_queue.enter()
        shared.cpu.linger(self.user_id, shared.now_s())
        self._turn_until_s = self._busy_s + TURN_S

    def end_turn(self) -> None:
        """Where it took longer than a turn is, those who wait for one are to know."""
        beyond_s = self._busy_s - self._turn_until_s
        if beyond_s <= 0:
            return
        if self._turn_until_s:
            self._shared.cpu_queue.spent(beyond_s)
        self._turn_until_s = 0.0
