"""Sockets that were just accepted, until it is known what they want.

An `Arrival` reads one request. A WebSocket's goes on as a connection, for which `welcome` is called; other
requests go to an HTTP server (`pass_on`); refusals are answered here. The kernel sends newcomers to any
worker, full or not: a full one sends them on (`send_on`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from gateway.ports import HttpService, Rejection
from gateway.transport import upgrade
from gateway.transport.fast.context import TransportContext
from gateway.transport.fast.loop import READ, read_some, shut_down_writing
from gateway.transport.handshakes import Handshakes

logger = logging.getLogger(__name__)

# Refused ones that are read on, so that they get their answer; beyond that they are closed with it.
REFUSED_MAX = 64

Welcome = Callable[[int, upgrade.Accepted, bytes], None]
"""Takes a descriptor, the accepted handshake, and what came after its head."""
PassOn = Callable[[int, str, HttpService, bytes], None]
"""Takes a descriptor, the peer's address, who answers the requests on it, and what was read of them."""
SendOn = Callable[[int, str, bytes, int], bool]
"""Takes a descriptor, the peer's address, what was read, how many workers were full; False: all are."""


class Arrivals:
    """All of them."""

    def __init__(
        self, shared: TransportContext, handshakes: Handshakes, welcome: Welcome, pass_on: PassOn
    ) -> None:
        self.shared = shared
        self.handshakes = handshakes
        self.welcome = welcome
        self.pass_on = pass_on
        self.send_on: SendOn | None = None
        self._there: set[Arrival] = set()
        self._refused: set[Arrival] = set()

    def __len__(self) -> int:
        return len(self._there) + len(self._refused)

    def add(self, fd: int, remote: str) -> None:
        """A socket was accepted: when many wait, their requests are here already."""
        if not self.handshakes.enter(remote):
            os.close(fd)
            return
        arrival = Arrival(fd, remote, self, 0, self.handshakes.proxies.announces(remote))
        self._there.add(arrival)
        arrival.ready(READ)
        arrival.wait()

    def add_sent_on(self, fd: int, remote: str, data: bytes, passed: int) -> None:
        """This was read of it, after requests or by so many workers that were full."""
        if not self.handshakes.enter(remote):
            os.close(fd)
            return
        arrival = Arrival(fd, remote, self, passed, False)
        self._there.add(arrival)
        arrival.read(data)
        arrival.wait()

    def discard(self, arrival: Arrival) -> None:
        """Its socket is closed, or a connection's."""
        if arrival in self._there:
            self.handshakes.leave(arrival.remote)
            self._there.discard(arrival)
        self._refused.discard(arrival)

    def refused(self, arrival: Arrival) -> bool:
        """It has its answer, and is on its way in no more; whether it may be read on."""
        self.discard(arrival)
        if len(self._refused) >= REFUSED_MAX:
            return False
        self._refused.add(arrival)
        return True

    def forget(self, arrival: Arrival) -> None:
        """It doesn't count any more."""
        self._there.discard(arrival)

    def close(self) -> None:
        """Close them all at once."""
        for arrival in self._there | self._refused:
            arrival.drop()

    def decide(self, head: bytes, remote: str) -> upgrade.Accepted | HttpService | Rejection:
        """What becomes of a request."""
        return upgrade.decide(self.shared.known_endpoint(), head, remote, self.handshakes.proxies)


