"""Requests that nobody signed in for are bounded by address, on both transports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson
import pytest
import trio

from gateway.admission.tokens import TokenVerifier
from gateway.ports import Identity
from tests.http.node import TRANSPORTS, Served, served
from tests.transport.wire import request
from tests.waiting import PATIENCE_S, until

EVENT = "/v1/resources/event/42"
DESCRIPTION = "/openapi.json"
PAGE = "https://calendar.test"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
# Four are answered, and no other for half a minute.
FEW = {"unauthenticated_requests_per_minute": 2, "unauthenticated_requests_burst": 3}
ANSWERED = 4
MANY = 1_200  # half a second each: longer than a test waits
PROXY = {"proxies": ("127.0.0.1",)}

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


@asynccontextmanager
async def stranger(node: Served, address: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token; from this address, where the node believes it."""
    headers = {"X-Forwarded-For": address} if address else {}
    async with httpx.AsyncClient(
        base_url=node.client.base_url, headers=headers, timeout=PATIENCE_S
    ) as client:
        yield client


async def exhausted(node: Served, address: str = "") -> None:
    """Have that address ask for as much as is answered."""
    async with stranger(node, address) as client:
        for _ in range(ANSWERED):
            assert (await client.get(DESCRIPTION)).status_code == 200


async def told(node: Served, sent: bytes) -> bytes:
    """What a connection is answered, to its end."""
    with trio.fail_after(PATIENCE_S):
        bare = await node.dial()
        await bare.send(sent)
        return b"".join([part async for part in bare.stream])


async def test_beyond_the_limit_strangers_are_refused_and_users_of_the_same_address_served(
    tmp_path, transport
):
    server = {"origins": (PAGE,)}
    async with served(tmp_path, transport, limits=FEW, server=server) as node, stranger(node) as client:
        found = [(await client.get(path)).status_code for path in (DESCRIPTION, "/nothing", EVENT)]
        assert found == [200, 404, 401]
        assert (await client.options(EVENT, headers=PREFLIGHT)).status_code == 200
        for path in (DESCRIPTION, "/nothing", EVENT):
            refused = await client.get(path, headers={"Origin": PAGE})
            assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert refused.headers["access-control-allow-origin"] == PAGE
            assert "nosniff" in refused.headers["x-content-type-options"]
        for _ in range(ANSWERED + 1):
            assert (await node.client.get(EVENT)).status_code == 404
        assert (await node.client.put(EVENT, json={})).status_code == 201
        async with node.linked():
            pass  # a handshake isn't one of them
        admin = httpx.AsyncClient(base_url=f"http://127.0.0.1:{node.admin_port}", timeout=PATIENCE_S)
        async with admin:
            for _ in range(ANSWERED + 1):
                assert (await admin.get("/healthz")).status_code == 200


async def test_the_page_of_a_user_may_still_ask(tmp_path, transport):
    """For a refusal costs what the answer to a preflight does."""
    server = {"origins": (PAGE,)}
    async with served(tmp_path, transport, limits=FEW, server=server) as node, stranger(node) as client:
        await exhausted(node)
        allowed = await client.options(EVENT, headers=PREFLIGHT)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
        assert (await client.options(EVENT, headers=PREFLIGHT | {"Origin": "https://no"})).status_code == 400


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("header", ["Basic eDp5", "Bearer no", "x"])
async def test_a_made_up_header_is_no_way_round(tmp_path, transport, method, header):
    async with served(tmp_path, transport, limits=FEW) as node, stranger(node) as client:
        made_up = {"Authorization": header}
        for _ in range(ANSWERED):
            answer = await client.request(method, DESCRIPTION, headers=made_up)
            assert answer.status_code == (200 if method == "GET" else 405)
        assert (await client.request(method, DESCRIPTION, headers=made_up)).status_code == 429
        assert (await client.get(DESCRIPTION)).status_code == 429
        assert (await node.client.get(DESCRIPTION)).status_code == 200


async def test_who_guesses_beyond_the_limit_has_no_more_guesses(tmp_path, transport):
    guesses = {"failed_authentications_per_minute": 1, "failed_authentications_burst": 1}
    async with served(tmp_path, transport, limits=FEW | guesses) as node, stranger(node) as client:
        await exhausted(node)
        for text in ("came without", "came without", "were refused"):
            refused = await client.get(EVENT, headers={"Authorization": "Bearer no"})
            assert refused.status_code == 429 and text in refused.json()["detail"]
        audit = f"http://127.0.0.1:{node.admin_port}/v1/audit"
        found = await node.client.get(audit, params={"act": "http.GET", "subject": "127.0.0.1"})
        assert found.json()["records"], "guesses that were looked at"


@pytest.mark.parametrize("path", [DESCRIPTION, "/nothing", EVENT])
async def test_a_guess_is_one_wherever_it_is_made_and_is_looked_at_once(
    tmp_path, transport, path, monkeypatch
):
    looked, verify = [], TokenVerifier.verify

    def counted(verifier: TokenVerifier, token: str, now_s: float) -> Identity:
        looked.append(token)
        return verify(verifier, token, now_s)

    monkeypatch.setattr(TokenVerifier, "verify", counted)
    guesses = {"failed_authentications_per_minute": 1, "failed_authentications_burst": 1}
    async with served(tmp_path, transport, limits=guesses) as node, stranger(node) as client:
        guess = {"Authorization": "Bearer no"}
        while (answer := await client.get(path, headers=guess)).status_code != 429:
            assert len(looked) <= 2
        assert looked == ["no"] * 2
        assert "were refused" in answer.json()["detail"]


