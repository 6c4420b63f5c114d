"""Rates over several workers, in a real Redis: one allowance a user, whoever asks."""

from __future__ import annotations

import pytest
import trio

from gateway.admission import RateLimiter
from gateway.bus.redis_rates import RedisRates
from gateway.errors import LogUnavailable
from gateway.sessions import rates
from gateway.sessions.rates import RateSharing
from tests.redis.parts import eventually, fresh, running, settings
from tests.servers import redis_server


@pytest.mark.parametrize("cluster", [False, True])
async def test_what_two_workers_spend_adds_up_and_passes(cluster: bool) -> None:
    config = fresh("any", cluster=cluster)
    async with running(config) as one, running(config) as two:
        stores = [RedisRates(one), RedisRates(two)]
        first = await stores[0].spend({"ann": 30.0, "bob \u00e9 {x}": 0.25, "new": 0.0})
        assert 29.9 < first["ann"] <= 30 and 0.1 < first["bob \u00e9 {x}"] <= 0.25 and first["new"] == 0
        second = await stores[1].spend({"ann": 5.0, "new": 1.0})
        assert 33 < second["ann"] <= 35
        await trio.sleep(0.3)
        third = await stores[0].spend({"ann": 0.0, "bob \u00e9 {x}": 0.0})
        assert 30 < third["ann"] < 35
        assert third["bob \u00e9 {x}"] == 0  # full again, and forgotten


async def test_three_workers_give_one_user_one_burst() -> None:
    config = fresh("any")
    limiters = [RateLimiter(60, 10) for _ in range(3)]
    async with running(config) as shards, trio.open_nursery() as nursery:
        for limiter in limiters:
            nursery.start_soon(RateSharing(limiter, RedisRates(shards), trio.current_time).run)
        await trio.sleep(0.02)
        began_s, allowed = trio.current_time(), 0
        while (elapsed_s := trio.current_time() - began_s) < 2:
            for limiter in limiters:
                allowed += limiter.take("eve", trio.current_time()) == 0
            await trio.sleep(0.002)
        assert 10 <= allowed <= 1.1 * (10 + elapsed_s) + 1
        nursery.cancel_scope.cancel()


async def test_without_redis_each_worker_limits_for_itself_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "RETRY_PAUSE_S", 0.05)
    with redis_server() as server:
        async with (
            running(settings(server.url, command_timeout_s=0.3)) as shards,
            trio.open_nursery() as nursery,
        ):
            store, limiter = RedisRates(shards), RateLimiter(60, 10)
            nursery.start_soon(RateSharing(limiter, store, trio.current_time).run)
            await trio.sleep(0.02)
            assert limiter.take("ann", trio.current_time()) == 0
            await eventually(lambda: limiter.take("ann", trio.current_time(), 4) == 0)
            server.stop()
            with pytest.raises(LogUnavailable):
                await store.spend({"ann": 1.0})
            await eventually(lambda: limiter._on_due is None)
            assert [limiter.take("bob", 0) for _ in range(10)] == [0] * 10
            assert limiter.take("bob", 0) > 0
            nursery.cancel_scope.cancel()
