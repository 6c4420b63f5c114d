"""The connections of virtual users: they come, go, are lost and come back.

Nothing here has a time of its own: the worker says what the schedule wants (`live`) and what time it is
(`run_timers`). Times are monotonic nanoseconds.
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
from typing import TYPE_CHECKING, Any

from loadtest.engine import Engine
from loadtest.histogram import Latencies
from loadtest.schedule import Life
from loadtest.users import Target, User, with_offer

if TYPE_CHECKING:
    from loadtest.protocols.port import Protocol

MS = 1_000_000
CONNECT_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_MS = 2_000
FINISH_TRIES = 40
RETRY_MS = (200.0, 1_000.0)
RETRY_AFTER = re.compile(rb"\r\nRetry-After-Ms: (\d{1,9})", re.IGNORECASE)
NORMAL_CLOSE = (1000).to_bytes(2, "big")
LOCAL_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM))


def now_ns() -> int:
    return time.monotonic_ns()


def retry_after_ms(answer: bytes) -> float | None:
    """When a refused handshake may be tried again; None where the answer doesn't say."""
    found = RETRY_AFTER.search(answer)
    return float(found[1]) if found else None


class Connections:
    """Those of all users of a process, by slot of the engine and by number in the schedule."""

    def __init__(self, engine: Engine, target: Target, users: Sequence[User], protocol: Protocol) -> None:
        self.engine, self.target, self.protocol = engine, target, protocol
        self.users = list(users)
        self.by_index = {user.index: user for user in users}
        self.counts: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.local_errors: Counter[str] = Counter()
        self.connect, self.sync = Latencies(), Latencies()
        self.connected = self.put_off = 0  # users by now
        self.ending = False
        self._timers: list[tuple[int, int, Callable[[User, int], None], User, int]] = []
        self._timer_number = 0
        self._random = random.Random(len(users))
        self.server: tuple[int, Any] = socket.AF_INET, target.address  # family, address

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

    # -------------------------------------------------------------------------------------- unanswered

    def in_flight(self) -> int:
        """Submissions without an answer, queued ones included."""
        return sum(map(self.unanswered, self.users))

    def unanswered(self, user: User) -> int:
        """The same, of one user."""
        return len(self.engine.in_flight(user.slot)) + len(user.postponed) + len(user.queue)

    # -------------------------------------------------------------------------------------- connecting

    def connect_user(self, user: User, now: int) -> None:
        """Begin a connection, meant to begin at `user.connect_ns`."""
        self.counts["attempted"] += 1
        user.timer += 1
        user.return_delay_ms = None
        if not user.request:
            request = self.protocol.request(self.target, user)
            user.request = with_offer(request) if user.compressed else request
        family, address = self.server
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if user.source:
                sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports are chosen by connect
                sock.bind((user.source, 0))
            code = sock.connect_ex(address)
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

    def _give_up(self, user: User) -> None:
        """Cut the connection because the schedule says so: one that was still being made hasn't failed."""
        self.counts["given_up"] += self.is_connecting(user)
        self._drop(user)

    @staticmethod
    def is_connecting(user: User) -> bool:
        """Whether a connection of the user is being made."""
        return user.sock is not None and user.state in ("connecting", "joining")

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
        self.engine.allow(user.slot, False)
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
        if kind == "connect":
            self._arrive(user, now, intended_ns)
        elif kind == "online" and user.state == "offline":
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

    def _arrive(self, user: User, now: int, intended_ns: int) -> None:
        """Connect; who is still about to leave comes back once that is done."""
        if user.state in ("live", "closing"):
            user.return_delay_ms = 0.0
        elif user.state == "idle":
            user.connect_ns = intended_ns
            self.connect_user(user, now)

    def _storm(self, user: User, now: int, intended_ns: int) -> None:
        if user.state in ("live", "connecting", "joining"):
            self._give_up(user)
            user.connect_ns = intended_ns
            self.connect_user(user, now)

    def _leave(self, user: User, now: int) -> None:
        user.return_delay_ms = None
        if user.state == "live":
            self._finish(user, now)
        else:
            self.set_put_off(user, False)
            self._give_up(user)

    def _finish(self, user: User, now: int) -> None:
        """Close once everything is answered; a user doesn't leave with its last edit unsaved."""
        user.finishing += 1
        if self.unanswered(user) and user.finishing < FINISH_TRIES:
            self.later(now, CLOSE_TIMEOUT_MS / FINISH_TRIES, self._finish, user)
        else:
            user.finishing = 0
            self._close(user, now)

    # -------------------------------------------------------------------------------- what the server does

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
            self.set_put_off(user, True)
        else:
            self.counts["failed"] += 1
            if reason != b"handshake refused":  # of which the answer was told
                self.errors[f"connect closed {code} {reason.decode(errors='replace')[:60]}".strip()] += 1
        delay_ms = (
            user.return_delay_ms if user.return_delay_ms is not None else self._random.uniform(*RETRY_MS)
        )
        self._come_back(user, now, delay_ms)

    def set_put_off(self, user: User, put_off: bool) -> None:
        """Whether the server had the user come later, and it isn't in yet."""
        self.put_off += put_off - user.put_off
        user.put_off = put_off

    def connected_in(self, user: User, now: int) -> None:
        """The server knows who the user is."""
        self.connect.record((now - user.connect_ns) // 1000)

    def go_away(self, user: User, delay_ms: float, now: int) -> None:
        """The server asks the user to come back later."""
        user.return_delay_ms = delay_ms
        self.counts["goaways"] += 1
        self._close(user, now)
