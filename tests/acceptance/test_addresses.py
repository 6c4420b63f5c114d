"""What an address and a user may do: connections, bad tokens; who is behind a proxy. Over real sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from websockets.exceptions import InvalidStatus

from tests.admission.proxied import version_2
from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import wire
from tests.scraped import scraped
from tests.waiting import PATIENCE_S, until_equal

TRANSPORTS = pytest.mark.parametrize("transport", ["fast", "portable"])
TOKENS = "gateway_authentications_total"
UPGRADE = (
    "GET /realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def status(
    node: Gateway, bearer: str, forwarded: str = "", begin: bytes = b"", slowly: bool = False
) -> int:
    """Of a refused handshake with this token; else the close code, or 101 where it stays open."""
    port = int(node.url.rpartition(":")[2].partition("/")[0])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        with suppress(trio.BrokenResourceError):
            return await _answered(stream, bearer, forwarded, begin, slowly)
        return 0


async def _answered(
    stream: trio.SocketStream, bearer: str, forwarded: str, begin: bytes, slowly: bool
) -> int:
    head = f"{UPGRADE}Authorization: Bearer {bearer}\r\n"
    head += f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
    whole = begin + f"{head}\r\n".encode()
    with trio.move_on_after(PATIENCE_S):
        for piece in (whole[:20], whole[20:]) if slowly else (whole,):
            await stream.send_all(piece)
            await trio.sleep(0.05 if slowly else 0)
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await stream.receive_some()
            if not data:
                return 0
            answer += data
        code, frames = int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]
        if code != 101:
            return code
        while b"AUTH_ACK" not in frames:
            if b"\x88" in frames:
                return int.from_bytes(frames.partition(b"\x88")[2][1:3])
            data = await stream.receive_some()
            assert data, "it ended without a close frame"
            frames += data
        return 101
    raise AssertionError("no answer")


def proxied(tmp_path: Path, transport: str, **settings: Any) -> Any:
    return gateway(tmp_path, server__transport=transport, server__proxies='["127.0.0.1"]', **settings)


@TRANSPORTS
async def test_a_thousand_bad_tokens_of_one_address_are_slowed_and_others_are_not(
    tmp_path: Path, transport: str
) -> None:
    with proxied(tmp_path, transport, limits__failed_authentications_per_minute=1) as node:
        answers: list[int] = []
        for _ in range(250):

            async def guess() -> None:
                answers.append(await status(node, "wrong", "6.6.6.6"))

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(guess)
        looked_at = answers.count(4401)
        assert 100 <= looked_at < 110, answers  # the burst, and those that were looked at together
        assert set(answers) <= {4401, 429, 4429}
        good = node.token()
        assert await status(node, good, "6.6.6.6") == 429
        assert await status(node, good, "7.7.7.7") == 101
        assert await status(node, good, "6.6.6.6, 7.7.7.7") == 101
        async with httpx.AsyncClient(base_url=node.http, timeout=PATIENCE_S) as client:
            place = "/v1/resources/event/42"
            slowed = await client.get(
                place, headers={"Authorization": f"Bearer {good}", "X-Forwarded-For": "6.6.6.6"}
            )
            assert (slowed.status_code, slowed.json()["code"]) == (429, "RATE_LIMITED")
            assert int(slowed.headers["Retry-After"]) >= 1
            served = await client.get(place, headers={"Authorization": f"Bearer {good}"})
            assert served.status_code == 404
        await node.told("6.6.6.6 are refused too often")


async def test_bad_tokens_over_http_count_too(tmp_path: Path) -> None:
    limits = {"limits__failed_authentications_burst": 5, "limits__failed_authentications_per_minute": 1}
    with gateway(tmp_path, **limits) as node:
        async with httpx.AsyncClient(base_url=node.http, timeout=PATIENCE_S) as client:
            found = [
                (await client.get("/v1/resources/event", headers={"Authorization": "Bearer no"})).status_code
                for _ in range(8)
            ]
            assert found == [401] * 6 + [429] * 2
            described = await client.get("/openapi.json")
            assert described.status_code == 200
            slowed = await client.get("/openapi.json", headers={"Authorization": "Bearer no"})
            answers = described.json()["paths"]["/openapi.json"]["get"]["responses"]
            assert slowed.status_code == 429 and set(answers) == {"200", "304", "429"}
        assert await status(node, node.token()) == 429


async def test_who_showed_a_bad_token_over_http_is_in_the_audit_by_his_own_address(tmp_path: Path) -> None:
    with proxied(tmp_path, "portable") as node:
        base = node.http
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            for address in ("6.6.6.6", "2001:db8::6"):
                guess = {"Authorization": "Bearer no", "X-Forwarded-For": address}
                assert (await client.get(f"{base}/v1/resources/event", headers=guess)).status_code == 401
            operator = {"Authorization": f"Bearer {node.token('ops', {'node:admin': 'viewer'})}"}
            found = await client.get(f"{node.admin_url}/v1/audit?act=http.GET", headers=operator)
        assert {record["subject"] for record in found.json()["records"]} == {"6.6.6.6", "2001:db8::6"}


async def asked(node: Gateway, head: str = "") -> tuple[trio.SocketStream, int]:
    """An HTTP connection that stays, and the status of what it asked first."""
    port = int(node.url.rpartition(":")[2].partition("/")[0])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(f"GET /openapi.json HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
    return stream, int((await stream.receive_some()).split()[1])


@TRANSPORTS
async def test_http_connections_are_bounded_by_address_as_sockets_are(tmp_path: Path, transport: str) -> None:
    limits = {"limits__connections_per_address_max": 2}
    with gateway(tmp_path, server__transport=transport, **limits) as node:
        (one, first), (two, second), (three, third) = [await asked(node) for _ in range(3)]
        assert (first, second, third) == (200, 200, 429)
        assert await status(node, node.token()) == 429
        await one.aclose()
        await until_equal(partial(status, node, node.token()), 101, every_s=0.05)
        for stream in (two, three):
            await stream.aclose()


@TRANSPORTS
async def test_http_connections_of_a_proxy_count_for_nobody(tmp_path: Path, transport: str) -> None:
    with proxied(tmp_path, transport, limits__connections_per_address_max=1) as node:
        found = [await asked(node, f"X-Forwarded-For: 1.1.1.{number}\r\n") for number in (1, 1, 2)]
        assert [code for _, code in found] == [200, 200, 200]
        assert await status(node, node.token(), "1.1.1.1") == 101
        for stream, _ in found:
            await stream.aclose()


@TRANSPORTS
@pytest.mark.parametrize("slowly", [False, True])
async def test_the_proxy_protocol_says_whose_connection_it_is(
    tmp_path: Path, transport: str, slowly: bool
) -> None:
    limits = {"limits__connections_per_address_max": 1, "server__proxy_protocol": "true"}
    with proxied(tmp_path, transport, **limits) as node:

        def from_(address: str, number: int) -> bytes:
            if number == 1:
                return f"PROXY TCP4 {address} 10.0.0.7 77 80\r\n".encode()
            body = (
                bytes(map(int, address.split(".")))
                + bytes([10, 0, 0, 7])
                + (77).to_bytes(2)
                + (80).to_bytes(2)
            )
            return version_2(body=body)

        for number in (1, 2):
            base = f"1.1.{number}"
            async with wire_behind(node, from_(f"{base}.1", number)):
                token = node.token()
                assert await status(node, token, begin=from_(f"{base}.1", number), slowly=slowly) == 429
                assert await status(node, token, begin=from_(f"{base}.2", number), slowly=slowly) == 101
        assert await status(node, node.token()) == 400  # such a proxy has to say it


def wire_behind(node: Gateway, header: bytes) -> Any:
    """A connection that stays, of whom the header says."""

    @asynccontextmanager
    async def opened() -> Any:
        port = int(node.url.rpartition(":")[2].partition("/")[0])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(header + f"{UPGRADE}Authorization: Bearer {node.token()}\r\n\r\n".encode())
            answer = b""
            while b"AUTH_ACK" not in answer:
                answer += await stream.receive_some()
            yield

    return opened()


HOSTILE = {
    "5,000 digits": "1.2.3.4:" + "9" * 5000,
    "a zone": "fe80::1%" + "x" * 3000,
    "brackets": "[[[]]]:",
    "commas": "," * 3000,
    "another header": "6.6.6.6\r\nX-Forwarded-For: 7.7.7.7, 8.8.8",
}


@TRANSPORTS
@pytest.mark.parametrize("forwarded", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_address_counts_for_the_proxy(
    tmp_path: Path, transport: str, forwarded: str
) -> None:
    limits = {"limits__failed_authentications_burst": 1, "limits__failed_authentications_per_minute": 1}
    with proxied(tmp_path, transport, **limits) as node:
        assert [await status(node, "wrong", forwarded) for _ in range(3)] == [4401, 4401, 429]
        assert await status(node, node.token()) == 429
        assert await status(node, node.token(), "7.7.7.7") == 101
        assert not any("Traceback" in line for line in node.log)


@TRANSPORTS
@pytest.mark.parametrize("more", [b"", b"PROXY TCP4 6.6.6.6 10.0.0.7 1 2\r\n", b"\x00\xff" * 500])
async def test_a_header_of_the_proxy_protocol_is_believed_once_and_garbage_is_none(
    tmp_path: Path, transport: str, more: bytes
) -> None:
    limits = {"limits__connections_per_address_max": 1, "server__proxy_protocol": "true"}
    with proxied(tmp_path, transport, **limits) as node:
        header = b"PROXY TCP4 1.1.1.1 10.0.0.7 77 80\r\n"
        async with wire_behind(node, header):
            for begin in (b"PROXY TCP4 1.1.1.1 " + b"9" * 200 + b"\r\n", b"\x00" * 200, b"PROXY UNKNOWN\r"):
                assert await status(node, node.token(), begin=begin + more) == 400
            assert await status(node, node.token(), begin=header + more) == (400 if more else 429)
        assert await status(node, node.token(), begin=header.replace(b"1.1.1.1", b"2.2.2.2")) == 101
        assert not any("Traceback" in line for line in node.log)


@TRANSPORTS
async def test_nobody_else_is_believed(tmp_path: Path, transport: str) -> None:
    limits = {"limits__failed_authentications_burst": 1, "limits__failed_authentications_per_minute": 1}
    with gateway(tmp_path, server__transport=transport, server__proxies='["10.9.9.9"]', **limits) as node:
        found = [await status(node, "wrong", f"6.6.6.{number}") for number in range(4)]
        assert found == [4401, 4401, 429, 429]


@TRANSPORTS
async def test_connections_are_bounded_by_address_and_by_user(tmp_path: Path, transport: str) -> None:
    limits = {"limits__connections_per_address_max": 3, "limits__connections_per_user_max": 2}
    with proxied(tmp_path, transport, **limits) as node:

        def of(user: str, address: str) -> Any:
            return wire(
                node.url,
                additional_headers={
                    "Authorization": f"Bearer {node.token(user)}",
                    "X-Forwarded-For": address,
                },
            )

        async with of("ann", "1.1.1.1") as one, of("ann", "1.1.1.1") as two, of("bob", "1.1.1.1") as three:
            for opened in (one, two, three):
                await opened.take("AUTH_ACK")
            with pytest.RaisesGroup(InvalidStatus, flatten_subgroups=True, allow_unwrapped=True):
                async with of("cid", "1.1.1.1"):
                    pass
            async with of("ann", "1.1.1.2") as fourth:
                assert await fourth.closed() == 4429
                assert "of this user" in fourth.close_reason
            found = await scraped(node.admin_url)
            results = {result: found.value(TOKENS, result=result) for result in ("too_many", "disabled")}
            assert results == {"too_many": 1, "disabled": 0}
            async with of("bob", "1.1.1.2") as fifth:
                await fifth.take("AUTH_ACK")
        await until_equal(partial(status, node, node.token("cid"), "1.1.1.1"), 101, every_s=0.05)
