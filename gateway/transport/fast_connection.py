"""One client's socket in the fast transport.

A connection goes through HANDSHAKE, OPEN and CLOSING to GONE. The shared poller calls `ready`, which reads,
decodes and hands messages to the session without any task switch; the connection's own `ConnectionTask`
holds its lifetime, awaits what `Session.receive` wants awaited (the socket isn't read meanwhile), and tells
the session at the very end that it is over.

Writing: frames go to the connection's slot of the fan-out kernel. What the kernel refuses comes back as a
report, lands in the outbox and is written from there whenever the socket can take more; until the outbox is
idle again the slot stays blocked, so everything newer queues behind it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

import trio

from _speedups import frames
from _speedups.fanout import FULL, QUEUED, REFUSED, Frame
from gateway.ports import Ack, Rejection, Session
from gateway.transport import fast_compression, upgrade
from gateway.transport.fast_loop import READ, WRITE, read_some, shut_down_writing
from gateway.transport.outbox import Outbox

if TYPE_CHECKING:
    from gateway.transport.connection_task import ConnectionTask
    from gateway.transport.fast import FastGroup, TransportContext

logger = logging.getLogger(__name__)

# Buffers of one gathering write (the kernel's IOV_MAX is 1024).
BUFFERS_MAX = 256
CLOSE_INTERNAL = 1011
CLOSE_SLOW = 4429
ABNORMAL = 1006

PING = Frame(frames.encode(frames.PING, b""))

# What a connection goes through.
HANDSHAKE, OPEN, CLOSING, GONE = range(4)

TEXT = frames.TEXT


class FastConnection:
    """Implements `gateway.ports.Connection` over one accepted descriptor."""

    __slots__ = (
        "_awaiting", "_close_code", "_decoder", "_fd", "_head", "_heard", "_later", "_outbox",
        "_ping_s", "_progress_s", "_session", "_shared", "_state", "_unanswered_s", "due_s", "form",
        "groups", "handle", "remote", "task", "work"
    )  # fmt: skip

    def __init__(self, fd: int, remote: str, task: ConnectionTask, shared: TransportContext) -> None:
        self.remote = remote
        self.handle = shared.slots.add(fd)
        self.form = 0  # how frames are encoded: 0 plain, else compressed with a window of 8 + form bits
        self.groups: tuple[FastGroup, ...] = ()
        self.due_s: float | None = None
        self._fd = fd
        self._shared = shared
        self._state = HANDSHAKE
        self._head: bytes | None = b""  # of the handshake, until it is whole
        self._decoder: frames.Decoder | None = None
        self._session: Session | None = None
        self._outbox: Outbox | None = None
        self.task = task
        self.work: Awaitable[None] | None = None
        self._awaiting: trio.CancelScope | None = None
        self._later: list[frames.Event] | None = None  # events after the one that is awaited
        self._heard = True
        self._progress_s = self._ping_s = self._unanswered_s = 0.0
        self._close_code: int | None = ABNORMAL
        shared.poller.watch(fd, READ, self)

    # ------------------------------------------------------------------------------ lifetime

    @property
    def gone(self) -> bool:
        """Whether the socket is closed."""
        return self._state == GONE

    def begin(self) -> None:
        """The socket was just accepted: when many wait, their requests are here already."""
        self.ready(READ)
        if self._state == HANDSHAKE:
            shared = self._shared
            shared.sweep.at(shared.poller.now_s + shared.timeouts.upgrade_timeout_s, self)

    def end(self) -> None:
        """The very end, called by the task: the session is told."""
        self._drop()
        session, self._session = self._session, None
        if session is not None:
            session.closed()

    async def await_work(self, work: Awaitable[None]) -> None:
        """Await what `receive` returned; a lost socket cancels it."""
        with trio.CancelScope() as self._awaiting:
            try:
                await work
            except Exception:
                self._broken("awaiting a message")
        self._awaiting = self.work = None
        try:
            self._resume()
        except Exception:
            self._broken("handling a message")

    def _wake(self) -> None:
        if self._awaiting is not None:
            self._awaiting.cancel()
        else:
            self.task.wake()

    def _drop(self) -> None:
        """Leave every list and close the descriptor; idempotent. The task then tells the session."""
        if self._state != GONE:
            self._close_socket()
            self._wake()

    def _peer_left(self) -> None:
        """The same, for the poller's calls that have nothing of the session on their stack."""
        if self._state != GONE:
            self._close_socket()
            if self.work is not None or not self.task.vacate():
                self._wake()

    def _close_socket(self) -> None:
        self._state = GONE
        for group in self.groups:
            group.discard(self)
        self._shared.forget(self, self._close_code)
        if self._outbox is not None:
            self._outbox.discard()
        self._shared.slots.remove(self.handle)
        self._shared.poller.end(self._fd)
        self._shared.sweep.cancel(self)
        self._outbox = self._later = self._decoder = self._head = None

    def _broken(self, doing: str) -> None:
        """A bug of ours: it ends this connection and nothing else."""
        logger.exception("connection %s: error while %s", self.remote, doing)
        self._shared.counters.internal_errors += 1
        self.close(CLOSE_INTERNAL, "internal error")

    # ------------------------------------------------------------------------------ readiness

    def ready(self, flags: int) -> None:
        """The poller says that the socket can be read or written, or that the peer is gone."""
        try:
            if self._outbox is not None and flags & ~READ:
                self._drain()
            if flags & ~WRITE and self._later is None and self.work is None and self._state != GONE:
                self._read()
        except Exception:
            self._broken("handling the socket")

    def _read(self) -> None:
        if self._decoder is None:
            self._read_undecoded()
            return
        try:
            events = self._decoder.receive(self._fd)
        except OSError:
            self._peer_left()
            return
        if events is not None:
            self._heard = True
            self._handle(events)

    def _handle(self, events: list[frames.Event]) -> None:
        for index, event in enumerate(events):
            if event[0] == TEXT:
                if self._state == OPEN:
                    self._receive(event[1])
            else:
                self._handle_other(event)
            if self._state == GONE:
                return
            if self.work is not None or (self._outbox is not None and self._congested()):
                self._later = events[index + 1 :]
                self._watch()
                return

    def _receive(self, payload: bytes) -> None:
        """Give the session a message; our task awaits it where that is asked for."""
        assert self._session is not None
        counters = self._shared.counters
        counters.messages_received += 1
        counters.bytes_received += len(payload)
        self.work = self._session.receive(payload)
        if self.work is not None:
            self._wake()

    def _congested(self) -> bool:
        return self._outbox is not None and self._outbox.congested and self._state == OPEN

    def _resume(self) -> None:
        """What held up the reading is over: go on with the events after it, then with the socket."""
        later, self._later = self._later, None
        if later:
            self._handle(later)
        self._watch()

    def _handle_other(self, event: frames.Event) -> None:
        """Everything but text."""
        if event[0] == frames.EOF:
            self._peer_left()
        elif event[0] == frames.CLOSE:
            self._answer_close(event[1][0])
        elif self._state != OPEN:
            if event[0] == frames.FAIL:
                self._drop()
        elif event[0] == frames.PING:
            self.send_frame(Frame(frames.encode(frames.PONG, event[1])))
        elif event[0] == frames.BINARY:
            self._shared.counters.messages_received += 1
            self._shared.counters.bytes_received += len(event[1])
            self.receive_binary(event[1])
        elif event[0] == frames.FAIL:
            self.close(*event[1])
            self._shut_down_writing()

    def receive_binary(self, payload: bytes) -> None:
        """A binary message, which the gateway's protocol doesn't have."""
        assert self._session is not None
        self._session.receive_binary()

    # ------------------------------------------------------------------------------ handshake

    def _read_undecoded(self) -> None:
        """Read a handshake, or throw away what follows one that was refused."""
        data = read_some(self._fd)
        if data == b"":
            self._peer_left()
        elif data is not None and self._head is not None:
            self._take_head(self._head, data)

    def _take_head(self, before: bytes, data: bytes) -> None:
        head = before + data
        end = head.find(b"\r\n\r\n", max(0, len(before) - 3)) + 4
        bytes_max = self._shared.limits.upgrade_bytes_max
        if 4 <= end <= bytes_max:
            self._shake_hands(head[:end], head[end:])
        elif len(head) > bytes_max:
            self._refuse(Rejection(431, f"the request's headers are longer than {bytes_max} bytes", {}))
        else:
            self._head = head

    def _shake_hands(self, head: bytes, rest: bytes) -> None:
        decision = self._shared.decide(head, self.remote)
        if isinstance(decision, Rejection):
            self._refuse(decision)
            return
        self._open(decision)
        if rest and self._decoder is not None:
            self._handle(self._decoder.feed(rest))

    def _open(self, accepted: upgrade.Accepted) -> None:
        """Answer 101, in one write with whatever the session sends at once."""
        shared, shake = self._shared, accepted.handshake
        window_bits, extension = 0, ""
        if shared.compression:
            window_bits, extension = fast_compression.agree(shake.request.headers)
        self._begin(window_bits - 8 if window_bits else 0)
        answer = upgrade.acceptance(shake.key, accepted.admission.subprotocol, extension)
        shared.slots.post(self.handle, Frame(answer))
        self._session = accepted.admission.open(self)
        shared.flusher.wake()

    def _begin(self, form: int) -> None:
        """It is a WebSocket from now on, whose frames are encoded like this."""
        shared = self._shared
        self._head = None
        self._decoder = frames.Decoder(shared.limits.frame_bytes_max, deflate=bool(form))
        if form:  # the slot was opened before it was known
            self.form = form
            shared.slots.remove(self.handle)
            self.handle = shared.slots.add(self._fd, form)
        self._state = OPEN
        self._ping_s = shared.poller.now_s + shared.timeouts.ping_interval_s
        shared.sweep.at(self._ping_s, self)
        shared.remember(self)

    def _refuse(self, rejection: Rejection) -> None:
        self._shared.counters.connections_rejected[str(rejection.status)] += 1
        self._state = CLOSING
        self._head = None
        self._shared.slots.post(self.handle, Frame(upgrade.refusal(rejection)))
        self._begin_closing()
        self._shut_down_writing()

    # ------------------------------------------------------------------------------ sending

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        """See `gateway.ports.Connection.send`."""
        if self._state == OPEN:
            counters = self._shared.counters
            counters.messages_sent += 1
            counters.bytes_sent += len(payload)
            self.send_frame(Frame(self._shared.encode(payload, self.form), topic, droppable, ack))

    def send_frame(self, frame: Frame) -> None:
        """Write or queue an encoded frame, in order."""
        shared = self._shared
        if shared.flusher.load.interval_s:
            status = shared.slots.post(self.handle, frame)
        else:
            status = shared.slots.send(self.handle, frame)
        if status == QUEUED:
            shared.flusher.wake()
        elif status == FULL:
            self._flush_now()
        elif status == REFUSED:
            self.enqueue((frame,))

    def enqueue(self, queue: Sequence[Frame], offset: int = 0) -> None:
        """Put frames into the outbox; the first `offset` bytes of the first one are written already."""
        if self._state == GONE:
            return
        if self._outbox is None:
            self._outbox = Outbox(self._shared.limits.outbox_bytes_max, self._shared.counters)
            self._make_progress()
        fits = True
        for frame in queue:
            fits &= self._outbox.push(frame.data, frame.topic, frame.droppable, frame.ack, offset)
            offset = 0
        self._watch()
        if not fits and self._state == OPEN:
            self._give_up()

    def enqueue_published(self, queue: Sequence[Frame]) -> None:
        """What a group published while the slot was blocked."""
        if self._state == OPEN:
            self.enqueue(queue)

    def _flush_now(self) -> None:
        report = self._shared.slots.flush_one(self.handle)
        if report is not None:
            self.take_report(report[1], report[2], report[3])

    def take_report(self, error: int, queue: list[Frame], offset: int) -> None:
        """The kernel didn't take these frames: the socket is full (`error` 0) or broken."""
        if error:
            self._drop()
        else:
            self.enqueue(queue, offset)

    # ------------------------------------------------------------------------------ the outbox

    def _drain(self) -> None:
        """Write from the outbox until the socket is full again or the outbox idle."""
        outbox = self._outbox
        assert outbox is not None
        while self._refilled(outbox):
            try:
                written = os.writev(self._fd, outbox.buffers(BUFFERS_MAX))
            except BlockingIOError:
                break
            except OSError:
                self._drop()
                return
            outbox.advance(written)
            self._make_progress()
        if outbox.idle or (self._state == CLOSING and not len(outbox)):
            self._outbox = None
            if self._state == OPEN:
                self._shared.slots.unblock(self.handle)
            elif self._decoder is None or self._decoder.ended:  # nothing that we read matters any more
                self._shut_down_writing()
        if self._later is not None and self.work is None and not self._congested():
            self._resume()
        else:
            self._watch()

    def _refilled(self, outbox: Outbox) -> bool:
        """Whether there is something to write, a stale topic's state included."""
        if self._state != OPEN:
            return len(outbox) > 0
        assert self._session is not None
        session, encode, form = self._session, self._shared.encode, self.form

        def framed(payload: bytes | None) -> bytes | None:
            return None if payload is None else encode(payload, form)

        return (
            outbox.refill(
                lambda topic, acks: framed(session.resync(topic, acks)),
                lambda topic: framed(session.presence_state(topic)),
            )
            or len(outbox) > 0
        )

    def _make_progress(self) -> None:
        self._progress_s = trio.current_time()
        due_s = self._progress_s + self._shared.timeouts.stall_timeout_s
        if self._state == OPEN and (self.due_s is None or self.due_s > due_s):
            self._shared.sweep.at(due_s, self)

    def _watch(self) -> None:
        """Watch for what matters now: the socket isn't read while a message is awaited or answers pile up."""
        if self._state == GONE:
            return
        reading = self.work is None and not self._congested()
        flags = (READ if reading else 0) | (WRITE if self._outbox is not None else 0)
        self._shared.poller.watch(self._fd, flags, self)

    # ------------------------------------------------------------------------------ closing

    def close(self, code: int, reason: str) -> None:
        """See `gateway.ports.Connection.close`."""
        if self._state != OPEN:
            return
        self._close_code = code
        self._last_frame(Frame(frames.encode(frames.CLOSE, frames.close_payload(code, reason))))

    def _give_up(self) -> None:
        """A reader too slow to be helped: all that isn't begun is thrown away."""
        assert self._outbox is not None
        self._outbox.clear()
        self.close(CLOSE_SLOW, "too slow to read")

    def _answer_close(self, code: int) -> None:
        """The peer's close frame: answer it unless it is the answer to ours; then it is over."""
        if self._state == OPEN:
            self._close_code = code
            payload = b"" if code == 1005 else frames.close_payload(code)
            self._last_frame(Frame(frames.encode(frames.CLOSE, payload)))
        if self._outbox is None:
            self._peer_left()

    def _last_frame(self, frame: Frame) -> None:
        if self._shared.slots.post(self.handle, frame) == REFUSED:
            assert self._outbox is not None
            self._state = CLOSING
            self._outbox.push(frame.data)
        self._begin_closing()

    def _begin_closing(self) -> None:
        """Write what is queued; nothing may follow it. The rest is bounded in time."""
        self._state = CLOSING
        self._later = None
        self._flush_now()
        if self._state != GONE:
            self._shared.slots.block(self.handle)
            self._shared.sweep.at(trio.current_time() + self._shared.timeouts.close_timeout_s, self)
            self._watch()

    def _shut_down_writing(self) -> None:
        """Send our FIN and go on reading, so that unread input doesn't reset what we wrote last."""
        if self._state != GONE and self._outbox is None and not shut_down_writing(self._fd):
            self._drop()

    # ------------------------------------------------------------------------------ timers

    def check(self, now_s: float) -> None:
        """The sweep's call: handshake or close overdue, reader stalled, time for a ping."""
        try:
            if self._state == HANDSHAKE:
                self._refuse(Rejection(408, "the handshake took too long", {}))
            elif self._state == CLOSING:
                self._drop()
            elif self._state == OPEN:
                self._check_open(now_s)
        except Exception:
            self._broken("checking its timers")

    def _check_open(self, now_s: float) -> None:
        stall_s = self._progress_s + self._shared.timeouts.stall_timeout_s
        if self._outbox is not None and now_s >= stall_s:
            self._shared.counters.slow_closes += 1
            self._give_up()
            return
        if now_s >= self._ping_s:
            self._ping(now_s)
        if self._state == OPEN:
            due_s = self._ping_s if self._outbox is None else min(self._ping_s, stall_s)
            self._shared.sweep.at(due_s, self)

    def _ping(self, now_s: float) -> None:
        """Send a ping; a peer that has left one unanswered for `stall_timeout_s` is gone."""
        timeouts = self._shared.timeouts
        reading = self.work is None and self._outbox is None
        if self._heard or not reading:  # silence proves nothing while nothing is read
            self._unanswered_s = now_s
        elif now_s - self._unanswered_s >= timeouts.stall_timeout_s:
            self._drop()
            return
        self._heard = False
        self._ping_s = now_s + timeouts.ping_interval_s
        if reading:
            self._shared.slots.post(self.handle, PING)
            self._shared.flusher.wake()
