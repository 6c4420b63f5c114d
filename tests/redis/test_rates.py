"""Rates over several workers, in a real Redis: one allowance a user, whoever asks."""

from __future__ import annotations

import itertools

import pytest
import trio

from gateway.admission import RateLimiter
from gateway.bus import redis_rates
from gateway.bus.redis_rates import RedisRates
from gateway.errors import LogUnavailable
from gateway.ports import ASK, RateLeft, Spent
from gateway.redislink.keys import partition_of
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards
from gateway.sessions import rates
from gateway.sessions.rates import RateSharing
from tests.proxy import tcp_proxy
from tests.redis.parts import fresh, proxied, running, settings
from tests.servers import RedisServer, redis_server
from tests.waiting import PATIENCE_S, unawaited, until


class Passing:
    """What was spent since then passes with the time, which a busy machine takes much of."""

    def __init__(self) -> None:
        self._began_s = trio.current_time()

    def is_left(self, found: RateLeft, spent_s: float) -> bool:
        """Whether this may be left of so much; the server's clock counts whole milliseconds."""
        passed_s = trio.current_time() - self._began_s
        return spent_s - passed_s - 0.01 <= found.full_in_s <= spent_s


@pytest.mark.parametrize("cluster", [False, True])
async def test_what_two_workers_spend_adds_up_and_passes(
    monkeypatch: pytest.MonkeyPatch, cluster: bool
) -> None:
    monkeypatch.setattr(redis_rates, "TIMEOUT_S", PATIENCE_S)  # nothing is away here
    config, passing = fresh("any", cluster=cluster), Passing()
    async with running(config) as one, running(config) as two:
        stores = [RedisRates(one), RedisRates(two)]
        spent = {"ann": Spent(30.0), "bob \u00e9 {x}": Spent(0.25), "new": Spent(0.0)}
        first = await stores[0].spend(spent, 60)
        assert (first["ann"].full_in_s, first["bob \u00e9 {x}"].full_in_s) == (30, 0.25)
        assert (first["new"], first["ann"].others) == (RateLeft(0.0, 0, 0.0), 0)
        second = await stores[1].spend({"ann": Spent(5.0), "new": Spent(1.0)}, 60)
        assert passing.is_left(second["ann"], 35)
        assert (second["ann"].others, second["new"].others) == (1, 0)
        await trio.sleep(0.3)
        third = await stores[0].spend({"ann": Spent(0.0), "bob \u00e9 {x}": Spent(0.0)}, 60)
        assert passing.is_left(third["ann"], 35 - 0.3)
        assert third["ann"].others == 1
        assert third["bob \u00e9 {x}"].full_in_s == 0  # full again, and forgotten


async def test_what_is_wanted_is_granted_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_rates, "TIMEOUT_S", PATIENCE_S)
    async with running(fresh("any")) as shards:
        store, other, passing = RedisRates(shards), RedisRates(shards), Passing()
        granted = [
            (await each.spend({"ann": Spent(0.0, 4.0)}, 10))["ann"].granted_s
            for each in (store, other, store)
        ]
        assert granted == [4.0, 4.0, 0.0]
        left = (await store.spend({"ann": Spent(0.0)}, 10))["ann"]
        assert passing.is_left(left, 8)
        large = {"bob": Spent(0.0, 25.0)}
        assert [(await store.spend(large, 10))["bob"].granted_s for _ in range(2)] == [25.0, 0.0]


@pytest.mark.parametrize("wanted_s", [0.0, 3.0])
async def test_what_is_told_again_after_a_lost_answer_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, wanted_s: float
) -> None:
    monkeypatch.setattr(redis_rates, "TIMEOUT_S", PATIENCE_S)
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy, running(settings(proxied(proxy))) as shards:
            store, passing = RedisRates(shards), Passing()
            await store.spend({"ann": Spent(1.0)}, 10)
            proxy.swallow_replies = True
            found: dict[str, RateLeft] = {}
            async with trio.open_nursery() as nursery:

                async def tell() -> None:
                    found.update(await store.spend({"ann": Spent(5.0, wanted_s)}, 10))

                nursery.start_soon(tell)
                await until(lambda: proxy.swallowed, "its answer is lost")
                proxy.cut()
                proxy.heal()
            assert found["ann"].granted_s == wanted_s, "what was granted is told again"
            assert passing.is_left(found["ann"], 6 + wanted_s)
            assert passing.is_left((await store.spend({"ann": Spent(1.0)}, 10))["ann"], 7 + wanted_s)


