"""The stream below an HTTP connection: what was read before, answers that nobody reads, an end in order."""

from __future__ import annotations

import pytest
import trio

from gateway.http.stream import Pending
from tests.http.streams import connected


async def test_what_was_read_before_comes_first():
    with connected(b"GET ") as (stream, peer):
        await peer.send_all(b"/")
        assert await stream.receive_some() == b"GET "
        assert await stream.receive_some() == b"/"


async def test_answers_that_nobody_reads_are_bounded_in_bytes_of_all_connections():
    pending = Pending(300_000)
    with connected() as (one, _), connected() as (two, peer):
        one.pending = two.pending = pending
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, b"x" * 200_000)
            await trio.sleep(0.01)
            assert pending.bytes == 200_000
            with pytest.raises(trio.BrokenResourceError, match="too many answers"):
                await two.send_all(b"x" * 200_000)
            assert await peer.receive_some() == b""
            nursery.cancel_scope.cancel()
        assert pending.bytes == 0


async def test_a_peer_that_reads_nothing_is_cut_after_the_stall_timeout():
    with (
        connected(stall_s=0.05) as (stream, _),
        pytest.raises(trio.BrokenResourceError, match="read next to nothing"),
    ):
        await stream.send_all(b"x" * 1_000_000)


async def test_a_peer_that_reads_slowly_gets_a_large_answer_whole(autojump_clock):
    """Though all of it takes longer than the stall timeout."""
    with connected(stall_s=30.0) as (stream, peer):
        received = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"x" * 1_000_000)
            while received < 1_000_000:
                await trio.sleep(2.0)
                received += len(await peer.receive_some(16_384))
    assert received == 1_000_000


async def test_after_the_end_what_still_comes_is_thrown_away_and_not_for_ever():
    with connected() as (stream, peer):
        await stream.send_all(b"answer")
        await stream.aclose()
        await peer.send_all(b"the rest of a body")
        assert await peer.receive_some() == b"answer"
        assert await peer.receive_some() == b""
        assert await stream.receive_some() == b""
