"""The HTTP side of a WebSocket: reads the upgrade request, asks the endpoint, writes the answer.

Pure but for `read_head`, which awaits bytes from its caller. RFC 6455 section 4.2. A request that the
endpoint would admit but that is no valid handshake is answered 400, 405 or 426.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

from gateway.admission.addresses import Proxies, proxy_header
from gateway.http import heads
from gateway.http.heads import bad_request
from gateway.ports import Admission, Endpoint, HttpService, Rejection, UpgradeRequest

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING_PROTOCOLS = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)


class Handshake(NamedTuple):
    """A parsed request. `problem` is what is wrong with it as a WebSocket handshake, or None."""

    request: UpgradeRequest
    key: str
    problem: Rejection | None


class Accepted(NamedTuple):
    """The endpoint lets this handshake in."""

    handshake: Handshake
    admission: Admission


LATE = Rejection(408, "the handshake took too long", {})


class HeadReader:
    """Collects a request's head, as its bytes arrive."""

    __slots__ = ("_buffer", "_bytes_max", "remote")

    def __init__(self, bytes_max: int) -> None:
        self.remote = ""  # of the client, where a proxy announced it
        self._bytes_max = bytes_max
        self._buffer = b""

    def feed(self, data: bytes | bytearray) -> tuple[bytes, bytes] | Rejection | None:
        """(head, what came after it) once its empty line is there, else None; a Rejection of a long one."""
        before = len(self._buffer)
        self._buffer += data
        self._buffer = self._buffer[heads.begin(self._buffer) :]
        end = self._buffer.find(b"\r\n\r\n", max(0, before - 3)) + 4
        if max(end, len(self._buffer) if end < 4 else 0) > self._bytes_max:
            return Rejection(431, f"the request's headers are longer than {self._bytes_max} bytes", {})
        return None if end < 4 else (self._buffer[:end], self._buffer[end:])


class AnnouncedReader(HeadReader):
    """The same, where a header of the PROXY protocol comes first."""

    __slots__ = ("_announced",)

    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self._announced: bytes | None = b""  # None: it is read

    def feed(self, data: bytes | bytearray) -> tuple[bytes, bytes] | Rejection | None:
        """See `HeadReader.feed`; `remote` is known before it gives anything."""
        if self._announced is None:
            return super().feed(data)
        self._announced += data
        try:
            found = proxy_header(self._announced)
        except ValueError as error:
            return bad_request(str(error))
        if found is None:
            return None
        rest, self._announced = self._announced[found[0] :], None
        self.remote = found[1]
        return super().feed(rest)


async def read_head(
    receive: Callable[[], Awaitable[bytes | bytearray]], bytes_max: int
) -> tuple[bytes, bytes] | Rejection | None:
    """Read up to the empty line, see `HeadReader.feed`; None when the peer left first.

    `receive` returns some bytes, b"" at the end.
    """
    reader = HeadReader(bytes_max)
    while data := await receive():
        found = reader.feed(data)
        if found is not None:
            return found
    return None


def decide(
    endpoint: Endpoint, head: bytes, remote: str, proxies: Proxies
) -> Accepted | HttpService | Rejection:
    """Parse a request's head and ask the endpoint about it. `remote` is the peer's address, which may be a
    proxy's.

    An HttpService: the request is no handshake, and that answers it.
    """
    handshake = parse(head, remote)
    if isinstance(handshake, Rejection):
        return handshake
    if proxies.trusts(remote):
        client = proxies.client_of(remote, handshake.request.headers.get("x-forwarded-for"))
        handshake = handshake._replace(request=handshake.request._replace(remote=client, proxied=True))
    if handshake.request.headers.get("upgrade", "").lower() != "websocket":
        service = endpoint.http(handshake.request)
        if service is not None:
            return service
    admission = endpoint.admit(handshake.request)
    if isinstance(admission, Rejection):
        return admission
    return handshake.problem or Accepted(handshake, admission)


def parse(head: bytes, remote: str) -> Handshake | Rejection:
    """Read a request's head; a Rejection where it isn't HTTP/1 at all."""
    found = heads.read(head)
    if isinstance(found, Rejection):
        return found
    request = UpgradeRequest(found.target, found.headers, remote, method=found.method)
    return Handshake(request, found.headers.get("sec-websocket-key", ""), _problem(found))


def _problem(head: heads.ReadHead) -> Rejection | None:
    headers = head.headers
    if head.method != "GET":
        return Rejection(405, "a WebSocket is opened by GET", {"Allow": "GET"})
    if head.version != "1.1":
        return bad_request("a WebSocket needs HTTP/1.1")
    if headers.get("upgrade", "").lower() != "websocket":
        return _upgrade_required("this is a WebSocket endpoint: send Upgrade: websocket")
    connection = headers.get("connection", "").lower()
    if connection != "upgrade" and "upgrade" not in map(str.strip, connection.split(",")):
        return bad_request("the header Connection doesn't say Upgrade")
    if "host" not in headers:
        return bad_request("the header Host is missing")
    if headers.get("content-length", "0").strip("0") or "transfer-encoding" in headers:
        return bad_request("a WebSocket is opened without a body")
    if headers.get("sec-websocket-version") != "13":
        return _upgrade_required("the WebSocket version must be 13")
    if not _is_key(headers.get("sec-websocket-key", "")):
        return bad_request("Sec-WebSocket-Key must be 16 bytes in base64")
    return None


def _upgrade_required(message: str) -> Rejection:
    headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Connection": "Upgrade, close"}
    return Rejection(426, message, headers)


def _is_key(key: str) -> bool:
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except (binascii.Error, ValueError):
        return False


def acceptance(key: str, subprotocol: str | None, extensions: str = "") -> bytes:
    """The 101 answer. `extensions` is the value of Sec-WebSocket-Extensions, left out where empty."""
    digest = hashlib.sha1(key.encode("ascii") + _ACCEPT_GUID, usedforsecurity=False).digest()
    answer = _SWITCHING_PROTOCOLS + binascii.b2a_base64(digest, newline=False)
    if subprotocol is not None:
        answer += b"\r\nSec-WebSocket-Protocol: " + subprotocol.encode("latin-1")
    if extensions:
        answer += b"\r\nSec-WebSocket-Extensions: " + extensions.encode("latin-1")
    return answer + b"\r\n\r\n"


def refusal(rejection: Rejection) -> bytes:
    """The whole HTTP answer to a refused request; the connection is closed after it."""
    body = (rejection.message + "\n").encode()
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **rejection.headers,
    }
    lines = [f"HTTP/1.1 {rejection.status} {HTTPStatus(rejection.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