async def test_three_workers_give_one_user_one_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_rates, "TIMEOUT_S", PATIENCE_S)  # else each would limit for itself
    config = fresh("any", command_timeout_s=PATIENCE_S)
    limiters = [RateLimiter(60, 10) for _ in range(3)]
    async with running(config) as shards, unawaited() as nursery:
        for limiter in limiters:
            nursery.start_soon(RateSharing(limiter, RedisRates(shards), trio.current_time).run)
        await trio.sleep(0.02)
        began_s, allowed = trio.current_time(), 0
        while (elapsed_s := trio.current_time() - began_s) < 2 or allowed < 10:
            for limiter in limiters:
                allowed += limiter.take("eve", trio.current_time()) == 0
            await trio.sleep(0.002)
        assert 10 <= allowed <= 1.1 * (10 + elapsed_s)


async def test_without_redis_each_worker_limits_for_itself_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "RETRY_PAUSE_S", 0.05)
    with redis_server() as server:
        async with (
            running(settings(server.url, command_timeout_s=0.3)) as shards,
            unawaited() as nursery,
        ):
            store, limiter = RedisRates(shards), RateLimiter(60, 10)
            nursery.start_soon(RateSharing(limiter, store, trio.current_time).run)
            await trio.sleep(0.02)
            assert limiter.take("ann", trio.current_time()) == 0
            await until(lambda: limiter.take("ann", trio.current_time(), 4) == 0)
            server.stop()
            with pytest.raises(LogUnavailable):
                await store.spend({"ann": Spent(1.0)}, 10)
            numbers = itertools.count()

            def gives_a_whole_burst() -> bool:
                user = f"bob-{next(numbers)}"
                return [limiter.take(user, 0) == 0 for _ in range(11)] == [True] * 10 + [False]

            await until(gives_a_whole_burst)


async def test_an_error_of_all_servers_is_told_and_each_worker_limits_for_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis_server() as server:
        async with running(settings(server.url)) as shards, unawaited() as nursery:
            store, limiter = RedisRates(shards), RateLimiter(60, 10)
            await shards.call(Call(0, pack(("ACL", "SETUSER", "default", "-fcall"))))
            with pytest.raises(LogUnavailable, match="NOPERM") as raised:
                await store.spend({"ann": Spent(1.0)}, 10)
            assert raised.value.outcome == "none"
            taker = await sharing(nursery, limiter, shards)
            assert [await taker.taken("ann") for _ in range(11)] == [True] * 10 + [False]
            told = f"rates are limited by each worker for itself: Redis 127.0.0.1:{server.port}/0: NOPERM"
            assert told in caplog.text


async def test_an_error_of_one_server_leaves_the_users_of_the_other_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "RETRY_PAUSE_S", 0.05)
    refused, here = one_at_each_of_two()
    with redis_server() as one, redis_server() as two:
        async with running(settings(one.url, two.url)) as shards, unawaited() as nursery:
            limiter, other = RateLimiter(1, 10), RedisRates(shards)
            await shards.call(Call(partition_of(refused, 256), pack(("ACL", "SETUSER", "default", "-fcall"))))
            taker = await sharing(nursery, limiter, shards)
            assert await taker.taken(refused)  # told alone: nobody answers
            await trio.sleep(0.2)
            assert await taker.taken(here)
            await taker.told(here)
            assert (await other.spend({here: Spent(0.0)}, 600))[here].others == 1


