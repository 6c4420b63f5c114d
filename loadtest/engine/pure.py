"""The engine of a generator process, in Python: sockets, order, timing.

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
    REJECTED    the same, when it wasn't 101; followed by CLOSED
    MESSAGE     (payload, the user's version before it)
    CLOSED      (code, reason bytes); 1006 where the peer sent none. The owner closes the descriptor.

A *replica* also keeps each message with what it acknowledged, for `loadtest.replica`, in its spool: pairs of
payload and None, or `(number, the submission's own payload)`. Times are monotonic nanoseconds; an intended
time of -1 is not timed.

With `raw` every message is such an event and none is judged here: an adapter of `loadtest.protocols` reads
it, and says what it was by `deliver`, `step`, `follow` and `acknowledge`. `opcode` is 2 where messages are
binary.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from array import array
from typing import Any, NamedTuple

import orjson

from loadtest.histogram import COUNTS, count_index

OPENED, REJECTED, MESSAGE, CLOSED = 1, 2, 3, 4
GAP, DUPLICATE, REORDERED, TWICE_ACKNOWLEDGED, MALFORMED = 1, 2, 3, 4, 5
METRICS = ("delivery", "ack", "presence")

EVENTS_MAX = 256
FAULTS_MAX = 10_000
VERSIONS_AHEAD_MAX = 1 << 22
SKIPPED_MAX = 1000
RECEIVE_BYTES = 1 << 18

Event = tuple[int, int, Any, int]


class Entry(NamedTuple):
    intended_ns: int
    user: int
    number: int


class _Document:
    __slots__ = ("arrivals", "entries", "head")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.arrivals: list[tuple[int, int]] = []
        self.head = 0


class _User:
    __slots__ = (
        "document",
        "fd",
        "flights",
        "fragments",
        "mask",
        "missing",
        "out",
        "partial",
        "paused",
        "phase",
        "replica",
        "spool",
        "version",
        "wants_write",
    )

    def __init__(self, document: _Document, replica: bool, mask: bytes) -> None:
        self.document = document
        self.replica = replica
        self.mask = mask
        self.fd = -1
        self.phase = "none"
        self.paused = self.wants_write = False
        self.partial, self.out = b"", bytearray()
        self.flights: dict[int, tuple[int, bytes]] = {}
        self.fragments: list[bytes] | None = None
        self.missing: set[int] = set()
        self.spool: list[tuple[bytes, tuple[int, bytes] | None]] = []
        self.version = 0


def masked_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One whole client frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + mask + masked


def frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """(first byte, payload's start, payload's end) of the frame at `at`, or None where it isn't whole."""
    if len(data) - at < 2:
        return None
    size, start = data[at + 1], at + 2
    if size in (126, 127):
        width = 2 if size == 126 else 8
        start += width
        if len(data) < start:
            return None
        size = int.from_bytes(data[start - width : start], "big")
    return (data[at], start, start + size) if len(data) >= start + size else None


