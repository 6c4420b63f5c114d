"""Reading and answering WebSocket handshakes (RFC 6455 section 4.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.addresses import Proxies
from gateway.config import ServerSettings
from gateway.ports import Admission, Connection, HttpService, Rejection, Session, UpgradeRequest
from gateway.transport import upgrade

NO_PROXIES = Proxies(ServerSettings())
# The example of RFC 6455 section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def head(headers: dict[str, str], line: str = "GET /realtime HTTP/1.1") -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in GOOD.items() if key != name}


def open_nothing(connection: Connection) -> Session:
    raise AssertionError("not opened here")


class OnePath:
    """Admits /realtime."""

    def http(self, request: UpgradeRequest) -> HttpService | Rejection | None:
        """Nobody."""
        return None

    def admit(self, request: UpgradeRequest) -> Admission | Rejection:
        if request.target != "/realtime":
            return Rejection(404, "there is nothing here; the path is /realtime", {})
        return Admission(None, open_nothing)


def status(request: bytes) -> int:
    decision = upgrade.decide(OnePath(), request, "127.0.0.1:5", NO_PROXIES)
    return decision.status if isinstance(decision, Rejection) else 101


def test_the_rfc_example_is_accepted_with_the_rfc_answer() -> None:
    decision = upgrade.decide(OnePath(), head(GOOD), "127.0.0.1:5", NO_PROXIES)
    assert isinstance(decision, upgrade.Accepted)
    assert decision.handshake.request.target == "/realtime"
    assert decision.handshake.request.remote == "127.0.0.1:5"
    assert decision.handshake.request.headers["host"] == "server.example.com"
    answer = upgrade.acceptance(decision.handshake.key, "collab.v1").decode()
    assert answer.startswith("HTTP/1.1 101 ")
    assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n" in answer
    assert answer.endswith("Sec-WebSocket-Protocol: collab.v1\r\n\r\n")


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (head(GOOD), 101),
        (head({**GOOD, "Upgrade": "WebSocket", "Connection": "UPGRADE"}), 101),
        (head(GOOD, "GET /elsewhere HTTP/1.1"), 404),
        (head({"Host": "a"}, "GET /elsewhere HTTP/1.1"), 404),
        (head({"Host": "a"}), 426),
        (head({**GOOD, "Sec-WebSocket-Version": "8"}), 426),
        (head(without("Sec-WebSocket-Version")), 426),
        (head(GOOD, "POST /realtime HTTP/1.1"), 405),
        (head(GOOD, "GET /realtime HTTP/1.0"), 400),
        (head(without("Host")), 400),
        (head(without("Sec-WebSocket-Key")), 400),
        (head({**GOOD, "Sec-WebSocket-Key": "c2hvcnQ="}), 400),
        (head({**GOOD, "Sec-WebSocket-Key": "not base64 at all!!!!!=="}), 400),
        (head({**GOOD, "Connection": "keep-alive"}), 400),
        (head({**GOOD, "host": "twice"}), 400),
        (head({**GOOD, "Host": "gateway-1.my_net.example:8080"}), 101),
        (head({**GOOD, "Host": "[fe80::1%25eth0]:8080"}), 101),
        (head({**GOOD, "Host": "a%C3%A4"}), 101),
        (head({**GOOD, "Host": ""}), 101),
        (head({**GOOD, "Host": "a b"}), 400),
        (head({**GOOD, "Host": "a, b"}), 400),
        (head({**GOOD, "Host": "a/b"}), 400),
        (head({**GOOD, "Host": "a:port"}), 400),
        (head({**GOOD, "Host": "ä.example"}), 400),
        (head({**GOOD, "Host": "a%4"}), 400),
        (head({**GOOD, "Host": "user@a"}), 400),
        (head({**GOOD, "Host": "::1"}), 400),
        (head({**GOOD, "Upgrade": "h2c"}), 426),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (head(GOOD, "BREW /realtime HTTP/1.1"), 501),
        (head(GOOD, "get /realtime HTTP/1.1"), 501),
        (head(GOOD, "DESCRIBE /realtime HTTP/1.1"), 501),  # RTSP's
        (head(GOOD, "BREW \1 HTTP/1.1"), 400),
        (head({"Host": "a"}, "CONNECT a:80 HTTP/1.1"), 501),
        (head({"Host": "a"}, "B@EW /realtime HTTP/1.1"), 400),
        (head({"Host": "a"}, "BREW"), 400),
        (b"\r\n\r\n", 400),
        (b"\r\n\r\n\r\n", 400),
        (b"GET /realtime\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (head(GOOD, "GET /realtime HTTP/2.0"), 505),
        (head(GOOD, "GET /realtime HTTP/0.9"), 505),
        (head({**GOOD, "Content-Length": "0"}), 101),
        (head({**GOOD, "Content-Length": "5"}), 400),
        (head({**GOOD, "Transfer-Encoding": "chunked"}), 400),
        (head({**GOOD, "Content-Length": "5", "Transfer-Encoding": "chunked"}), 400),
    ],
)
def test_each_handshake_gets_the_status_that_fits(request_head: bytes, expected: int) -> None:
    assert status(request_head) == expected


def test_a_wrong_version_is_told_the_right_one() -> None:
    decision = upgrade.decide(OnePath(), head({**GOOD, "Sec-WebSocket-Version": "8"}), "", NO_PROXIES)
    assert isinstance(decision, Rejection)
    answer = upgrade.refusal(decision).decode()
    assert answer.startswith("HTTP/1.1 426 Upgrade Required\r\n")
    assert "Sec-WebSocket-Version: 13\r\n" in answer


def test_a_refusal_is_a_complete_http_answer() -> None:
    answer = upgrade.refusal(Rejection(503, "full: try again", {"Retry-After": "7"}))
    header, _, body = answer.partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Retry-After: 7" in header
    assert b"Content-Length: %d" % len(body) in header
    assert body == b"full: try again\n"


def chunks_of(*pieces: bytes) -> Callable[[], Awaitable[bytes]]:
    queue = list(pieces)

    async def receive() -> bytes:
        return queue.pop(0) if queue else b""

    return receive


async def test_a_head_is_read_in_any_pieces_and_what_follows_is_kept() -> None:
    data = head(GOOD) + b"\x81\x00"
    for cut in range(1, len(data)):
        got = await upgrade.read_head(chunks_of(data[:cut], data[cut:]), 1000)
        assert isinstance(got, tuple)
        complete, rest = got
        assert complete == head(GOOD)
        assert data.startswith(complete + rest)


async def test_empty_lines_before_a_request_are_left_out() -> None:
    data = b"\r\n" * 2 + head(GOOD)
    for cut in range(1, len(data)):
        assert await upgrade.read_head(chunks_of(data[:cut], data[cut:]), 1000) == (head(GOOD), b"")


async def test_a_peer_that_leaves_in_the_middle_is_no_request() -> None:
    assert await upgrade.read_head(chunks_of(head(GOOD)[:-2]), 1000) is None


async def test_endless_headers_are_refused() -> None:
    got = await upgrade.read_head(chunks_of(*[b"X: " + b"y" * 1000 + b"\r\n"] * 40), 16_384)
    assert isinstance(got, Rejection)
    assert got.status == 431


@given(st.binary(max_size=300))
def test_any_bytes_get_a_decision(garbage: bytes) -> None:
    assert status(garbage + b"\r\n\r\n") in (400, 404, 405, 426, 501, 505)


@given(st.dictionaries(st.sampled_from([*GOOD, "Origin", "X"]), st.text(max_size=20).map(ascii), max_size=7))
def test_any_headers_get_a_decision(headers: dict[str, str]) -> None:
    assert status(head({**GOOD, **headers})) in (101, 400, 426)
