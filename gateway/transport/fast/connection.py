"""One client's WebSocket in the fast transport.

A connection goes from OPEN through CLOSING to GONE. The shared poller calls `ready`, which reads, decodes and
hands messages to the session without any task switch; the connection's own `ConnectionTask` holds its
lifetime, awaits what `Session.receive` wants awaited (the socket isn't read meanwhile), and tells the session
at the very end that it is over.

Writing: frames go to the connection's slot of the fan-out kernel. What the kernel refuses comes back as a
report, lands in the backlog and is written from there whenever the socket can take more; until the backlog is
idle again the slot stays blocked, so everything newer queues behind it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from _speedups import frames
from _speedups.fanout import FULL, QUEUED, REFUSED, Frame
from gateway.ports import Ack, Connection, Group, Session
from gateway.runtime import close_codes
from gateway.runtime.timeslice import turns
from gateway.transport.fast.backlog import Backlog
from gateway.transport.fast.connection_task import TURN_MAX_S, ConnectionTask
from gateway.transport.fast.context import TransportContext
from gateway.transport.fast.loop import READ, WRITE, shut_down_writing
from gateway.transport.strangers import admits

logger = logging.getLogger(__name__)

# Of who goes on sending after our close frame so much is read at a time; a message counts as more than its
# bytes.
IGNORED_BYTES_MAX = 64 << 10
IGNORED_MESSAGE_BYTES = 128

# So many messages that came with an edit that is turned away, of so many bytes, are looked at together.
# Nobody else has a turn meanwhile.
AWAY_MAX = 64
AWAY_BYTES_MAX = 16 << 10

PING = Frame(frames.encode(frames.PING, b""))

# What a connection goes through.
OPEN, CLOSING, GONE = range(3)

TEXT = frames.TEXT


class FastConnection:
    """Implements `gateway.ports.Connection` over a descriptor whose handshake was accepted."""

    __slots__ = (
        "_awaiting", "_backlog", "_close_code", "_decoder", "_fd", "_heard", "_ignored_bytes", "_known",
        "_later", "_ping_s", "_pings", "_rests", "_session", "_shared", "_state", "_turned_away",
        "_unanswered_s", "_unfinished", "_unknown_messages", "due_s", "form", "groups", "handle", "remote",
        "task", "work",
    )  # fmt: skip

    def __init__(
        self, fd: int, remote: str, form: int, task: ConnectionTask, shared: TransportContext
    ) -> None:
        self.remote = remote
        self.handle = shared.slots.add(fd, form)
        self.form = form  # how frames are encoded: 0 plain, else compressed with a window of 8 + form bits
        self.groups: dict[Group, None] = {}
        self.due_s: float | None = None
        self._fd = fd
        self._shared = shared
        self._state = OPEN
        self._decoder: frames.Decoder | None = frames.Decoder(
            shared.limits.frame_bytes_max, deflate=bool(form)
        )
        self._session: Session | None = None
        self._backlog: Backlog | None = None
        self.task = task
        self.work: Awaitable[None] | None = None
        self._awaiting: trio.CancelScope | None = None
        self._later: list[frames.Event] | None = None  # events after the one that is awaited
        self._heard = True
        self._pings = 0  # ours that no pong has answered
        self._rests = False
        self._turned_away = False  # an edit of the message that is handled
        self._known = False  # what the session said last
        self._unknown_messages = 0
        self._ignored_bytes = 0
        self._unfinished = False  # whether some of a message is held
        self._ping_s = shared.poller.now_s + shared.timeouts.ping_interval_s
        self._unanswered_s = 0.0
        self._close_code: int | None = close_codes.ABNORMAL
        task.connection = self
        shared.remember(self)
        shared.sweep.at(self._ping_s, self)
        shared.poller.watch(fd, READ, self)

    # ------------------------------------------------------------------------------ lifetime

    @property
    def gone(self) -> bool:
        """Whether the socket is closed."""
        return self._state == GONE

    def begin(self, answer: bytes, open_session: Callable[[Connection], Session], rest: bytes) -> None:
        """Answer the handshake, in one write with whatever the session sends at once.

        `rest` came after the request.
        """
        try:
            self._shared.slots.post(self.handle, Frame(answer))
            self._session = open_session(self)
            self._shared.flusher.wake()
            if rest:
                self._read_early(rest)
        except Exception:
            self._broken("opening it")

    def _read_early(self, rest: bytes) -> None:
        """What came before the handshake was answered, which no client should send: no more than one read
        takes."""
        if self._decoder is None:
            return
        if len(rest) > self._decoder.read_bytes_max:
            self._decoder.abandon()
            self.close(close_codes.BROKEN_FRAMES, "messages were sent before the handshake was answered")
            self._shut_down_writing()
            return
        began_s = time.perf_counter()
        self._decoded(self._decoder.feed(rest), began_s)

    def adopt(
        self, adopted_by: Callable[[Connection], Session], awaited: bytes, later: Sequence[bytes]
    ) -> None:
        """Go on where another worker stopped: with the message that it awaited, and those after it."""
        try:
            self._later = [(frames.TEXT, each) for each in later]
            self._session = adopted_by(self)
            if self._later is not None:  # it isn't closed already
                self.work = self._session.receive(awaited)  # counted where it was read
            if self.work is None:
                self._resume()
            else:
                self._watch()
                self._wake()
        except Exception:
            self._broken("taking it over")

    def unhandled(self, awaited: bytes) -> tuple[int, tuple[bytes, ...]] | None:
        """For another worker: the descriptor, and the messages from the awaited one on.

        None when something holds it here.
        """
        self._flush_now()  # what was queued for it comes before what the other worker writes
        later, decoder = self._later, self._decoder
        if later is None or decoder is None or self._backlog is not None:
            return None  # it is closing, or slow
        texts = [event[1] for event in later if event[0] == frames.TEXT]
        if not decoder.idle or len(texts) < len(later):
            return None
        return self._fd, (awaited, *texts)

    def depart(self) -> None:
        """It is another worker's now. The socket lives on, so its registration doesn't end by itself."""
        self._shared.poller.remove(self._fd)
        self._close_code = None
        self._close_socket()

    def end(self) -> None:
        """The very end, called by the task: the session is told."""
        self._drop()
        work, self.work = self.work, None
        close = getattr(work, "close", None)
        if close is not None:
            close()  # nobody awaited it
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
        for group in tuple(self.groups):
            group.discard(self)
        self._shared.forget(self, self._close_code)
        if self._backlog is not None:
            self._backlog.discard()
        self._shared.slots.remove(self.handle)
        self._shared.poller.end(self._fd)
        self._shared.sweep.cancel(self)
        self._shared.unfinished.hold(self, 0)
        self._backlog = self._later = self._decoder = None

    def _broken(self, doing: str) -> None:
        """A bug of ours: it ends this connection and nothing else."""
        logger.exception("connection %s: error while %s", self.remote, doing)
        self._shared.counters.internal_errors += 1
        self.close(close_codes.INTERNAL, "internal error")

    # ------------------------------------------------------------------------------ readiness

    def ready(self, flags: int) -> None:
        """The poller says that the socket can be read or written, or that the peer is gone."""
        try:
            if self._backlog is not None and flags & ~READ:
                self._drain()
            if flags & ~WRITE and self._later is None and self.work is None and self._state != GONE:
                self._read()
        except Exception:
            self._broken("handling the socket")

    def _read(self) -> None:
        if self._decoder is None:
            return
        began_s = time.perf_counter() if self.form else 0.0
        try:
            events = self._decoder.receive(self._fd)
        except OSError:
            self._peer_left()
            return
        if events is not None:
            self._heard = True
            self._decoded(events, began_s)

    def _decoded(self, events: list[frames.Event], began_s: float) -> None:
        """These were read, since then: inflating is paid for."""
        if self.form and self._session is not None:
            self._session.inflated(time.perf_counter() - began_s)
        self._handle(events)
        if self._decoder is not None and (self._unfinished or self._decoder.buffered_bytes):
            self._bound_unfinished(events, self._decoder.buffered_bytes)

    def _bound_unfinished(self, events: list[frames.Event], buffered: int) -> None:
        """So much is held of a message that has begun: bounded, of a stranger and of all together.

        `events` came before it.
        """
        unfinished = self._shared.unfinished
        if TEXT in [event[0] for event in events]:
            unfinished.hold(self, 0)  # what it held is whole: this is another message
        self._unfinished = buffered > 0
        unfinished.hold(self, buffered)
        if self._state == OPEN and not self._is_known():
            admits(self, self._shared.limits, self._unknown_messages, buffered)

    def let_go(self) -> None:
        """See `unfinished.Holder`."""
        if self._decoder is not None:
            self._decoder.abandon()
        self.close(close_codes.TOO_MUCH, "too many messages have begun and not ended; send it again later")
        self._shut_down_writing()

    def _is_known(self) -> bool:
        if not self._known:
            self._known = self._session is not None and self._session.known
        return self._known

    def _handle(self, events: list[frames.Event]) -> None:
        many = len(events) > 1
        until_s = time.perf_counter() + TURN_MAX_S if many else 0.0
        index = 0  # of the first that isn't handled yet
        while index < len(events):
            event = events[index]
            index += 1
            if event[0] == TEXT:
                if self._state == OPEN:
                    self._turned_away = False
                    self._receive(event[1])
                    if many and self._turned_away and self._state == OPEN:
                        index += self._turn_away_with(events[index : index + AWAY_MAX])
                else:
                    self._ignore(len(event[1]))
            else:
                self._handle_other(event)
            if self._state == GONE:
                return
            if many and self.work is None and time.perf_counter() > until_s:
                self.work = turns().next()
                self._wake()
            if self.work is not None or (self._backlog is not None and self._congested()):
                self._later = events[index:]
                self._watch()
                return

    def _turn_away_with(self, events: list[frames.Event]) -> int:
        """These came with an edit that was turned away: so many of them are, too."""
        texts: list[bytes] = []
        size = 0
        for event in events:
            if event[0] != TEXT:
                break
            size += len(event[1])
            if size > AWAY_BYTES_MAX:
                break
            texts.append(event[1])
        assert self._session is not None
        number = self._session.turn_away(texts)
        counters = self._shared.counters
        counters.messages_received += number
        for text in texts[:number]:
            counters.bytes_received += len(text)
        return number

    def _receive(self, payload: bytes) -> None:
        """Give the session a message; our task awaits it where that is asked for."""
        assert self._session is not None
        if not self._known and not self._admits_of_stranger(len(payload)):
            return
        counters = self._shared.counters
        counters.messages_received += 1
        counters.bytes_received += len(payload)
        self.work = self._session.receive(payload)
        if self.work is not None:
            self._wake()

    def _admits_of_stranger(self, size: int) -> bool:
        """Whether what came, of so many bytes, is taken of who may not have shown yet who it is."""
        if self._is_known():
            return True
        self._unknown_messages += 1
        return admits(self, self._shared.limits, self._unknown_messages, size)

    @property
    def waiting_bytes(self) -> int:
        """See the port."""
        return 0 if self._backlog is None else int(self._backlog.size_bytes)

    def _congested(self) -> bool:
        return self._backlog is not None and self._backlog.congested and self._state == OPEN

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
            else:
                self._ignore(len(event[1]))
        elif event[0] == frames.PING or event[0] == frames.PONG:
            self._receive_control(event)
        elif event[0] == frames.BINARY:
            self.receive_binary(event[1])
        elif event[0] == frames.FAIL:
            self.close(*event[1])
            self._shut_down_writing()

    def receive_binary(self, payload: bytes) -> None:
        """A message that the gateway's protocol doesn't have: it costs what any other does."""
        assert self._session is not None
        if not self._admits_of_stranger(len(payload)):
            return
        self._shared.counters.messages_received += 1
        self._shared.counters.bytes_received += len(payload)
        self.work = self._session.receive_binary(len(payload))
        if self.work is not None:
            self._wake()

    def _receive_control(self, event: frames.Event) -> None:
        """A ping is answered; it costs its user something, as a pong does that answers none of ours."""
        assert self._session is not None
        if event[0] == frames.PONG and self._pings:
            self._pings -= 1
            return
        if not self._admits_of_stranger(0):  # few bytes, by the protocol
            return
        if event[0] == frames.PING:
            self.send_frame(Frame(frames.encode(frames.PONG, event[1])))
        self.work = self._session.receive_control()
        if self.work is not None:
            self._wake()

    def _ignore(self, size: int) -> None:
        """A message of so many bytes came after our close frame: who goes on and on is read slowly."""
        self._ignored_bytes += size + IGNORED_MESSAGE_BYTES
        if self._ignored_bytes > IGNORED_BYTES_MAX:
            self._ignored_bytes = 0
            self._rest()

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

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        """See `gateway.ports.Connection.turn_away`."""
        if self._state != OPEN:
            return
        counters = self._shared.counters
        counters.messages_sent += len(payloads)
        written: list[bytes] = []
        for payload in payloads:
            counters.bytes_sent += len(payload)
            written.append(self._shared.encode(payload, self.form))
        self.send_frame(Frame(b"".join(written)))
        self._turned_away = True
        self._rest()

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
        """Put frames into the backlog; the first `offset` bytes of the first one are written already."""
        if self._state == GONE:
            return
        if self._backlog is None:
            shared = self._shared
            now_s = trio.current_time()
            self._backlog = Backlog(self._fd, shared.limits.outbox_bytes_max, shared.counters, now_s)
            self._expect_progress(self._backlog)
        fits = self._backlog.push_frames(queue, offset)
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

    # ------------------------------------------------------------------------------ the backlog

    def _drain(self) -> None:
        """Write from the backlog until the socket is full again or the backlog idle."""
        backlog = self._backlog
        assert backlog is not None
        try:
            backlog.write(self._filled, trio.current_time())
        except OSError:
            self._drop()
            return
        self._expect_progress(backlog)
        if backlog.idle or (self._state == CLOSING and not len(backlog)):
            self._backlog = None
            if self._state == OPEN:
                self._shared.slots.unblock(self.handle)
            elif self._decoder is None or self._decoder.ended:  # nothing that we read matters any more
                self._shut_down_writing()
        if self._later is not None and self.work is None and not self._congested():
            self._resume()
        else:
            self._watch()

    def _filled(self) -> bool:
        """Whether there is something to write, a stale topic's state included."""
        backlog = self._backlog
        assert backlog is not None
        if self._state != OPEN:
            return len(backlog) > 0
        assert self._session is not None
        session, shared, form = self._session, self._shared, self.form

        def framed(payload: bytes | None) -> bytes | None:
            return None if payload is None else shared.encode(payload, form)

        return (
            backlog.refill(
                lambda topic, acks: framed(session.resync(topic, acks)),
                lambda topic: framed(session.presence_state(topic)),
            )
            or len(backlog) > 0
        )

    def _expect_progress(self, backlog: Backlog) -> None:
        due_s = backlog.progress_s + self._shared.timeouts.stall_timeout_s
        if self._state == OPEN and (self.due_s is None or self.due_s > due_s):
            self._shared.sweep.at(due_s, self)

    def _watch(self) -> None:
        """Watch for what matters now: the socket isn't read while a message is awaited or answers pile up."""
        if self._state == GONE:
            return
        reading = self.work is None and not self._congested() and not self._rests
        flags = (READ if reading else 0) | (WRITE if self._backlog is not None else 0)
        self._shared.poller.watch(self._fd, flags, self)

    # ------------------------------------------------------------------------------ closing

    def _rest(self) -> None:
        """Read nothing for a moment. What was read already is handled."""
        if not self._rests and self._state != GONE:
            self._rests = True
            self._shared.rests.add(self)
            self._watch()

    def rested(self) -> None:
        """Read on."""
        self._rests = False
        self._watch()

    def close(self, code: int, reason: str) -> None:
        """See `gateway.ports.Connection.close`."""
        if self._state != OPEN:
            return
        self._close_code = code
        self._last_frame(Frame(frames.encode(frames.CLOSE, frames.close_payload(code, reason))))

    def _give_up(self) -> None:
        """A reader too slow to be helped: all that isn't begun is thrown away."""
        assert self._backlog is not None
        self._backlog.clear()
        self.close(close_codes.TOO_MUCH, "too slow to read")

    def _answer_close(self, code: int) -> None:
        """The peer's close frame: answer it unless it is the answer to ours; then it is over."""
        if self._state == OPEN:
            self._close_code = code
            payload = b"" if code == close_codes.NO_CODE else frames.close_payload(code)
            self._last_frame(Frame(frames.encode(frames.CLOSE, payload)))
        if self._backlog is None:
            self._peer_left()

    def _last_frame(self, frame: Frame) -> None:
        if self._shared.slots.post(self.handle, frame) == REFUSED:
            assert self._backlog is not None
            self._state = CLOSING
            self._backlog.push(frame.data)
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
        if self._state != GONE and self._backlog is None and not shut_down_writing(self._fd):
            self._drop()

    # ------------------------------------------------------------------------------ timers

    def check(self, now_s: float) -> None:
        """The sweep's call: close overdue, reader stalled, time for a ping."""
        try:
            if self._state == CLOSING:
                self._drop()
            elif self._state == OPEN:
                self._check_open(now_s)
        except Exception:
            self._broken("checking its timers")

    def _check_open(self, now_s: float) -> None:
        backlog, stall_timeout_s = self._backlog, self._shared.timeouts.stall_timeout_s
        if backlog is not None and now_s >= backlog.progress_s + stall_timeout_s:
            self._shared.counters.slow_closes += 1
            self._give_up()
            return
        if now_s >= self._ping_s:
            self._ping(now_s)
        if self._state == OPEN:
            due_s = self._ping_s
            if self._backlog is not None:
                due_s = min(due_s, self._backlog.progress_s + stall_timeout_s)
            self._shared.sweep.at(due_s, self)

    def _ping(self, now_s: float) -> None:
        """Send a ping; a peer that has left one unanswered for `stall_timeout_s` is gone."""
        timeouts = self._shared.timeouts
        reading = self.work is None and self._backlog is None
        if self._heard or not reading:  # silence proves nothing while nothing is read
            self._unanswered_s = now_s
        elif now_s - self._unanswered_s >= timeouts.stall_timeout_s:
            self._drop()
            return
        self._heard = False
        self._ping_s = now_s + timeouts.ping_interval_s
        if reading:
            self._pings += 1
            self._shared.slots.post(self.handle, PING)
            self._shared.flusher.wake()
