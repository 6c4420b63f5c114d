"""The bus over Redis: the contract of `Bus`, and what happens when connections and servers go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.bus.redis import RedisBus
from gateway.ports import Bus
from tests.contracts.bus_contract import BusContract
from tests.redis.parts import fresh, running


class TestRedis(BusContract):
    flavours: tuple[str, ...] = ("any",)
    cluster = False

    @asynccontextmanager
    async def buses(self, number: int) -> AsyncIterator[Sequence[Bus]]:
        config = fresh(*self.flavours, cluster=self.cluster)
        async with AsyncExitStack() as stack:
            yield [RedisBus(await stack.enter_async_context(running(config))) for _ in range(number)]


class TestValkey(TestRedis):
    flavours = ("valkey",)


class TestShards(TestRedis):
    flavours = ("any", "valkey")


class TestRedisCluster(TestRedis):
    cluster = True


class TestValkeyCluster(TestRedis):
    flavours = ("valkey",)
    cluster = True