async def test_what_a_user_asks_for_keeps_no_stranger_waiting(tmp_path, transport):
    async with served(tmp_path, transport, limits=FEW) as node, stranger(node) as client:
        for path in (DESCRIPTION, "/nothing"):
            for _ in range(ANSWERED):
                assert (await node.client.get(path)).status_code == (404 if path == "/nothing" else 200)
        assert (await client.get(DESCRIPTION)).status_code == 200


async def test_who_asks_for_little_is_let_in_again(tmp_path, transport):
    limits = {"unauthenticated_requests_per_minute": 60, "unauthenticated_requests_burst": 1}
    async with served(tmp_path, transport, limits=limits) as node, stranger(node) as client:
        for _ in range(5):
            node.node.endpoint.visitors.strangers.count("127.0.0.1:1")
        assert (await client.get(DESCRIPTION)).status_code == 429
        with trio.fail_after(PATIENCE_S):
            while (await client.get(DESCRIPTION)).status_code == 429:
                pass


async def test_nothing_is_refused_where_the_limit_is_off(tmp_path, transport):
    limits = FEW | {"unauthenticated_requests_per_minute": 0}
    async with served(tmp_path, transport, limits=limits) as node, stranger(node) as client:
        for _ in range(ANSWERED + 3):
            assert (await client.get(DESCRIPTION)).status_code == 200


async def test_behind_a_proxy_it_is_the_clients_address(tmp_path, transport):
    """Though one connection brings the requests of many."""
    async with served(tmp_path, transport, limits=FEW, server=PROXY) as node, stranger(node) as proxy:
        await exhausted(node, "6.6.6.6")
        for address, status in (
            ("6.6.6.6", 429),
            ("7.7.7.7", 200),
            ("7.7.7.7, 6.6.6.6", 429),
            ("2001:db8::1", 200),
        ):
            answer = await proxy.get(DESCRIPTION, headers={"X-Forwarded-For": address})
            assert answer.status_code == status, address
        await exhausted(node, "2001:db8:1::1")
        neighbour = {"X-Forwarded-For": "2001:db8:1::2"}
        assert (await proxy.get(DESCRIPTION, headers=neighbour)).status_code == 429


async def test_a_connection_that_was_refused_goes_on(tmp_path, transport):
    async with served(tmp_path, transport, limits=FEW) as node:
        await exhausted(node)
        get = f"GET {DESCRIPTION} HTTP/1.1\r\nHost: x\r\n"
        user = f"{get}Authorization: {node.client.headers['authorization']}\r\n"
        head = get.replace("GET", "HEAD") + "Content-Length: 0\r\n"
        sent = f"{get}\r\n{head}\r\n{user}\r\n{get}\r\n{user}Connection: close\r\n\r\n"
        answers = (await told(node, sent.encode())).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"429", b"429", b"200", b"429", b"200"]
        assert answers[1].endswith(b"\r\n\r\n")  # the answer to HEAD has no body
        assert all(b"x-request-id: " in answer.lower() for answer in answers)


async def test_a_handshake_is_none_of_them_over_a_connection_that_had_requests_either(tmp_path, transport):
    """A page couldn't read that it is refused."""
    async with served(tmp_path, transport, limits=FEW) as node:
        await exhausted(node)
        bare = await node.dial()
        get = f"GET {DESCRIPTION} HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n"
        user = f"{get}Authorization: {node.client.headers['authorization']}\r\n\r\n"
        await bare.send(user.encode() + request())
        with trio.fail_after(PATIENCE_S):
            for status in (b"304", b"101"):
                assert (await bare.head()).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 7\r\n\r\n{}" + b" " * 5,
        b"Content-Length: 9000000\r\n\r\n" + b" " * 300_000,
        b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"Expect: 100-continue\r\nContent-Length: 7\r\n\r\n",
        b"Connection: close\r\n\r\nmore",
    ],
    ids=["body", "large", "unreadable", "expecting", "closing"],
)
async def test_whatever_comes_after_the_head_the_refusal_arrives_and_the_place_is_free(
    tmp_path, transport, rest
):
    async with served(tmp_path, transport, limits=FEW) as node:
        await exhausted(node)
        answer = await told(node, f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\n".encode() + rest)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ") and b"connection: close" in head.lower()
        assert orjson.loads(body)["code"] == "RATE_LIMITED"
        for bare in node.dialled:
            await bare.stream.aclose()
        await until(lambda: not node.node.metrics.http_connections)


async def test_what_cannot_be_read_after_a_head_request_is_told_as_that(tmp_path, transport, caplog):
    """With a body: what HEAD leaves out is that of its own answer."""
    async with served(tmp_path, transport) as node:
        sent = f"HEAD {DESCRIPTION} HTTP/1.1\r\nHost: x\r\n\r\nno request\r\n\r\n"
        answers = (await told(node, sent.encode())).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"400"]
    assert b"INVALID_MESSAGE" in answers[1]
    assert not [record for record in caplog.records if record.name == "gateway.http.server"]


async def test_who_hangs_up_before_he_is_told_leaves_his_place(tmp_path, transport):
    async with served(tmp_path, transport, limits=FEW) as node:
        await exhausted(node)
        for _ in range(5):
            bare = await node.dial()
            await bare.send(f"GET {DESCRIPTION} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * MANY)
            await bare.stream.aclose()
        await until(lambda: not node.node.metrics.http_connections)
