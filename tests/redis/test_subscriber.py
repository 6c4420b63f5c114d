"""Which of the channels that were asked for count as subscribed."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from gateway.config import RedisSettings
from gateway.redislink.address import parse
from gateway.redislink.subscriber import Subscriber
from tests.proxy import tcp_proxy
from tests.redis.parts import proxied
from tests.servers import redis_server
from tests.waiting import until


class _Deaf:
    """Hears of nothing."""

    def on_channel_message(self, channel: bytes, payload: bytes) -> None:
        pass

    def on_unsubscribed(self, subscriber: Subscriber, channel: bytes) -> None:
        pass


async def test_a_connection_that_is_lost_in_silence_is_noticed_though_nothing_is_asked() -> None:
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy, trio.open_nursery() as nursery:
            told: list[bool] = []
            config = RedisSettings(command_timeout_s=3.0)  # longer than a machine stops for
            subscriber = Subscriber(parse(proxied(proxy)), config, _Deaf(), told.append)
            await nursery.start(subscriber.run)
            await subscriber.wait_up()
            assert await subscriber.subscribe([b"kept"]) == {b"kept"}
            await trio.sleep(2 * config.command_timeout_s)
            assert told == [True]
            proxy.swallow_requests = proxy.swallow_replies = True
            await until(lambda: told == [True, False])
            proxy.heal()
            await until(lambda: told == [True, False, True])
            nursery.cancel_scope.cancel()


async def test_a_subscription_that_ended_before_its_answer_was_read_is_not_confirmed() -> None:
    with redis_server() as server:
        async with trio.open_nursery() as nursery:
            subscriber = Subscriber(parse(server.url), RedisSettings(), _Deaf(), lambda up: None)
            await nursery.start(subscriber.run)
            await subscriber.wait_up()
            confirmed: list[set[bytes]] = []

            async def subscribe() -> None:
                confirmed.append(await subscriber.subscribe([b"ended", b"kept"]))

            server.pause()
            async with trio.open_nursery() as asking:
                asking.start_soon(subscribe)
                await wait_all_tasks_blocked()
                subscriber.unsubscribe(b"ended")
                await wait_all_tasks_blocked()
                server.resume()
            assert confirmed == [{b"kept"}]
            nursery.cancel_scope.cancel()
