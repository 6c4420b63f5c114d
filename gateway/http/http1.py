"""The requests of one connection: hypercorn's HTTP/1.1, and what is answered in the application's place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import h11
import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as Incoming
from hypercorn.protocol.events import Event
from hypercorn.protocol.events import Response as Answer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState, H11SendableEvent
from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.http import heads
from gateway.http.headers import secure
from gateway.http.problems import TOLD_LATE_S, Problem, response
from gateway.http.targets import origin_form
from gateway.ports import Rejection

UNREADABLE = (
    "This can't be read as a request of HTTP/1.1: send shorter headers, each in one line, and a body of one "
    "length, or in chunks that say theirs."
)
OFFERED = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"
NO_SOCKETS = "No WebSockets are served at this port: connect to the service port."
# As h11 finds it.
HEAD_END = re.compile(rb"\n\r?\n")
# Where the state of a request has who sends its body.
BODY = "gateway.body"
BODY_HEADERS = frozenset((b"content-length", b"transfer-encoding"))

Client = tuple[str, int]


class Gate(Protocol):
    """Who is asked about each request when its head came."""

    def client_of(self, peer: Client, headers: Headers) -> Client:
        """Whose request it is that this peer brings."""
        ...

    def refused(self, client: Client, method: str, headers: Headers) -> Response | None:
        """The answer to a request that doesn't get to the application."""
        ...


class Waiting(Protocol):
    """A peer that may send its body when it is asked for (RFC 9110 section 10.1.1)."""

    @property
    def waits(self) -> bool:
        """Whether it waits for that."""
        ...

    async def ask(self) -> None:
        """Ask for the body, if it waits for that."""
        ...


