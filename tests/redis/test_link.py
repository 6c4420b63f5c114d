"""The pipelined link, against a real server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import hiredis
import pytest
import trio
from trio.testing import MockClock

from gateway.config import RedisSettings
from gateway.redislink.address import parse
from gateway.redislink.errors import LinkBusy, LinkError
from gateway.redislink.link import Link, Reply, pack
from tests.servers import redis_server
from tests.waiting import PATIENCE_S, unawaited, until

CONFIG = RedisSettings()


async def start(nursery: trio.Nursery, url: str, config: RedisSettings = CONFIG) -> Link:
    link = Link(parse(url), config)
    await nursery.start(link.run)
    with trio.fail_after(PATIENCE_S):
        await link.wait_up()
    return link


async def reply_to(link: Link, *command: str | int) -> Reply:
    """The reply to one command."""
    (reply,) = await link.pipeline([pack(command)])
    return reply


async def test_replies_come_in_order_to_whoever_asked() -> None:
    with redis_server() as server:
        async with unawaited() as nursery:
            link = await start(nursery, server.url)
            seen: dict[int, bytes] = {}

            async def ask(number: int) -> None:
                seen[number] = await reply_to(link, "ECHO", number)

            async with trio.open_nursery() as callers:
                for number in range(200):
                    callers.start_soon(ask, number)
            assert seen == {number: b"%d" % number for number in range(200)}
            assert await link.pipeline([pack(("ECHO", "a")), pack(("ECHO", "b"))]) == [b"a", b"b"]


async def test_an_error_of_the_server_concerns_its_command_alone() -> None:
    with redis_server() as server:
        async with unawaited() as nursery:
            link = await start(nursery, server.url)
            first, second = await link.pipeline([pack(("NONSENSE",)), pack(("ECHO", "x"))])
            assert isinstance(first, hiredis.ReplyError)
            assert second == b"x"


async def test_a_cancelled_caller_leaves_the_order_of_replies_intact() -> None:
    with redis_server() as server:
        async with unawaited() as nursery:
            link = await start(nursery, server.url)
            with trio.move_on_after(0) as scope:
                await reply_to(link, "ECHO", "dropped")
            assert scope.cancelled_caught
            assert await reply_to(link, "ECHO", "kept") == b"kept"


async def test_it_connects_again_after_the_server_was_killed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with redis_server() as server:
        async with unawaited() as nursery:
            changes: list[bool] = []
            link = Link(parse(server.url), CONFIG, changes.append)
            await nursery.start(link.run)
            await link.wait_up()
            server.kill()
            await until(lambda: not link.up)
            with pytest.raises(LinkError) as raised:
                await reply_to(link, "PING")
            assert not raised.value.sent
            await until(lambda: "all attempts to connect" in link.last_error)
            await trio.to_thread.run_sync(server.start)
            with trio.fail_after(PATIENCE_S):
                await link.wait_up()
            assert await reply_to(link, "PING") == b"PONG"
            told = [line for line in caplog.messages if "is out of reach" in line]
            assert len(set(told)) == len(told), "what doesn't change is told once, however often it is tried"
            assert told[-1] == f"Redis {link.address.name} is out of reach no longer"
            assert changes == [True, False, True]
            assert link.generation == 2


async def test_a_server_that_does_not_answer_a_new_connection_is_told_in_words() -> None:
    with redis_server() as server:
        server.pause()
        async with unawaited() as nursery:
            link = Link(parse(server.url), RedisSettings(connect_timeout_s=0.1))
            await nursery.start(link.run)
            await until(lambda: "no connection within 0.1 s" in link.last_error)


async def asked_s(clock: MockClock, config: RedisSettings, held_s: Sequence[float]) -> list[float]:
    """When a link connects to a server that lets it in and hangs up after so long, and when once more."""
    asked: list[float] = []

    async def hang_up(stream: trio.SocketStream) -> None:
        asked.append(trio.current_time())
        await stream.receive_some()
        await stream.send_all(b"%1\r\n+server\r\n+redis\r\n")
        await trio.sleep(held_s[min(len(asked), len(held_s)) - 1])
        await stream.aclose()

    clock.autojump_threshold = 0.05  # for the network
    async with unawaited() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        link = Link(parse(f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"), config)
        await nursery.start(link.run)
        await until(lambda: len(asked) > len(held_s), every_s=0.2)  # a look takes 0.05 s
    assert link.generation >= len(held_s)
    return asked


async def test_a_server_that_lets_in_and_hangs_up_is_asked_more_and_more_slowly(
    autojump_clock: MockClock,
) -> None:
    asked = await asked_s(autojump_clock, CONFIG, [0] * 8)
    assert asked[8] - asked[7] > 0.7  # seconds, where the longest pause is one


async def test_a_server_that_was_sound_for_seconds_is_asked_at_once_however_long_the_longest_pause_is(
    autojump_clock: MockClock,
) -> None:
    config = RedisSettings(reconnect_delay_max_ms=60_000)
    asked = await asked_s(autojump_clock, config, [*[0] * 8, 5])
    assert asked[8] - asked[7] > 1.5
    assert 5 <= asked[9] - asked[8] < 6


async def test_a_frozen_server_fails_its_commands_at_their_deadline_as_sent() -> None:
    with redis_server() as server:
        async with unawaited() as nursery:
            link = await start(nursery, server.url, RedisSettings(command_timeout_s=1.0))
            server.pause()
            began = trio.current_time()
            with pytest.raises(LinkError) as raised:
                await reply_to(link, "PING")
            assert raised.value.sent
            assert 0.9 < trio.current_time() - began < 60
            server.resume()
            with trio.fail_after(PATIENCE_S):
                await link.wait_up()
            assert await reply_to(link, "PING") == b"PONG"


async def test_commands_beyond_the_bound_are_refused_unsent() -> None:
    with redis_server() as server:
        async with unawaited() as nursery:
            link = await start(nursery, server.url, RedisSettings(link_commands_max=1024))
            requests = [link.start([pack(("PING",))]) for _ in range(1024)]
            with pytest.raises(LinkBusy) as raised:
                await reply_to(link, "PING")
            assert not raised.value.sent
            assert [await request.wait() for request in requests] == [[b"PONG"]] * 1024
            assert await reply_to(link, "PING") == b"PONG"


async def test_it_logs_in_with_the_credentials_of_its_url() -> None:
    with redis_server("--requirepass", "secret") as server:
        async with unawaited() as nursery:
            link = await start(nursery, f"redis://:secret@127.0.0.1:{server.port}/3")
            info = await reply_to(link, "CLIENT", "INFO")
            assert b"db=3" in info and b"resp=3" in info
            wrong = Link(parse(f"redis://:wrong@127.0.0.1:{server.port}"), CONFIG)
            await nursery.start(wrong.run)
            await until(lambda: "WRONGPASS" in wrong.last_error)
            assert not wrong.up