class Taker:
    """A worker whose users wait for what others say, as those of a session do."""

    def __init__(self, limiter: RateLimiter, sharing: RateSharing) -> None:
        self._limiter = limiter
        self.sharing = sharing

    async def taken(self, user_id: str, cost: float = 1.0) -> bool:
        """Whether an edit of this user is allowed."""
        while (wait_ms := self._limiter.take(user_id, trio.current_time(), cost)) == ASK:
            await self.sharing.told(user_id)
        return wait_ms == 0

    async def told(self, user_id: str) -> None:
        """Have others told of a user whom they answer of, and who edits nothing now."""
        self._limiter.take(user_id, trio.current_time(), 0.0)
        await self.sharing.told(user_id)


async def sharing(nursery: trio.Nursery, limiter: RateLimiter, shards: Shards) -> Taker:
    """A worker that shares its users' rates with others, once it has begun to."""
    shared = RateSharing(limiter, RedisRates(shards), trio.current_time)
    nursery.start_soon(shared.run)
    await trio.sleep(0.02)
    return Taker(limiter, shared)


def one_at_each_of_two() -> tuple[str, str]:
    """Users of the first and of the second of two servers, to which partitions are dealt out in turn."""
    first, second = (
        next(user for user in map(str, range(99)) if partition_of(user, 256) % 2 == server)
        for server in (0, 1)
    )
    return first, second


async def ends(server: RedisServer, away: str) -> None:
    """It stops, or hangs."""
    await trio.to_thread.run_sync(getattr(server, away))


async def is_back(server: RedisServer, away: str) -> None:
    """It serves again."""
    await trio.to_thread.run_sync(server.start if away == "stop" else server.resume)


@pytest.mark.parametrize("away", ["stop", "pause"])
async def test_a_server_that_is_away_leaves_its_users_to_each_worker_and_the_others_shared(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    here, gone = one_at_each_of_two()
    monkeypatch.setattr(redis_rates, "TIMEOUT_S", 3.0)  # the other server is to answer in time
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, command_timeout_s=3.0)
        async with running(config) as shards, unawaited() as nursery:
            limiter, other = RateLimiter(1, 10), RedisRates(shards)
            taker = await sharing(nursery, limiter, shards)
            await ends(two, away)
            passing = Passing()
            assert [await taker.taken(user) for user in (gone, here, here)] == [True] * 3  # told together
            assert [await taker.taken(gone) for _ in range(10)] == [True] * 9 + [False]
            assert await taker.taken(here)
            for _ in range(4):
                await taker.told(here)
            left = (await other.spend({here: Spent(0.0)}, 600))[here]
            assert passing.is_left(left, 180), "it was told once"
            assert left.others == 1
            assert f"some users' can't be told: Redis 127.0.0.1:{two.port}/0 doesn't answer" in caplog.text
            await is_back(two, away)

            async def told_s() -> float:
                found = await other.spend({gone: Spent(0.0)}, 600)
                return found[gone].full_in_s if gone in found else 0.0

            async def is_told() -> bool:
                return await told_s() > 300

            await until(is_told, "what was spent meanwhile is told")
            for _ in range(4):
                await taker.told(gone)
            assert await told_s() <= 600, "it is counted once"


@pytest.mark.parametrize("away", ["stop", "pause"])
async def test_who_kept_within_his_rate_while_his_server_was_away_is_not_limited_afterwards(
    monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    monkeypatch.setattr(rates, "RETRY_PAUSE_S", 0.05)
    _, gone = one_at_each_of_two()
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, command_timeout_s=0.3)
        async with running(config) as shards, unawaited() as nursery:
            limiter = RateLimiter(1200, 10)
            taker = await sharing(nursery, limiter, shards)

            async def types_on() -> list[bool]:
                taken = []
                for _ in range(40):  # a second of the rate more than the burst, in longer
                    taken.append(await taker.taken(gone))
                    await trio.sleep(0.06)
                return taken

            await ends(two, away)
            assert await types_on() == [True] * 40
            await is_back(two, away)
            assert limiter.lending is not None
            lending = limiter.lending
            await until(lambda: not lending.alone, "its server answers of the user")
            assert await types_on() == [True] * 40