class _Requests(h11.Connection):
    """Requests, each of whose heads is read as strictly as the first of a connection to the service port."""

    wrong = ""  # what is wrong with the one that came last

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Never, for hypercorn, which would ask for every body: who reads it does (`Http1.ask`)."""
        return False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """See h11."""
        if self.their_state is h11.IDLE:
            came, _ = self.trailing_data
            empty = heads.begin(came)
            self._receive_buffer.maybe_extract_at_most(empty)
            came = came[empty:]
            if came == b"\r":  # the half of another empty line
                return h11.NEED_DATA
            end = HEAD_END.search(came)
            found = end and heads.read(came[: end.end()])
            if isinstance(found, Rejection):
                self.wrong = found.message
                raise h11.RemoteProtocolError(found.message, error_status_hint=found.status)
        return super().next_event()


class Http1(H11Protocol):
    """HTTP/1.1 and nothing else: an offer to upgrade to HTTP/2 is ignored (RFC 9110 section 7.8).

    A proxy may send a handshake over a connection that had requests: `hand_back` is given it, with what was
    read after it, and the connection is over here.
    """

    def __init__(self, gate: Gate | None, hand_back: Callable[[bytes], None], *given: Any) -> None:
        super().__init__(*given)
        self.connection: _Requests = _Requests(h11.SERVER, self.config.h11_max_incomplete_size)
        self._gate = gate
        self._hand_back = hand_back
        self._peer = self.client
        self._is_head = False
        self._is_gone = False
        self.connection_state = ConnectionState({BODY: self})

    async def handle(self, event: Incoming) -> None:
        """See hypercorn; what a peer that is gone has sent before isn't answered any more."""
        self._is_gone |= isinstance(event, Closed)
        await super().handle(event)

    @property
    def waits(self) -> bool:
        """See the protocol."""
        return self.connection.client_is_waiting_for_100_continue

    async def ask(self) -> None:
        """See the protocol."""
        if self.waits:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def _check_protocol(self, event: h11.Request) -> None:
        """There is no other."""

    async def stream_send(self, event: Event) -> None:
        """Send a part of an answer; one that is given before the whole request came is the last."""
        if isinstance(event, Answer) and self.connection.their_state is h11.SEND_BODY:
            event.headers.append((b"connection", b"close"))
        await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        """Go on to the next request; a peer that is gone has none, whatever it sent before."""
        await super()._maybe_recycle()
        if self._is_gone:
            await self.send(Updated(idle=False))
            await self.send(Closed())

    async def _create_stream(self, request: h11.Request) -> None:
        """Have a request answered: by the application, but for who isn't let in."""
        if self._is_gone:
            raise trio.BrokenResourceError("the peer is gone")
        request = _in_origin_form(request)
        self._is_head = request.method == b"HEAD"
        if self._gate is not None and _is_handshake(request):
            self._hand_back(_head(request) + self.connection.trailing_data[0])
            raise trio.BrokenResourceError("it goes on as a WebSocket")
        told = self._refused(request)
        if told is None and (request.method, request.target) == (b"OPTIONS", b"*"):
            told = _offered()
        if told is None:
            await super()._create_stream(request)
        else:
            await self._turn_away(request, told)

    def _refused(self, request: h11.Request) -> Response | None:
        if self._gate is None:
            return _told(404, NO_SOCKETS) if _is_handshake(request) else None
        if self._peer is None:
            return None
        headers = Headers(raw=list(request.headers))
        self.client = self._gate.client_of(self._peer, headers)
        return self._gate.refused(self.client, request.method.decode(), headers)

    async def _turn_away(self, request: h11.Request, told: Response) -> None:
        """Answer late, so that who heeds nothing costs little. Where a body comes, which nobody reads, the
        connection ends."""
        await trio.sleep(TOLD_LATE_S)
        if any(name in BODY_HEADERS and value != b"0" for name, value in request.headers):
            told.headers["connection"] = "close"
        else:
            self.connection.next_event()  # the request's end
        await self._answer(told)
        if self.connection.our_state is self.connection.their_state is h11.DONE:
            self.connection.start_next_cycle()
            await self.send(Updated(idle=True))
        else:
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        """Say that a request can't be read, as whatever is refused is told; the connection ends."""
        self._is_head &= self.connection.our_state is not h11.IDLE  # else it is of the request before
        told = _told(status_code, _unreadable(status_code, self.connection.wrong))
        told.headers["connection"] = "close"
        await self._answer(told)

    async def _answer(self, told: Response) -> None:
        """Send a whole answer."""
        parts: list[H11SendableEvent] = [h11.Response(status_code=told.status_code, headers=told.raw_headers)]
        if not self._is_head:
            parts.append(h11.Data(data=bytes(told.body)))
        parts.append(h11.EndOfMessage())
        await self.send(RawData(b"".join(self.connection.send(part) or b"" for part in parts)))


def _unreadable(status: int, wrong: str) -> str:
    """What to say of a request that isn't taken; a head may be read well, and name an unknown method."""
    if status == heads.UNKNOWN_METHOD.status:
        return f"{wrong.capitalize()}."
    return f"{UNREADABLE} ({wrong}.)" if wrong else UNREADABLE


def _is_handshake(request: h11.Request) -> bool:
    """Whether it asks for a WebSocket."""
    asked = [value.strip().lower() for name, value in request.headers if name == b"upgrade"]
    return b"websocket" in asked


def _in_origin_form(request: h11.Request) -> h11.Request:
    """The same, of the host that its target names, if any."""
    target, host = origin_form(request.target)
    if not host:
        return request
    others = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        headers=[(b"host", host), *others],
        target=target,
        http_version=request.http_version,
    )


def _head(request: h11.Request) -> bytes:
    """A request's head, as it is sent."""
    lines = [b" ".join((request.method, request.target, b"HTTP/" + request.http_version))]
    lines += [name + b": " + value for name, value in request.headers.raw_items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _offered() -> Response:
    """The answer to who asks about the server, and no path (RFC 9110 section 9.3.7)."""
    told = Response(status_code=204, headers={"Allow": OFFERED})
    secure(told.headers)
    return told


def _told(status: int, detail: str) -> Response:
    """The answer to what never gets to an application."""
    told = response(Problem(status, detail, code="INVALID_MESSAGE"))
    secure(told.headers)
    return told
