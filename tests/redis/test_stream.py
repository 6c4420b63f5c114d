"""The link's socket: it sends all, notices the end, and wakes who waits when it's closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway.redislink.stream import BareStream

BYTES = 8_000_000


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[BareStream, trio.SocketStream]]:
    """Both ends of a connection."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream(*listener.socket.getsockname())
        async with await listener.accept() as far, BareStream(near) as stream:
            yield stream, far


async def test_more_than_a_socket_takes_at_once_arrives_whole() -> None:
    data = bytes(range(256)) * (BYTES // 256)
    received = bytearray()
    async with connected() as (stream, far), trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, data)
        while len(received) < len(data):
            received += await far.receive_some()
    assert received == data


async def test_what_the_other_end_says_and_that_it_goes() -> None:
    async with connected() as (stream, far):
        await far.send_all(b"PONG")
        assert await stream.receive_some(100) == b"PONG"
        await far.aclose()
        assert await stream.receive_some(100) == b""


async def test_closing_wakes_who_waits() -> None:
    async with connected() as (stream, _), trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some(100)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
