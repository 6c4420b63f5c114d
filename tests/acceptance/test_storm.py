"""More clients at once than a worker takes, over real sockets: who resumes comes first, nobody is lost."""

from __future__ import annotations

import pytest
import trio

from gateway.sessions import accepting
from gateway.wire.messages import SUBPROTOCOL
from tests.http.node import TRANSPORTS, Served, served
from tests.scraped import scraped
from tests.transport.wire import CLOSE, Gone, RawClient, request

RESUMING = "/realtime?resume=1"
MOST = 200
PER_S = 0.2  # nobody else comes in while those who do are counted
BURST_S = 2 / PER_S  # two come in at once, one who is new leaves the other place to who resumes
BETTER_PER_S = 1.0
TRIES = 10


@pytest.fixture(autouse=True)
def _at_a_slow_pace(monkeypatch):
    """A storm is a few then, on a machine of any speed."""
    for name in ("UNMEASURED_PER_S", "PER_S_MIN", "PER_S_MAX"):
        monkeypatch.setattr(accepting, name, PER_S)
    monkeypatch.setattr(accepting, "BURST_S", BURST_S)


async def knock(node: Served, target: str = "/realtime", **headers: str) -> tuple[bytes, RawClient]:
    """A handshake: the head of its answer."""
    client = await node.dial()
    await client.send(request(target, **headers))
    return await client.head(), client


async def until_put_off(node: Served, target: str) -> tuple[int, int]:
    """Connect until one is put off: how many came in, and how long that one should wait, in ms."""
    for number in range(MOST):
        head, _ = await knock(node, target)
        if not head.startswith(b"HTTP/1.1 101 "):
            assert head.startswith(b"HTTP/1.1 503 ")
            return number, wait_ms(head)
    raise AssertionError(f"{MOST} came in")


def wait_ms(head: bytes) -> int:
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    assert int(headers["retry-after"]) == -(-int(headers["retry-after-ms"]) // 1000)
    return int(headers["retry-after-ms"])


async def come_back(node: Served, first_ms: int) -> None:
    """As a client does that keeps to what it is told."""
    after_ms = first_ms
    for _ in range(TRIES):
        await trio.sleep(after_ms / 1000)
        head, _ = await knock(node, RESUMING)
        if head.startswith(b"HTTP/1.1 101 "):
            return
        after_ms = wait_ms(head)
    raise AssertionError(f"put off {TRIES} times")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_resumes_comes_first_and_who_is_put_off_comes_in_when_it_was_told(
    tmp_path, transport, monkeypatch
):
    async with served(tmp_path, transport) as node:
        came, new_ms = await until_put_off(node, "/realtime")
        assert came > 0
        head, _ = await knock(node, RESUMING)
        assert head.startswith(b"HTTP/1.1 101 ")
        _, resuming_ms = await until_put_off(node, RESUMING)
        again, later_ms = await until_put_off(node, "/realtime")
        assert again == 0 and later_ms > resuming_ms
        assert new_ms > 0
        metrics = await scraped(f"http://127.0.0.1:{node.admin_port}")
        assert metrics.value("gateway_connections_deferred_total", who="new") == 2
        assert metrics.value("gateway_accept_pace") == PER_S
        node.node.endpoint._accepting.per_s = BETTER_PER_S
        monkeypatch.setattr(accepting, "BURST_S", 1 / BETTER_PER_S)  # one, who has all the others put off
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(come_back, node, resuming_ms)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_that_is_put_off_is_told_by_the_close_code(tmp_path, transport):
    async with served(tmp_path, transport, server={"origins": ("https://example.org",)}) as node:
        await until_put_off(node, "/realtime")
        head, page = await knock(node, origin="https://example.org", sec_websocket_protocol=SUBPROTOCOL)
        assert f"sec-websocket-protocol: {SUBPROTOCOL}".encode() in head.lower()
        assert head.startswith(b"HTTP/1.1 101 ")
        closing = await page.receive()
        assert (closing.opcode, closing.code) == (CLOSE, 4503)
        assert closing.payload[2:].startswith(b"retry_after_ms=")
        with pytest.raises(Gone):
            await page.receive()
