"""The virtual users of one process: they connect, subscribe, edit, leave and come back.

The crowd owns no time of its own: the worker tells it what the schedule says (`live`, `dispatch`), what the
engine saw (`handle`) and what time it is (`run_timers`). Times are monotonic nanoseconds.
"""

from __future__ import annotations

import errno
import heapq
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from loadtest.engine import CLOSED, MESSAGE, OPENED, REJECTED, Engine, Event
from loadtest.histogram import Latencies
from loadtest.schedule import PRESENCE, Life, Operation
from loadtest.users import Target, User

if TYPE_CHECKING:
    from loadtest.protocols.port import Protocol

MS = 1_000_000
CONNECT_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_MS = 2_000
FINISH_TRIES = 40
RETRY_MS = (200.0, 1_000.0)
QUEUE_RETRY_MS = 20.0
IN_FLIGHT_MAX = 1024  # a user with so many unanswered edits makes no more: the server has stalled
NORMAL_CLOSE = (1000).to_bytes(2, "big")
RETRY_AFTER = re.compile(rb"\r\nRetry-After-Ms: (\d{1,9})", re.IGNORECASE)
LOCAL_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM))


class Crowd:
    """All users of a process, by slot of the engine and by number in the schedule."""

    def __init__(
        self, engine: Engine, target: Target, users: Sequence[User], resume: bool, protocol: Protocol
    ) -> None:
        self.engine, self.target, self.resume, self.protocol = engine, target, resume, protocol
        self.users = list(users)
        self.by_index = {user.index: user for user in users}
        self.counts: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.connect, self.sync = Latencies(), Latencies()
        self.lags_ns: list[int] = []
        self.missed_after_ns = 50 * MS
        self.connected = 0
        self.local_errors: Counter[str] = Counter()
        self.problems: list[str] = []
        self.ending = False
        self.zero_ns = 0
        self._timers: list[tuple[int, int, Callable[[User, int], None], User, int]] = []
        self._timer_number = 0
        self._random = random.Random(len(users))
        self._address = target.address

    # ------------------------------------------------------------------------------------------ timers

    def later(
        self, now: int, delay_ms: float, action: Callable[[User, int], None], user: User, always: bool = False
    ) -> None:
        """Run `action` later, unless (or `always`) the user's connection has changed by then."""
        self._timer_number += 1
        due = now + int(delay_ms * MS)
        heapq.heappush(self._timers, (due, self._timer_number, action, user, -1 if always else user.timer))

    def run_timers(self, now: int) -> None:
        """Run what is due."""
        while self._timers and self._timers[0][0] <= now:
            _, _, action, user, stamp = heapq.heappop(self._timers)
            if stamp in (-1, user.timer):
                action(user, now)

    def next_timer_ns(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    # -------------------------------------------------------------------------------------- connecting

    def connect_user(self, user: User, now: int) -> None:
        """Begin a connection, meant to begin at `user.connect_ns`."""
        self.counts["attempted"] += 1
        user.timer += 1
        user.return_delay_ms = None
        if not user.request:
            user.request = self.protocol.request(self.target, user)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if user.source:
                sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports are chosen by connect
                sock.bind((user.source, 0))
            code = sock.connect_ex(self._address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
            self.engine.attach(user.slot, sock.fileno(), user.request)
        except OSError as error:
            sock.close()
            self._connect_failed(user, now, error)
            return
        user.sock, user.state = sock, "connecting"
        self.later(now, CONNECT_TIMEOUT_MS, self._connect_late, user)

    def _connect_failed(self, user: User, now: int, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "?")
        self.counts["failed"] += 1
        self.errors[f"connect {name}"] += 1
        if error.errno in LOCAL_ERRORS:
            self.local_errors[name] += 1
        self._come_back(user, now, self._random.uniform(*RETRY_MS))

    def _connect_late(self, user: User, now: int) -> None:
        if user.state in ("connecting", "joining"):
            self.counts["failed"] += 1
            self.errors["connect timeout"] += 1
            self._drop(user)
            self._come_back(user, now, self._random.uniform(*RETRY_MS))

    def _drop(self, user: User) -> None:
        """Cut the connection without ceremony."""
        if user.state == "live":
            self.connected -= 1
        user.timer += 1
        user.state = "idle"
        self.engine.detach(user.slot)
        if user.sock is not None:
            user.sock.close()
            user.sock = None

    def _come_back(self, user: User, now: int, delay_ms: float) -> None:
        if self.ending:
            user.state = "idle"
            return
        user.state = "connecting"
        user.timer += 1
        self.later(now, delay_ms, self._reconnect, user)

    def _reconnect(self, user: User, now: int) -> None:
        user.connect_ns = now
        self.connect_user(user, now)

    def _close(self, user: User, now: int) -> None:
        """Say goodbye; the server's close frame ends it, or a timer."""
        if user.state == "live":
            self.connected -= 1
        user.state = "closing"
        user.timer += 1
        self.engine.send(user.slot, NORMAL_CLOSE, 8)
        self.later(now, CLOSE_TIMEOUT_MS, self._close_late, user)

    def _close_late(self, user: User, now: int) -> None:
        self.counts["close_timeouts"] += 1
        self._drop(user)
        self._after_close(user, now)

    def _after_close(self, user: User, now: int) -> None:
        if user.return_delay_ms is not None:
            self._come_back(user, now, user.return_delay_ms)

    # ----------------------------------------------------------------------------------- the schedule

    def live(self, life: Life, now: int, intended_ns: int) -> None:
        """Do what the schedule says about a user's connection."""
        user = self.by_index[life.user]
        kind = life.kind
        if kind == "connect" or (kind == "online" and user.state == "offline"):
            user.connect_ns = intended_ns
            self.connect_user(user, now)
        elif kind == "pause" or kind == "read":
            self.engine.pause(user.slot, kind == "pause")
        elif kind == "storm":
            self._storm(user, now, intended_ns)
        elif kind == "leave":
            self._leave(user, now)
        elif kind == "session" and user.state == "live":
            user.return_delay_ms = 0.0
            self._finish(user, now)
        elif kind == "offline" and user.state == "live":
            self._drop(user)
            user.state = "offline"
            user.offline_base = self.engine.version(user.slot)
            self.counts["offline_spells"] += 1

    def _storm(self, user: User, now: int, intended_ns: int) -> None:
        if user.state in ("live", "connecting", "joining"):
            self._drop(user)
            user.connect_ns = intended_ns
            self.connect_user(user, now)

    def _leave(self, user: User, now: int) -> None:
        user.return_delay_ms = None
        if user.state == "live":
            self._finish(user, now)
        else:
            self._drop(user)

    def _finish(self, user: User, now: int) -> None:
        """Close once everything is answered; a user doesn't leave with its last edit unsaved."""
        user.finishing += 1
        if (self.engine.in_flight(user.slot) or user.queue) and user.finishing < FINISH_TRIES:
            self.later(now, CLOSE_TIMEOUT_MS / FINISH_TRIES, self._finish, user)
        else:
            user.finishing = 0
            self._close(user, now)

    def dispatch(self, operation: Operation, now: int, intended_ns: int) -> None:
        """Do what the schedule says about an edit or a presence update."""
        user = self.by_index[operation.user]
        self.lags_ns.append(now - intended_ns)
        if operation.kind == PRESENCE:
            if user.state == "live":
                message = self.protocol.presence(user, (intended_ns - self.zero_ns) // 1000)
                if message is not None:
                    self.engine.send(user.slot, message)
                    self.counts["presence_sent"] += 1
            return
        self.counts["scheduled"] += 1
        if now - intended_ns > self.missed_after_ns:
            self.counts["missed"] += 1
        if user.state == "live" and not user.queue and self.protocol.may_send(self.engine, user):
            self.edit(user, operation.kind, operation.number, intended_ns)
        elif user.state == "idle":
            self.counts["unsent"] += 1
        else:
            user.queue.append((intended_ns, operation.kind, operation.number))
            if user.offline_base is not None:
                user.kept += 1
                self.counts["kept_offline"] += 1
            if user.state == "live" and len(user.queue) == 1:
                self.later(now, QUEUE_RETRY_MS, self.send_queue, user)

    def send_queue(self, user: User, now: int) -> None:
        """Send what waits, as far as it may be sent."""
        while user.queue and self.protocol.may_send(self.engine, user):
            intended_ns, kind, index = user.queue.pop(0)
            self.edit(user, kind, index, intended_ns)
        if user.queue:
            self.later(now, QUEUE_RETRY_MS, self.send_queue, user)

    def edit(self, user: User, kind: int, index: int, intended_ns: int) -> None:
        """Make and send one edit."""
        engine, slot = self.engine, user.slot
        number, payload = self.protocol.edit(engine, user, kind, index)
        self.protocol.sending(user, number)
        if engine.submit(slot, number, intended_ns, payload) > IN_FLIGHT_MAX:
            engine.refuse(slot, number)
            self.counts["stalled"] += 1
        else:
            self.counts["sent"] += 1

    def ping(self, second: int, interval_s: int) -> None:
        """Keep the users alive whose turn it is in this second."""
        message = self.protocol.ping
        if message is None:
            return
        for user in self.users:
            if user.state == "live" and user.index % interval_s == second % interval_s:
                self.engine.send(user.slot, message)

    # ------------------------------------------------------------------------------------- the engine

    def handle(self, events: Sequence[Event]) -> None:
        """Act on what the engine returned."""
        for slot, kind, data, now in events:
            user = self.users[slot]
            if kind == MESSAGE:
                self.protocol.received(self, user, data[0], data[1], now)
            elif kind == OPENED:
                self._opened(user, now)
            elif kind == CLOSED:
                self._closed(user, data[0], data[1], now)
            elif kind == REJECTED:
                self.errors[f"handshake {data[9:12].decode(errors='replace')}"] += 1
                user.return_delay_ms = _retry_after_ms(data)

    def _opened(self, user: User, now: int) -> None:
        user.state = "joining"
        user.sync_ns = now
        self.protocol.opened(self, user, now)

    def _closed(self, user: User, code: int, reason: bytes, now: int) -> None:
        if user.sock is not None:
            user.sock.close()
            user.sock = None
        state, user.state = user.state, "idle"
        user.timer += 1
        if state == "closing":
            self._after_close(user, now)
            return
        if state == "live":
            self.connected -= 1
            self.closes[code] += 1
            self.counts["disconnected"] += 1
            user.lost = True
        elif user.return_delay_ms is not None:
            self.counts["deferred"] += 1
        else:
            self.counts["failed"] += 1
            self.errors[f"connect closed {code} {reason.decode(errors='replace')[:60]}".strip()] += 1
        delay_ms = (
            user.return_delay_ms if user.return_delay_ms is not None else self._random.uniform(*RETRY_MS)
        )
        self._come_back(user, now, delay_ms)

    # ------------------------------------------------------------- what an adapter says about messages

    def connected_in(self, user: User, now: int) -> None:
        """The server knows who the user is."""
        self.connect.record((now - user.connect_ns) // 1000)

    def joined(self, user: User, now: int) -> None:
        """The user has its document: it goes on where it was."""
        self.sync.record((now - user.sync_ns) // 1000)
        self.counts["succeeded"] += 1
        self.connected += 1
        self.counts["recovered"] += user.lost
        user.lost = False
        user.timer += 1
        user.state = "live"
        user.return_delay_ms = None
        if not user.subscribed:
            user.request, user.subscribed = b"", True  # the next one says that it resumes
        self.catch_up(user, now)

    def backwards(self, user: User, before: int, version: int) -> None:
        """The server is at an older version than the user had seen."""
        self.counts["backwards"] += 1
        if len(self.problems) < 20:
            self.problems.append(
                f"{user.resource_id}: the server is back at version {version} although {user.user_id} "
                f"had seen version {before}"
            )

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
            patch = self.protocol.patch(user, base)
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
        if self.ending:
            return
        self.counts["resent"] += 1

        def again(user: User, now: int) -> None:
            if user.state in ("connecting", "joining"):
                self.later(now, RETRY_MS[0], again, user, always=True)
                return
            user.postponed.discard(number)
            self.engine.submit(user.slot, number, flight[0], flight[1])

        self.later(now, delay_ms, again, user, always=True)

    def go_away(self, user: User, delay_ms: float, now: int) -> None:
        """The server asks the user to come back later."""
        user.return_delay_ms = delay_ms
        self.counts["goaways"] += 1
        self._close(user, now)

    # ------------------------------------------------------------------------------------------ the end

    def in_flight(self) -> int:
        """Submissions without an answer, queued ones included."""
        return sum(map(self.unanswered, self.users))

    def unanswered(self, user: User) -> int:
        """The same, of one user."""
        return len(self.engine.in_flight(user.slot)) + len(user.postponed) + len(user.queue)

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


def _retry_after_ms(answer: bytes) -> float | None:
    """When a refused handshake may be tried again; None where the answer doesn't say."""
    found = RETRY_AFTER.search(answer)
    return float(found[1]) if found else None


def now_ns() -> int:
    return time.monotonic_ns()
