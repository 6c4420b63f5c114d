"""One connection of the portable transport: its tasks, its outbox, and how it ends.

Its nursery holds trio-websocket's reader, our reader that calls the session, our writer that empties the
outbox, and pings. It ends when the peer closes or is lost, when the session closes it, or when it stalls;
the session hears of it once, before the socket's last moments.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from gateway.config import Config
from gateway.ports import Ack, Group, Session
from gateway.runtime import close_codes
from gateway.runtime.labels import close_label
from gateway.runtime.metrics import Counters
from gateway.transport.outbox import Outbox
from gateway.transport.portable.heads import PONG, FrameHeads
from gateway.transport.portable.streams import GuardedStream, MeteredStream
from gateway.transport.strangers import admits
from gateway.transport.unfinished import Unfinished
from gateway.transport.upgrade import Accepted

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 16 * 1024
UNCLAIMED_MESSAGES_MAX = 8
"""Bytes read without a whole message, in largest messages: a fragment of one byte costs its sender seven."""


class PortableConnection:
    """One client. Implements `gateway.ports.Connection`; `groups` are the ones it is in."""

    def __init__(
        self, config: Config, counters: Counters, socket: MeteredStream, remote: str, unfinished: Unfinished
    ) -> None:
        self._limits = config.limits
        self._unfinished = unfinished
        self._unknown_messages = 0
        self.remote = remote
        self.groups: set[Group] = set()
        self._timeouts = config.timeouts
        self._message_bytes_max = config.limits.frame_bytes_max
        self._counters = counters
        self._outbox = Outbox(config.limits.outbox_bytes_max, counters)
        self._socket = socket
        self._scope = trio.CancelScope()
        self._wake = trio.Event()  # there is something to write, or a close
        self._unclogged = trio.lowlevel.ParkingLot()  # the reader, while the outbox is congested
        self._closing: tuple[int, str] | None = None
        self._reading = True  # else silence proves nothing
        self._handled = trio.lowlevel.ParkingLot()  # the reader, with a ping, while a message is handled
        self._pinged_at: float | None = None
        self._pings = 0  # ours that no pong has answered
        socket.on_stall = self._stalled

    # ------------------------------------------------------------------------ what a session uses

    @property
    def waiting_bytes(self) -> int:
        """See the port."""
        return self._outbox.size_bytes

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        if self._closing is not None:
            return
        if not self._outbox.push(payload, topic, droppable, ack):
            self._fail("the answers to this client are not read")
        self._wake.set()

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        """It reads on: messages come one by one here."""
        for payload in payloads:
            self.send(payload)

    def close(self, code: int, reason: str) -> None:
        if self._closing is not None:
            return
        self._closing = (code, reason)
        self._scope.deadline = trio.current_time() + self._timeouts.close_timeout_s
        self._wake.set()
        self._unclogged.unpark_all()

    def _fail(self, reason: str) -> None:
        self._counters.slow_closes += 1
        self._outbox.clear()
        self.close(close_codes.TOO_MUCH, reason)

    def _stalled(self) -> None:
        if self._closing is None:
            self._fail(f"nothing was read for {self._timeouts.stall_timeout_s:g} s")

    # ---------------------------------------------------------------------------------- its life

    async def run(self, stream: trio.abc.Stream, accepted: Accepted, rest: bytes) -> None:
        """Serve until either side closes, then part properly; `rest` was read after the request already."""
        self._counters.connections += 1
        guard = GuardedStream(
            stream,
            _plain_request(accepted),
            rest,
            FrameHeads(self._message_bytes_max),
            UNCLAIMED_MESSAGES_MAX * self._limits.unknown_bytes_max + RECEIVE_BYTES,
            self._unfinished,
        )
        with self._scope:
            closing = await self._serve(guard, accepted)
        guard.claim()
        if self._scope.cancelled_caught or self._socket.cut:
            return
        with trio.move_on_after(self._timeouts.close_timeout_s):
            if not guard.close_sent and closing[0] != close_codes.ABNORMAL:
                await guard.say_close(*closing)
            await self._socket.linger()

    async def _serve(self, guard: GuardedStream, accepted: Accepted) -> tuple[int, str]:
        """Returns the close code and reason; after this neither session nor groups know the connection."""
        session: Session | None = None
        ws: WebSocketConnection | None = None
        try:
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(
                    nursery, guard, 0, self._message_bytes_max, RECEIVE_BYTES
                )
                ws = await request.accept(subprotocol=accepted.admission.subprotocol)
                session = accepted.admission.open(self)
                guard.open(partial(self._control, session))
                nursery.start_soon(self._read, ws, session, guard)
                nursery.start_soon(self._ping, ws)
                await self._write(ws, session)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, LocalProtocolError) as group:
            # The latter: a ping that crosses our close frame can't be answered any more.
            logger.debug("%s: %s", self.remote, group.exceptions)
        finally:
            if self._closing is None:
                self._closing = guard.fault or _ended(ws)
            self._leave(session)
        return self._closing

    def _leave(self, session: Session | None) -> None:
        assert self._closing is not None
        for group in tuple(self.groups):
            group.discard(self)
        self._outbox.discard()
        self._counters.connections -= 1
        self._counters.connections_closed[close_label(self._closing[0])] += 1
        if session is not None:
            session.closed()

    async def _read(self, ws: WebSocketConnection, session: Session, guard: GuardedStream) -> None:
        while True:
            try:
                message = await ws.get_message()
            except ConnectionClosed:
                if self._closing is None:
                    raise
                return  # the writer is closing
            guard.claim()
            if session.known:
                guard.unclaimed_bytes_max = UNCLAIMED_MESSAGES_MAX * self._message_bytes_max + RECEIVE_BYTES
            elif not self._admits_of_stranger(len(message)):
                return
            self._reading = False
            await self._take(message, session)
            self._read_on()

    def _read_on(self) -> None:
        self._socket.received_at = trio.current_time()
        self._reading = True
        self._handled.unpark_all()

    def _admits_of_stranger(self, size: int) -> bool:
        self._unknown_messages += 1
        return admits(self, self._limits, self._unknown_messages, size)

    async def _control(self, session: Session, opcode: int) -> None:
        """A ping or a pong costs its user something, but for a pong that answers one of ours."""
        if opcode == PONG and self._pings:
            self._pings -= 1
            return
        while not self._reading:
            await self._handled.park()
        if self._closing is not None or not (session.known or self._admits_of_stranger(0)):
            return
        under_way = session.receive_control()
        if under_way is not None:
            self._reading = False
            await under_way
            self._read_on()

    async def _take(self, message: str | bytes, session: Session) -> None:
        if self._closing is not None:
            return
        payload = message if isinstance(message, bytes | bytearray) else message.encode()
        self._counters.messages_received += 1
        self._counters.bytes_received += len(payload)
        is_binary = payload is message
        under_way = session.receive_binary(len(payload)) if is_binary else session.receive(payload)
        if under_way is not None:
            await under_way
        while self._outbox.congested and self._closing is None:
            await self._unclogged.park()

    async def _write(self, ws: WebSocketConnection, session: Session) -> None:
        while True:
            await self._empty(ws, session)
            if self._closing is not None:
                await ws.aclose(*self._closing)
                return
            self._wake = trio.Event()
            await self._wake.wait()

    async def _empty(self, ws: WebSocketConnection, session: Session) -> None:
        while len(self._outbox) or self._outbox.refill(session.resync, session.presence_state):
            payload = self._outbox.pop()
            assert payload is not None
            if not self._outbox.congested:
                self._unclogged.unpark_all()
            await ws.send_message(payload.decode())
            self._counters.messages_sent += 1
            self._counters.bytes_sent += len(payload)

    async def _ping(self, ws: WebSocketConnection) -> None:
        """Ping, one at a time; a peer that leaves one unanswered and says nothing else is lost."""
        async with trio.open_nursery() as pings:
            while True:
                await trio.sleep(self._timeouts.ping_interval_s)
                if self._pinged_at is None:
                    self._pinged_at = trio.current_time()
                    pings.start_soon(self._await_pong, ws)
                elif self._silent_s(self._pinged_at) >= self._timeouts.stall_timeout_s:
                    self._scope.cancel()

    async def _await_pong(self, ws: WebSocketConnection) -> None:
        self._pings += 1
        await ws.ping()
        self._pinged_at = None

    def _silent_s(self, since: float) -> float:
        if not self._reading or self._closing is not None:
            return 0.0
        return trio.current_time() - max(since, self._socket.received_at)


def _ended(ws: WebSocketConnection | None) -> tuple[int, str]:
    """The code and reason that trio-websocket found, or got."""
    closed = None if ws is None else ws.closed
    return (close_codes.ABNORMAL, "") if closed is None else (closed.code, closed.reason or "")


def _plain_request(accepted: Accepted) -> bytes:
    """The checked request, in the least form that trio-websocket understands."""
    lines = [
        "GET / HTTP/1.1",
        "Host: gateway",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {accepted.handshake.key}",
    ]
    if accepted.admission.subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {accepted.admission.subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