class Arrival:
    """One of them: reads its request; after a refusal also what still comes, so that the peer gets that.

    `passed` workers were full. `announces`: a proxy says first whose connection it is.
    """

    __slots__ = ("_arrivals", "_fd", "_passed", "_reader", "due_s", "remote")

    def __init__(self, fd: int, remote: str, arrivals: Arrivals, passed: int, announces: bool) -> None:
        self.remote = remote
        self._passed = passed
        self.due_s: float | None = None
        self._fd = fd
        self._arrivals = arrivals
        kind = upgrade.AnnouncedReader if announces else upgrade.HeadReader
        # None once it was refused
        self._reader: upgrade.HeadReader | None = kind(arrivals.shared.limits.upgrade_bytes_max)

    def wait(self) -> None:
        """Have the poller call when more comes, unless it's over already."""
        shared = self._arrivals.shared
        if self._reader is not None and self._fd >= 0:
            shared.sweep.at(shared.poller.now_s + shared.timeouts.upgrade_timeout_s, self)
            shared.poller.watch(self._fd, READ, self)

    def ready(self, flags: int) -> None:
        """The poller says that there is something to read, or that the peer is gone."""
        data = read_some(self._fd)
        if data == b"":
            self.drop()
        elif data is not None and self._reader is not None:
            self.read(data)

    def read(self, data: bytes | bytearray) -> None:
        """This came."""
        reader = self._reader
        assert reader is not None, "it was refused"
        try:
            found = reader.feed(data)
            if not reader.remote or self._is_announced(reader):
                self._take(found)
        except Exception:
            logger.exception("%s: error during its handshake", self.remote)
            self._arrivals.shared.counters.internal_errors += 1
            self.drop()

    def _is_announced(self, reader: upgrade.HeadReader) -> bool:
        """The proxy has said whose connection it is: it counts for that one; False: it has too many."""
        remote, reader.remote = reader.remote, ""
        if self._arrivals.handshakes.announced(self.remote, remote):
            self.remote = remote
            return True
        self._arrivals.forget(self)
        self.drop()
        return False

    def _take(self, found: tuple[bytes, bytes] | Rejection | None) -> None:
        if isinstance(found, Rejection):
            self._refuse(found)
        elif found is not None and not self._is_sent_on(found[0] + found[1]):
            decision = self._arrivals.decide(found[0], self.remote)
            if isinstance(decision, Rejection):
                self._refuse(decision)
            elif isinstance(decision, upgrade.Accepted):
                self._arrivals.welcome(self._leave(), decision, found[1])
            else:
                self._arrivals.shared.poller.remove(self._fd)
                self._arrivals.pass_on(self._leave(), self.remote, decision, found[0] + found[1])

    def _is_sent_on(self, data: bytes) -> bool:
        arrivals = self._arrivals
        if arrivals.send_on is None or not arrivals.shared.known_endpoint().full:
            return False
        if not arrivals.send_on(self._fd, self.remote, data, self._passed):
            return False
        arrivals.shared.poller.remove(self._fd)
        os.close(self._leave())
        return True

    def _refuse(self, rejection: Rejection) -> None:
        """Answer, send our FIN and go on reading, so that unread input doesn't reset what we wrote."""
        shared = self._arrivals.shared
        self._arrivals.handshakes.count_refusal(rejection.status)
        self._reader = None
        answer = upgrade.refusal(rejection)
        try:
            is_whole = os.write(self._fd, answer) == len(answer)  # answers to requests may wait before it
        except OSError:
            is_whole = False
        if is_whole and self._arrivals.refused(self) and shut_down_writing(self._fd):
            shared.sweep.at(shared.poller.now_s + shared.timeouts.close_timeout_s, self)
            shared.poller.watch(self._fd, READ, self)
        else:
            self.drop()

    def check(self, now_s: float) -> None:
        """The sweep's call: the request, or the peer's end, is overdue."""
        if self._reader is None:
            self.drop()
        else:
            self._refuse(upgrade.LATE)

    def drop(self) -> None:
        """Close the socket; idempotent."""
        if self._fd >= 0:
            fd = self._leave()
            self._arrivals.shared.poller.end(fd)

    def _leave(self) -> int:
        """The descriptor, which is the caller's from now on."""
        fd, self._fd = self._fd, -1
        self._arrivals.discard(self)
        self._arrivals.shared.sweep.cancel(self)
        return fd