class Engine:
    """The sockets of one process's users. `zero_ns`, the run's start, is what presence times count from."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._slots: dict[int, int] = {}
        self._users: list[_User] = []
        self._documents: list[_Document] = []
        self._counts = {metric: [0] * COUNTS for metric in METRICS}
        self._events: list[Event] = []
        self.faults: list[tuple[int, int, int, int]] = []
        self.fault_counts: dict[int, int] = {}
        self.deliveries = self.acks = self.presences = self.messages = 0
        self.bytes_received = self.bytes_sent = self.reads = self.spooled_bytes = 0
        self.zero_ns = 0
        self.raw = False
        self.opcode = 1

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int:
        """The epoll descriptor: readable when `poll` has something to do."""
        return self._epoll.fileno()

    # ------------------------------------------------------------------------------------- population

    def add_document(self) -> int:
        self._documents.append(_Document())
        return len(self._documents) - 1

    def add_user(self, document: int, replica: bool) -> int:
        """A user of a document; returns its slot."""
        mask = (2654435761 * (len(self._users) + 1) & 0xFFFFFFFF).to_bytes(4, "little")
        self._users.append(_User(self._documents[document], replica, mask))
        return len(self._users) - 1

    # ---------------------------------------------------------------------------------------- sockets

    def attach(self, slot: int, fd: int, request: bytes) -> None:
        """Take over a connecting descriptor; `request`, the handshake, is sent once it is connected."""
        user = self._users[slot]
        user.fd, user.phase, user.partial, user.out = fd, "connecting", b"", bytearray(request)
        user.paused, user.wants_write, user.fragments = False, True, None
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        self._slots[fd] = slot

    def detach(self, slot: int) -> None:
        """Forget a user's descriptor. Submissions stay in flight."""
        user = self._users[slot]
        if user.fd >= 0:
            self._slots.pop(user.fd, None)
            self._epoll.unregister(user.fd)
        user.fd, user.phase, user.partial, user.out = -1, "none", b"", bytearray()

    def pause(self, slot: int, paused: bool) -> None:
        """Stop reading a socket (a slow reader), or go on."""
        user = self._users[slot]
        if user.fd >= 0:
            user.paused = paused
            self._watch(user)

    def _watch(self, user: _User) -> None:
        reading = 0 if user.paused else select.EPOLLIN
        self._epoll.modify(user.fd, reading | (select.EPOLLOUT if user.wants_write else 0))

    # ---------------------------------------------------------------------------------------- sending

    def submit(self, slot: int, number: int, intended_ns: int, payload: bytes) -> int:
        """Send an operation whose answer is awaited; returns how many are in flight now.

        Without a connection it only goes into flight: see `in_flight`.
        """
        user = self._users[slot]
        user.flights[number] = (intended_ns, payload)
        if user.phase == "open":
            self._send_frame(user, self.opcode, payload)
        return len(user.flights)

    def send(self, slot: int, payload: bytes, opcode: int = 0) -> None:
        """Send a message that nobody waits for; nothing happens without a connection."""
        user = self._users[slot]
        if user.phase == "open":
            self._send_frame(user, opcode or self.opcode, payload)

    def _send_frame(self, user: _User, opcode: int, payload: bytes) -> None:
        frame = masked_frame(opcode, payload, user.mask)
        self.bytes_sent += len(frame)
        sent = 0 if user.out else self._write(user, frame)
        if sent < len(frame):
            user.out += frame[sent:]
            user.wants_write = True
            self._watch(user)

    @staticmethod
    def _write(user: _User, data: bytes | bytearray) -> int:
        try:
            with socket.socket(fileno=os.dup(user.fd)) as sock:
                return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return 0

    def _flush(self, user: _User) -> None:
        del user.out[: self._write(user, user.out)]
        if not user.out:
            user.wants_write = False
            self._watch(user)

    # ---------------------------------------------------------------------------------------- reading

    def poll(self, timeout_ms: int = 0) -> list[Event]:
        """Serve the sockets that are ready (at most EVENTS_MAX); returns what the owner must handle."""
        ready = self._epoll.poll(timeout_ms / 1000, EVENTS_MAX)
        for fd, flags in ready:
            slot = self._slots.get(fd)
            if slot is not None:
                self._serve(slot, self._users[slot], flags)
        self.reads += len(ready)
        events, self._events = self._events, []
        return events

    def _serve(self, slot: int, user: _User, flags: int) -> None:
        broken = flags & (select.EPOLLERR | select.EPOLLHUP)
        if flags & select.EPOLLOUT:
            if user.phase == "connecting" and not broken:
                user.phase = "upgrading"
            if user.out and user.phase != "connecting":
                self._flush(user)
        if broken or (flags & select.EPOLLIN and not user.paused):
            self._receive(slot, user)

    def _receive(self, slot: int, user: _User) -> None:
        try:
            data = os.read(user.fd, RECEIVE_BYTES)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                self._end(slot, user, 1006, os.strerror(error.errno or 0).encode(), time.monotonic_ns())
            return
        now = time.monotonic_ns()
        if not data:
            self._end(slot, user, 1006, b"", now)
            return
        self.bytes_received += len(data)
        data = user.partial + data
        used = self._frames(slot, user, data, 0, now) if user.phase == "open" else 0
        if user.phase in ("connecting", "upgrading"):
            used = self._upgrade(slot, user, data, now)
        user.partial = data[used:] if user.fd >= 0 else b""

    def _end(self, slot: int, user: _User, code: int, reason: bytes, now: int) -> None:
        self.detach(slot)
        self._events.append((slot, CLOSED, (code, reason), now))

    def _upgrade(self, slot: int, user: _User, data: bytes, now: int) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if data.startswith(b"HTTP/1.1 101"):
            user.phase = "open"
            self._events.append((slot, OPENED, data[:end], now))
            return self._frames(slot, user, data, end + 4, now)
        self._events.append((slot, REJECTED, data[:end], now))
        self._end(slot, user, 1006, b"handshake refused", now)
        return len(data)

    def _frames(self, slot: int, user: _User, data: bytes, at: int, now: int) -> int:
        while user.fd >= 0 and len(data) - at >= 2:
            if data[at + 1] & 0x80 or data[at] & 0x70:
                self._fault(MALFORMED, slot, user, -1)
                self._end(slot, user, 1002, b"frame", now)
                return len(data)
            frame = frame_at(data, at)
            if frame is None:
                break
            first, start, at = frame
            self._frame(slot, user, first, data[start:at], now)
        return at

    def _frame(self, slot: int, user: _User, first: int, payload: bytes, now: int) -> None:
        opcode = first & 15
        if opcode == self.opcode and first & 0x80:
            self._message(slot, user, payload, now)
        elif opcode == 9:
            self._send_frame(user, 10, payload)
        elif opcode == 8:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            if code != 1005:
                self._send_frame(user, 8, payload[:2])
            self._end(slot, user, code, payload[2:], now)
        elif opcode == self.opcode:
            user.fragments = [payload]
        elif opcode == 0 and user.fragments is not None:
            user.fragments.append(payload)
            if first & 0x80:
                whole, user.fragments = b"".join(user.fragments), None
                self._message(slot, user, whole, now)
        elif opcode != 10:
            self._fault(MALFORMED, slot, user, -1)

    # ---------------------------------------------------------------------------------------- judging

    def _message(self, slot: int, user: _User, payload: bytes, now: int) -> None:
        self.messages += 1
        if self.raw:
            self._events.append((slot, MESSAGE, (payload, user.version), now))
            return
        try:
            message = orjson.loads(payload)
            kind, body = message["type"], message["payload"]
        except (ValueError, KeyError, TypeError):
            self._fault(MALFORMED, slot, user, -1)
            return
        if kind == "OP_BROADCAST":
            self.deliveries += 1
            self._advance(slot, user, body.get("version", -1))
            self._arrive(user.document, body.get("version", -1), now)
            self._keep(user, payload, None)
        elif kind == "OP_ACK":
            self.acks += 1
            self._acknowledgement(slot, user, payload, body, now)
        elif kind.startswith("PRESENCE_"):
            self.presences += 1
            position = (body.get("cursor") or {}).get("position", -1)
            if kind == "PRESENCE_UPDATE" and position >= 0:
                self._record("presence", now - self.zero_ns - 1000 * position)
        else:
            self._other(slot, user, kind, body, payload, now)

    def _acknowledgement(
        self, slot: int, user: _User, payload: bytes, body: dict[str, Any], now: int
    ) -> None:
        version, ident = body.get("version", -1), body.get("id") or ""
        if not body.get("duplicate"):
            self._advance(slot, user, version)
        number = int(ident) if ident.isdigit() else -1
        self._keep(user, payload, self.acknowledge(slot, number, version, now))

    def _other(
        self, slot: int, user: _User, kind: str, body: dict[str, Any], payload: bytes, now: int
    ) -> None:
        before = user.version
        if kind == "SUBSCRIBE_ACK":
            user.version = body.get("version", -1)
        elif kind == "SYNC_RESPONSE":
            user.version = body.get("current_version", -1)
        if kind in ("SUBSCRIBE_ACK", "SYNC_RESPONSE"):
            self._keep(user, payload, None)
        self._events.append((slot, MESSAGE, (payload, before), now))

    def _keep(self, user: _User, payload: bytes, own: tuple[int, bytes] | None) -> None:
        if user.replica:
            user.spool.append((payload, own))
            self.spooled_bytes += len(payload)

    def _advance(self, slot: int, user: _User, version: int) -> None:
        if version == user.version + 1:
            user.version = version
        elif version > user.version:
            self._fault(GAP, slot, user, version)
            self.fault_counts[GAP] += version - user.version - 2
            user.missing.update(range(user.version + 1, min(version, user.version + SKIPPED_MAX)))
            user.version = version
        elif version in user.missing:
            user.missing.discard(version)
            self.fault_counts[GAP] -= 1
            self._fault(REORDERED, slot, user, version)
        else:
            self._fault(DUPLICATE, slot, user, version)

    def _fault(self, kind: int, slot: int, user: _User, version: int) -> None:
        self.fault_counts[kind] = self.fault_counts.get(kind, 0) + 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append((kind, slot, user.version + 1, version))

    def _arrive(self, document: _Document, version: int, now: int) -> None:
        entry = document.entries.get(version)
        if entry is None:
            document.arrivals.append((version, now))
        elif entry.intended_ns > 0:
            self._record("delivery", now - entry.intended_ns)

    def _record(self, metric: str, value_ns: int) -> None:
        self._counts[metric][count_index(value_ns // 1000)] += 1

    # --------------------------------------------------------------------------------- other protocols

    def deliver(self, slot: int, version: int, arrived_ns: int) -> None:
        """Somebody else's change arrived as this version: judge its order, and time it."""
        user = self._users[slot]
        self.deliveries += 1
        self._advance(slot, user, version)
        self._arrive(user.document, version, arrived_ns)

    def arrived(self, slot: int, version: int, arrived_ns: int) -> None:
        """The same without the rule of order, which somebody else looks after (see `blame`)."""
        self.deliveries += 1
        self._arrive(self._users[slot].document, version, arrived_ns)

    def step(self, slot: int, version: int) -> None:
        """The user's own change became this version: judge its order."""
        self._advance(slot, self._users[slot], version)

    def follow(self, slot: int, version: int) -> None:
        """The user has the whole state as of this version."""
        self._users[slot].version = version

    def blame(self, kind: int, slot: int, expected: int, got: int, times: int = 1) -> None:
        """Count a fault that was found outside; with `times` below 0 it is taken back."""
        self.fault_counts[kind] = self.fault_counts.get(kind, 0) + times
        if times > 0 and len(self.faults) < FAULTS_MAX:
            self.faults.append((kind, slot, expected, got))

    # ---------------------------------------------------------------------------------------- results

    def version(self, slot: int) -> int:
        """The newest version that the user saw."""
        return self._users[slot].version

    def missing(self, slot: int) -> int:
        """How many skipped versions never came."""
        return len(self._users[slot].missing)

    def lacks(self, slot: int, version: int) -> bool:
        """Whether the user skipped this version, and it hasn't come since."""
        return version in self._users[slot].missing

    def acknowledge(self, slot: int, number: int, version: int, arrived_ns: int) -> tuple[int, bytes] | None:
        """Note an acknowledgement; returns (number, the submission), or None when it isn't in flight."""
        user = self._users[slot]
        flight = user.flights.pop(number, None)
        if flight is None:
            return None
        document, (intended_ns, payload) = user.document, flight
        entry = document.entries.get(version)
        absurd = not 0 < version <= document.head + VERSIONS_AHEAD_MAX
        if absurd or (entry is not None and entry[1:] != (slot, number)):
            self._fault(TWICE_ACKNOWLEDGED, slot, user, version)
        else:
            document.head = max(document.head, version)
            document.entries[version] = Entry(intended_ns, slot, number)
            self._time(document, version, intended_ns, arrived_ns)
        return number, payload

    def _time(self, document: _Document, version: int, intended_ns: int, arrived_ns: int) -> None:
        waited = [arrived for other, arrived in document.arrivals if other == version]
        if waited:
            document.arrivals = [arrival for arrival in document.arrivals if arrival[0] != version]
        if intended_ns > 0:
            self._record("ack", arrived_ns - intended_ns)
            for arrived in waited:
                self._record("delivery", arrived - intended_ns)

    def refuse(self, slot: int, number: int) -> tuple[int, bytes] | None:
        """Take a refused submission out of flight: (intended_ns, payload), or None."""
        return self._users[slot].flights.pop(number, None)

    def in_flight(self, slot: int) -> list[tuple[int, int, bytes]]:
        """(number, intended_ns, payload) of what was submitted and not answered, oldest first."""
        return [(number, *flight) for number, flight in self._users[slot].flights.items()]

    def oldest(self, slot: int) -> int:
        """The lowest number in flight; 0 where nothing is."""
        return min(self._users[slot].flights, default=0)

    def take_spool(self, slot: int) -> list[tuple[bytes, tuple[int, bytes] | None]]:
        """A replica's messages since the last call."""
        user = self._users[slot]
        spool, user.spool = user.spool, []
        self.spooled_bytes -= sum(len(payload) for payload, _ in spool)
        return spool

    def untimed(self) -> int:
        """Deliveries whose operation was never acknowledged."""
        return sum(len(document.arrivals) for document in self._documents)

    def ledger(self, document: int) -> list[tuple[int, int, int]]:
        """(version, slot, number) of every acknowledged submission, by version."""
        entries = self._documents[document].entries
        return [(version, entries[version].user, entries[version].number) for version in sorted(entries)]

    def take_counts(self, metric: str) -> bytes:
        """The histogram since the last call: COUNTS native 64-bit counts (see `loadtest.histogram`)."""
        counts, self._counts[metric] = self._counts[metric], [0] * COUNTS
        return array("q", counts).tobytes()
