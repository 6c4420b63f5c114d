"""The virtual users of one process: what they write, and what they make of the answers.

How their connections come and go is `connections`. The worker tells the crowd what the schedule says (`live`,
`dispatch`), what the engine saw (`handle`) and what time it is (`run_timers`). Edits that need no thought are
the engine's own (see `loadtest.engine.pure`), as long as nothing waits to be sent before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loadtest.connections import RETRY_MS, Connections, retry_after_ms
from loadtest.engine import CLOSED, MALFORMED, MESSAGE, OPENED, REJECTED, Engine, Event
from loadtest.evidence import Findings
from loadtest.protocols.port import Unreadable
from loadtest.schedule import PRESENCE
from loadtest.users import Target, User

if TYPE_CHECKING:
    from loadtest.protocols.port import Protocol

QUEUE_RETRY_MS = 20.0
IN_FLIGHT_MAX = 1024  # a user with so many unanswered edits makes no more: the server has stalled


class Crowd(Connections):
    """All users of a process."""

    def __init__(
        self, engine: Engine, target: Target, users: Sequence[User], resume: bool, protocol: Protocol
    ) -> None:
        super().__init__(engine, target, users, protocol)
        self.resume = resume
        self.findings = Findings()  # what users saw by themselves
        self.zero_ns = 0

    # ------------------------------------------------------------------------------------------- edits

    def dispatch(self, user: User, kind: int, index: int, now: int, due_ns: int) -> None:
        """Do what the schedule says about an edit or a presence update, due at `due_ns`."""
        if kind == PRESENCE:
            if user.state == "live":
                message = self.protocol.presence(user, (due_ns - self.zero_ns) // 1000)
                if message is not None:
                    self.engine.send(user.slot, message)
                    self.counts["presence_sent"] += 1
        elif user.state == "live" and not user.queue and self.protocol.may_send(self.engine, user):
            self.edit(user, kind, index, due_ns)
        elif user.state == "idle":
            self.counts["unsent"] += 1
        else:
            self._put_off(user, kind, index, now, due_ns)

    def _put_off(self, user: User, kind: int, index: int, now: int, due_ns: int) -> None:
        user.queue.append((due_ns, kind, index))
        self.engine.allow(user.slot, False)
        if user.offline_base is not None:
            user.kept += 1
            self.counts["kept_offline"] += 1
        if user.state == "live":
            self._send_later(user, now)

    def send_queue(self, user: User, now: int) -> None:
        """Send what waits, as far as it may be sent."""
        while user.queue and self.protocol.may_send(self.engine, user):
            intended_ns, kind, index = user.queue.pop(0)
            self.edit(user, kind, index, intended_ns)
        if user.queue:
            self._send_later(user, now)
        self._allow(user)

    def _send_later(self, user: User, now: int) -> None:
        """Try the queue again in a while: one timer for each connection, however often it is asked for."""
        if user.queue_timer != user.timer:
            user.queue_timer = user.timer
            self.later(now, QUEUE_RETRY_MS, self._send_again, user)

    def _send_again(self, user: User, now: int) -> None:
        user.queue_timer = -1
        self.send_queue(user, now)

    def _allow(self, user: User) -> None:
        """Leave edits to the engine where nothing waits to be sent before them."""
        self.engine.allow(user.slot, user.state == "live" and not user.queue and not user.postponed)

    def edit(self, user: User, kind: int, index: int, intended_ns: int) -> None:
        """Make and send one edit, unless the server has stalled."""
        engine, slot = self.engine, user.slot
        if len(engine.in_flight(slot)) >= IN_FLIGHT_MAX:
            self.counts["stalled"] += 1
            return
        number, payload = self.protocol.edit(engine, user, kind, index)
        self.protocol.sending(user, number)
        engine.submit(slot, number, intended_ns, payload)
        self.counts["sent"] += 1

    def ping(self, part: int, parts: int) -> None:
        """Keep the users alive whose turn it is: one part of them."""
        message = self.protocol.ping
        if message is None:
            return
        for user in self.users[part::parts]:
            if user.state == "live":
                self.engine.send(user.slot, message)

    # ------------------------------------------------------------------------------------- the engine

    def handle(self, events: Sequence[Event]) -> None:
        """Act on what the engine returned."""
        for slot, kind, data, now in events:
            user = self.users[slot]
            if kind == MESSAGE:
                self._received(user, data[0], data[1], now)
            elif kind == OPENED:
                self._opened(user, now)
            elif kind == CLOSED:
                self._closed(user, data[0], data[1], now)
            elif kind == REJECTED:
                why = data[9:12] if data.startswith(b"HTTP/") else data
                user.return_delay_ms = retry_after_ms(data)
                if user.return_delay_ms is None:
                    self.errors[f"handshake {why.decode(errors='replace')}"] += 1

    def _received(self, user: User, payload: bytes, before: int, now: int) -> None:
        try:
            self.protocol.received(self, user, payload, before, now)
        except Unreadable:
            self.engine.blame(MALFORMED, user.slot, -1, -1)

    def _opened(self, user: User, now: int) -> None:
        user.state = "joining"
        user.sync_ns = now
        if user.compressed:
            taken = self.engine.compressed(user.slot)
            self.counts["compressed" if taken else "compression_declined"] += 1
        self.protocol.opened(self, user, now)

    # ------------------------------------------------------------- what an adapter says about messages

    def joined(self, user: User, now: int) -> None:
        """The user has its document: it goes on where it was."""
        self.sync.record((now - user.sync_ns) // 1000)
        self.counts["succeeded"] += 1
        self.connected += 1
        self.counts["recovered"] += user.lost
        user.lost = False
        user.timer += 1
        user.state = "live"
        self.set_put_off(user, False)
        user.return_delay_ms = None
        if not user.subscribed:
            user.request, user.subscribed = b"", True  # the next one says that it resumes
        self.catch_up(user, now)

    def backwards(self, user: User, before: int, version: int) -> None:
        """The server is at an older version than the user had seen."""
        self.counts["backwards"] += 1
        self.accuse(
            "lost_acknowledged",
            f"{user.resource_id}: the server is back at version {version} although {user.user_id} "
            f"had seen version {before}",
        )

    def accuse(self, fault: str, words: str) -> None:
        """Note a fault of the server, by its name in `loadtest.evidence.COUNTED`."""
        self.findings.add(fault, words)

    def catch_up(self, user: User, now: int) -> None:
        """Send again what is unanswered, then what queued up."""
        for number, intended_ns, payload in self.engine.in_flight(user.slot):
            self.engine.refuse(user.slot, number)
            if not self.protocol.resends(user):
                self.counts["unresolved"] += 1
            else:
                self.counts["resent"] += 1
                self.protocol.sending(user, number)
                self.engine.submit(user.slot, number, intended_ns, payload)
        base, user.offline_base = user.offline_base, None
        self.counts["resumed_offline"] += user.kept
        user.kept = 0
        if user.queue and base is not None:
            waiting = len(user.queue)
            patch = self.protocol.patch(self.engine, user, base)
            if patch is not None:
                self.counts["offline_patches"] += 1
                self.counts["merged_offline"] += waiting - 1
                self.engine.submit(user.slot, patch[0], -1, patch[1])
        if base is not None:  # what was written without a connection is not timed
            user.queue = [(-1, kind, index) for _, kind, index in user.queue]
        self.send_queue(user, now)

    def acknowledged(self, user: User, number: int, version: int, now: int) -> bool:
        """A submission became this version; False where it isn't in flight (any more)."""
        if not self.engine.acknowledge(user.slot, number, version, now):
            return False
        self.counts["acks"] += 1
        return True

    def refused(self, user: User, number: int, outcome: str = "refused") -> None:
        """A submission came to nothing: refused, nothing_to_undo or unresolved."""
        if self.engine.refuse(user.slot, number) is not None:
            self.counts[outcome] += 1

    def resubmit(self, user: User, number: int, flight: tuple[int, bytes], delay_ms: float, now: int) -> None:
        """The server couldn't take it now: the same submission again, which its number makes safe."""
        user.postponed.add(number)
        self._allow(user)
        if self.ending:
            return
        self.counts["resent"] += 1

        def again(user: User, now: int) -> None:
            if user.state in ("connecting", "joining"):
                self.later(now, RETRY_MS[0], again, user, always=True)
                return
            user.postponed.discard(number)
            self.engine.submit(user.slot, number, flight[0], flight[1])
            self._allow(user)

        self.later(now, delay_ms, again, user, always=True)

    # ------------------------------------------------------------------------------------------ the end

    def settle(self) -> None:
        """Have nobody change anything any more: who isn't connected stays away, the others only read."""
        self.ending = True
        for user in self.users:
            if user.state != "live":
                self._drop(user)
        self._timers.clear()

    def end(self) -> None:
        """Cut every connection."""
        self.settle()
        for user in self.users:
            self._drop(user)
