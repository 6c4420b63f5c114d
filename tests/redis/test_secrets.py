"""Which token secrets nodes have, as they tell each other in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.bus.redis_secrets import RedisSecrets
from tests.redis.parts import fresh, running
from tests.waiting import until

LONG_S = 600.0


@asynccontextmanager
async def store() -> AsyncIterator[RedisSecrets]:
    async with running(fresh("any")) as shards:
        yield RedisSecrets(shards)


async def test_who_has_none_in_common_hears_of_the_others_and_isnt_told_to_them() -> None:
    async with store() as secrets:
        assert await secrets.meet(["a"], LONG_S) == []
        for _ in range(2):
            assert await secrets.meet(["b"], LONG_S) == ["a"]
        assert await secrets.meet(["a"], LONG_S) == ["a"]


async def test_during_a_rotation_both_are_told() -> None:
    async with store() as secrets:
        await secrets.meet(["old"], LONG_S)
        assert await secrets.meet(["old", "new"], LONG_S) == ["old"]
        assert set(await secrets.meet(["new", "old"], LONG_S)) == {"old", "new"}
        assert set(await secrets.meet(["new"], LONG_S)) == {"old", "new"}


async def test_what_nobody_tells_any_more_is_forgotten() -> None:
    async with store() as secrets:
        await secrets.meet(["old", "new"], LONG_S)

        async def forgotten() -> bool:
            return not await secrets.meet(["another"], 0.001)

        await until(forgotten, "those told before are forgotten")
