"""The sockets of an engine: WebSocket frames in, WebSocket frames out. See `pure`."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import Any

import orjson

from loadtest.engine.judge import (
    CLOSED,
    ID_DIGITS_MAX,
    MALFORMED,
    MESSAGE,
    OPENED,
    REJECTED,
    VERSION_MAX,
    Client,
    Event,
    Judge,
)
from loadtest.engine.wire import (
    ACCEPTED,
    BY_ITSELF,
    COMPRESSED,
    CONTROL,
    deflated,
    frame_at,
    inflated,
    masked_frame,
)

EVENTS_MAX = 256
RECEIVE_BYTES = 1 << 18


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(body: dict[str, Any], name: str) -> int:
    """A version, or a number like one; -1 where there is none."""
    value: object = body.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= VERSION_MAX:
        return value
    return -1


def _part(body: dict[str, Any]) -> int:
    """Which part of a change it is."""
    part = body.get("part")
    first = part[0] if isinstance(part, list) and part else 1
    return first if isinstance(first, int) else 1


class Sockets(Judge):
    """The sockets of one process's users."""

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll()
        self._slots: dict[int, int] = {}
        self._events: list[Event] = []
        self.presences = self.messages = 0
        self.bytes_received = self.bytes_sent = self.reads = 0
        self.compressed_messages = self.compressed_bytes_received = self.compressed_bytes_sent = 0
        self.inflated_bytes = 0
        self.raw = False
        self.opcode = 1

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int:
        """The epoll descriptor: readable when `poll` has something to do."""
        return self._epoll.fileno()

    # ------------------------------------------------------------------------------------------ connections

    def attach(self, slot: int, fd: int, request: bytes) -> None:
        """Take over a connecting descriptor; `request`, the handshake, is sent once it is connected."""
        user = self._users[slot]
        user.fd, user.phase, user.partial, user.out = fd, "connecting", b"", bytearray(request)
        user.paused, user.wants_write, user.fragments, user.compressed = False, True, None, False
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        self._slots[fd] = slot

    def detach(self, slot: int) -> None:
        """Forget a user's descriptor. Submissions stay in flight."""
        user = self._users[slot]
        if user.fd >= 0:
            self._slots.pop(user.fd, None)
            self._epoll.unregister(user.fd)
        user.fd, user.phase, user.partial, user.out = -1, "none", b"", bytearray()
        user.allowed = False

    def compressed(self, slot: int) -> bool:
        """Whether the user's connection (the last one, where it has none) has permessage-deflate."""
        return self._users[slot].compressed

    def pause(self, slot: int, paused: bool) -> None:
        """Stop reading a socket (a slow reader), or go on."""
        user = self._users[slot]
        if user.fd >= 0:
            user.paused = paused
            self._watch(user)

    def _watch(self, user: Client) -> None:
        reading = 0 if user.paused else select.EPOLLIN
        self._epoll.modify(user.fd, reading | (select.EPOLLOUT if user.wants_write else 0))

    # ---------------------------------------------------------------------------------------------- sending

    def submit(self, slot: int, number: int, intended_ns: int, payload: bytes) -> None:
        """Send an operation whose answer is awaited.

        Without a connection it only goes into flight: see `in_flight`.
        """
        user = self._users[slot]
        user.flights[number] = (intended_ns, payload)
        if user.phase == "open":
            self._send_frame(user, self.opcode, payload)

    def send(self, slot: int, payload: bytes, opcode: int = 0) -> None:
        """Send a message that nobody waits for; nothing happens without a connection."""
        user = self._users[slot]
        if user.phase == "open":
            self._send_frame(user, opcode or self.opcode, payload)

    def _send_frame(self, user: Client, opcode: int, payload: bytes) -> None:
        compressed = user.compressed and opcode < CONTROL
        frame = masked_frame(opcode, deflated(payload) if compressed else payload, user.mask, compressed)
        self.bytes_sent += len(frame)
        self.compressed_bytes_sent += len(frame) if user.compressed else 0
        sent = 0 if user.out else self._write(user, frame)
        if sent < len(frame):
            user.out += frame[sent:]
            user.wants_write = True
            self._watch(user)

    @staticmethod
    def _write(user: Client, data: bytes | bytearray) -> int:
        try:
            with socket.socket(fileno=os.dup(user.fd)) as sock:
                return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return 0

    def _flush(self, user: Client) -> None:
        del user.out[: self._write(user, user.out)]
        if not user.out:
            user.wants_write = False
            self._watch(user)

    # ---------------------------------------------------------------------------------------------- reading

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

    def _serve(self, slot: int, user: Client, flags: int) -> None:
        broken = flags & (select.EPOLLERR | select.EPOLLHUP)
        if flags & select.EPOLLOUT:
            if user.phase == "connecting" and not broken:
                user.phase = "upgrading"
            if user.out and user.phase != "connecting":
                self._flush(user)
        if broken or (flags & select.EPOLLIN and not user.paused):
            self._receive(slot, user)

    def _receive(self, slot: int, user: Client) -> None:
        try:
            data = os.read(user.fd, RECEIVE_BYTES)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                self._end(slot, 1006, os.strerror(error.errno or 0).encode(), time.monotonic_ns())
            return
        now = time.monotonic_ns()
        if not data:
            self._end(slot, 1006, b"", now)
            return
        got, data = len(data), user.partial + data
        if user.phase == "open":
            self._got(user, got)
            used = self._frames(slot, user, data, 0, now)
        else:
            used = self._upgrade(slot, user, data, now)
        user.partial = data[used:] if user.fd >= 0 else b""

    def _got(self, user: Client, size: int) -> None:
        self.bytes_received += size
        self.compressed_bytes_received += size if user.compressed else 0

    def _end(self, slot: int, code: int, reason: bytes, now: int) -> None:
        self.detach(slot)
        self._events.append((slot, CLOSED, (code, reason), now))

    def _upgrade(self, slot: int, user: Client, data: bytes, now: int) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        answer = data[:end]
        accepted = ACCEPTED.search(answer)
        if not answer.startswith(b"HTTP/1.1 101"):
            return self._reject(slot, answer, data, now)
        if accepted and BY_ITSELF not in accepted[1].lower():
            return self._reject(slot, b"permessage-deflate without " + BY_ITSELF, data, now)
        user.phase, user.compressed = "open", bool(accepted)
        self._events.append((slot, OPENED, answer, now))
        self._got(user, len(data) - end - 4)
        return self._frames(slot, user, data, end + 4, now)

    def _reject(self, slot: int, why: bytes, data: bytes, now: int) -> int:
        self._events.append((slot, REJECTED, why, now))
        self._end(slot, 1006, b"handshake refused", now)
        return len(data)

    def _frames(self, slot: int, user: Client, data: bytes, at: int, now: int) -> int:
        while user.fd >= 0 and len(data) - at >= 2:
            if data[at + 1] & 0x80 or data[at] & 0x70 & ~self._flags(user, data[at]):
                self._broken(slot, user, 1002, b"frame", now)
                return len(data)
            frame = frame_at(data, at)
            if frame is None:
                break
            first, start, at = frame
            self._frame(slot, user, first, data[start:at], now)
        return at

    def _flags(self, user: Client, first: int) -> int:
        """The reserved bits that a frame may have."""
        return COMPRESSED if user.compressed and first & 15 == self.opcode else 0

    def _broken(self, slot: int, user: Client, code: int, reason: bytes, now: int) -> None:
        self._fault(MALFORMED, slot, user, -1)
        self._end(slot, code, reason, now)

    def _frame(self, slot: int, user: Client, first: int, payload: bytes, now: int) -> None:
        opcode, inflates = first & 15, bool(first & COMPRESSED)
        if opcode == self.opcode and first & 0x80:
            self._whole(slot, user, payload, inflates, now)
        elif opcode == 9:
            self._send_frame(user, 10, payload)
        elif opcode == 8:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            if code != 1005:
                self._send_frame(user, 8, payload[:2])
            self._end(slot, code, payload[2:], now)
        elif opcode == self.opcode:
            user.fragments, user.inflates = [payload], inflates
        elif opcode == 0 and user.fragments is not None:
            user.fragments.append(payload)
            if first & 0x80:
                whole, user.fragments = b"".join(user.fragments), None
                self._whole(slot, user, whole, user.inflates, now)
        elif opcode != 10:
            self._fault(MALFORMED, slot, user, -1)

    def _whole(self, slot: int, user: Client, payload: bytes, inflates: bool, now: int) -> None:
        """A message as it was sent."""
        data = inflated(payload) if inflates else payload
        if data is None:
            self._broken(slot, user, 1007, b"compressed", now)
            return
        if user.compressed:
            self.compressed_messages += 1
            self.inflated_bytes += len(data)
        self._message(slot, user, data, now)

    # --------------------------------------------------------------------------------------------- messages

    def _message(self, slot: int, user: Client, payload: bytes, now: int) -> None:
        self.messages += 1
        if self.raw:
            self._events.append((slot, MESSAGE, (payload, user.version), now))
            return
        try:
            message = orjson.loads(payload)
            kind, body = str(message["type"]), _table(message.get("payload"))
        except (AttributeError, ValueError, KeyError, TypeError):
            self._fault(MALFORMED, slot, user, -1)
            return
        if kind in ("OP_BROADCAST", "OP_ACK") and _count(body, "version") < 0:
            self._fault(MALFORMED, slot, user, -1)
        elif kind == "OP_BROADCAST":
            if _part(body) <= 1:  # the other parts of a plain client's change come with the first
                self.deliver(slot, body["version"], now)
            self._keep(user, payload, None)
        elif kind == "OP_ACK":
            self.acks += 1
            self._acknowledgement(slot, user, payload, body, now)
        elif kind.startswith("PRESENCE_"):
            self.presences += 1
            position = _count(_table(body.get("cursor")), "position")
            if kind == "PRESENCE_UPDATE" and position >= 0:
                self._moved(user, str(body.get("session_id", "")), position, now)
        else:
            self._other(slot, user, kind, body, payload, now)

    def _moved(self, user: Client, session: str, position: int, now: int) -> None:
        """A cursor was told. One that is told again, or moved before this client came, isn't timed."""
        due_ns = self.zero_ns + 1000 * position
        if due_ns >= user.joined_ns and user.moved.get(session) != position:
            self._record("presence", now - due_ns)
        user.moved[session] = position

    def _acknowledgement(
        self, slot: int, user: Client, payload: bytes, body: dict[str, Any], now: int
    ) -> None:
        version, ident = body["version"], str(body.get("id") or "")
        if not body.get("duplicate"):
            self._advance(slot, user, version)
        number = int(ident) if ident.isascii() and ident.isdigit() and len(ident) <= ID_DIGITS_MAX else -1
        self._keep(user, payload, self.acknowledge(slot, number, version, now))

    def _other(
        self, slot: int, user: Client, kind: str, body: dict[str, Any], payload: bytes, now: int
    ) -> None:
        before = user.version
        if kind == "SUBSCRIBE_ACK":
            user.version = _count(body, "version")
            user.moved, user.joined_ns = {}, now
        elif kind == "SYNC_RESPONSE":
            user.version = _count(body, "current_version")
        if kind in ("SUBSCRIBE_ACK", "SYNC_RESPONSE"):
            self._keep(user, payload, None)
        self._events.append((slot, MESSAGE, (payload, before), now))