async def test_nobody_waits_for_a_server_that_hangs_once_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "RETRY_PAUSE_S", 0.05)
    here, gone = one_at_each_of_two()
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, command_timeout_s=PATIENCE_S * 2)
        async with running(config) as shards, unawaited() as nursery:
            limiter = RateLimiter(60, 40)
            taker = await sharing(nursery, limiter, shards)
            await ends(two, "pause")
            assert await taker.taken(gone)
            await taker.sharing.told(gone)
            monkeypatch.setattr(redis_rates, "TIMEOUT_S", PATIENCE_S * 2)
            with trio.fail_after(PATIENCE_S):
                assert [await taker.taken(user) for user in (gone, here) * 20] == [True] * 40
                await taker.told(here)
            await is_back(two, "pause")


async def test_nobody_waits_for_a_server_that_hangs_of_which_a_new_user_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_rates, "TIMEOUT_S", PATIENCE_S * 2)
    here, gone = one_at_each_of_two()
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, command_timeout_s=PATIENCE_S * 2)
        async with running(config) as shards, unawaited() as nursery:
            limiter = RateLimiter(60, 40)
            taker = await sharing(nursery, limiter, shards)
            await ends(two, "pause")
            assert await taker.taken(gone)
            with trio.fail_after(PATIENCE_S):
                assert [await taker.taken(here) for _ in range(40)] == [True] * 40
            nursery.start_soon(taker.taken, gone, 30.0)
            await until(lambda: limiter.take(gone, trio.current_time(), 30.0) == ASK)
            await is_back(two, "pause")
            with trio.fail_after(PATIENCE_S):
                assert await taker.taken(gone)


@pytest.mark.parametrize("back", [0, 1])
async def test_an_outage_is_not_over_where_nobody_has_answered_yet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, back: int
) -> None:
    monkeypatch.setattr(rates, "RETRY_PAUSE_S", 0.05)
    gone = one_at_each_of_two()[1 - back]
    with redis_server() as one, redis_server() as two:
        config = settings(one.url, two.url, command_timeout_s=0.3)
        async with running(config) as shards, unawaited() as nursery:
            limiter = RateLimiter(60, 10)
            sharing = RateSharing(limiter, RedisRates(shards), trio.current_time)
            for server in (one, two):
                await ends(server, "stop")
            await until(lambda: shards.all_away)
            nursery.start_soon(sharing.run)
            taker = Taker(limiter, sharing)
            assert await taker.taken(gone)
            await until(lambda: "rates are limited by each worker for itself: Redis" in caplog.text)
            await is_back((one, two)[back], "stop")

            async def is_left_out() -> bool:
                await taker.taken(gone)
                return "some users' can't be told" in caplog.text

            await until(is_left_out, "the other server's users are shared again")
            assert "for itself no longer" not in caplog.text


async def test_after_an_outage_nobody_is_said_to_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server() as server:
        config = settings(server.url, command_timeout_s=0.3)
        async with running(config) as shards, unawaited() as nursery:
            limiter = RateLimiter(60, 10)
            sharing = RateSharing(limiter, RedisRates(shards), trio.current_time)
            nursery.start_soon(sharing.run)
            taker = Taker(limiter, sharing)
            await trio.sleep(rates.RETRY_PAUSE_S / 2)
            await ends(server, "pause")
            assert await taker.taken("ann")  # on its way when the server hangs
            await until(lambda: "rates are limited by each worker for itself: Redis" in caplog.text)
            await trio.sleep(rates.RETRY_PAUSE_S * 3 / 4)
            await is_back(server, "pause")

            async def is_over() -> bool:
                await taker.taken("bob")
                return "rates are limited by each worker for itself no longer" in caplog.text

            await until(is_over)
            assert "some users' can't be told" not in caplog.text
