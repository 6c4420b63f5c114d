"""The engine of a generator process, in Python: what is due, sockets, order, timing.

One engine holds thousands of virtual users. `poll` reads the sockets that have something, cuts WebSocket
frames, and judges the two messages that come by the hundred thousand, `OP_BROADCAST` and `OP_ACK`:

- *Order.* The versions that a user sees of its document come one by one. A version further on is a GAP of the
  versions between (`fault_counts` counts these), one of them that comes after all is REORDERED instead, any
  other old one is a DUPLICATE.
- *Time.* A delivery is timed from when its operation was *meant* to be sent. The author's acknowledgement
  says which version an operation got; a broadcast that arrives before it waits for it.
- *The ledger.* Which version was acknowledged to whom. Two operations with one version are a fault at once
  (TWICE_ACKNOWLEDGED); the rest is compared with the server's history after the run.

Whatever else arrives is returned from `poll` as an event `(slot, kind, data, arrived_ns)`:

    OPENED      the handshake's answer (bytes)
    REJECTED    the same, when it wasn't 101, or else what is wrong with it; followed by CLOSED
    MESSAGE     (payload, the user's version before it)
    CLOSED      (code, reason bytes); 1006 where the peer sent none. The owner closes the descriptor.

A *replica* also keeps each message with what it acknowledged, for `loadtest.replica`, in its spool: pairs of
payload and None, or `(number, the submission's own payload)`. Times are monotonic nanoseconds; an intended
time of -1 is not timed.

With `raw` every message is such an event and none is judged here: an adapter of `loadtest.protocols` reads
it, and says what it was by `deliver`, `step`, `follow` and `acknowledge`. `opcode` is 2 where messages are
binary.

What is due comes by `plan`, ahead of its time. `play` does the edits that need no thought: those of users who
are `allow`ed to, of kinds that there is a `script` for, a message with gaps (NUMBER, VERSION, INDEX). All
else it returns, for the owner to do: `(due_ns, slot, kind, index)`. `turn` plays and reads for a while.
"""

from __future__ import annotations

import time
from array import array
from collections import deque

from loadtest.engine.judge import Event
from loadtest.engine.sockets import Sockets

NUMBER, VERSION, INDEX = b"\x01", b"\x02", b"\x03"  # gaps of a script
PLAYED_MAX = 1024  # of one call: sockets are looked at in between
IN_FLIGHT_MAX = 1024

Due = tuple[int, int, int, int]


def filled(script: bytes, number: int, version: int, index: int) -> bytes:
    """The message of a script."""
    parts = ((NUMBER, b"%d" % number), (VERSION, b"%d" % version), (INDEX, b"%x" % index))
    for gap, value in parts:
        script = script.replace(gap, value)
    return script


class Engine(Sockets):
    """See the module. `missed_after_ns` is how late an edit may leave; `presence_kind` is no edit."""

    def __init__(self) -> None:
        super().__init__()
        self._due: deque[Due] = deque()
        self.missed_after_ns = 50_000_000
        self.presence_kind = -1
        self.scheduled = self.missed = self.sent = 0

    # ------------------------------------------------------------------------------------------- playing

    def script(self, slot: int, kind: int, script: bytes, window: int) -> None:
        """How a user writes an edit of this kind; `window` unanswered ones at most by number, 0: no bound."""
        user = self._users[slot]
        user.scripts[kind], user.window = script, window

    def allow(self, slot: int, allowed: bool) -> None:
        """Whether the user's edits may be played; a connection that ends takes it back."""
        self._users[slot].allowed = allowed

    def plan(self, due_ns: bytes, slots: bytes, kinds: bytes, indexes: bytes) -> None:
        """What comes next, by time: arrays of native 64-bit numbers."""
        columns = [array("q", column) for column in (due_ns, slots, kinds, indexes)]
        self._due.extend(zip(*columns, strict=True))

    def next_due_ns(self) -> int:
        """When the next of it is due; -1 where there is none."""
        return self._due[0][0] if self._due else -1

    def play(self, now: int) -> list[Due]:
        """Do what is due by now (at most PLAYED_MAX); returns what the owner must do."""
        own: list[Due] = []
        for _ in range(PLAYED_MAX):
            if not self._due or self._due[0][0] > now:
                break
            one = self._due.popleft()
            due_ns, slot, kind, index = one
            late_ns = time.monotonic_ns() - due_ns
            self._record("lag", late_ns)
            if kind != self.presence_kind:
                self.scheduled += 1
                self.missed += late_ns > self.missed_after_ns
            if not self._played(slot, kind, index, due_ns):
                own.append(one)
        return own

    def _played(self, slot: int, kind: int, index: int, due_ns: int) -> bool:
        user = self._users[slot]
        script = user.scripts.get(kind)
        if script is None or not user.allowed or user.phase != "open" or len(user.flights) >= IN_FLIGHT_MAX:
            return False
        oldest = min(user.flights, default=0) or user.number
        if user.window and user.number + 1 - oldest >= user.window:
            return False
        number = self.next_number(slot)
        self.submit(slot, number, due_ns, filled(script, number, user.version, index))
        self.sent += 1
        return True

    def turn(self, until_ns: int, tick_ns: int) -> tuple[list[Due], list[Event]]:
        """Play and read, a look each `tick_ns`, until then or until the owner has something to do."""
        while True:
            now = time.monotonic_ns()
            own, events = self.play(now), self.poll()
            now = time.monotonic_ns()
            if own or events or now + tick_ns > until_ns:
                return own, events
            time.sleep(tick_ns / 1e9)
