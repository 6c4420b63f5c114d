"""What the tests of the Redis adapters share: running shards, waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis
import trio

from gateway.config import Config
from gateway.log.redis import log_library
from gateway.redislink.shards import Shards


def settings(*urls: str, **values: Any) -> Config:
    """The default settings with these servers."""
    return Config().with_(redis={"urls": urls, **values})


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Shards]:
    """The shards of one node."""
    async with trio.open_nursery() as nursery:
        shards = Shards(config.redis, log_library())
        await nursery.start(shards.run)
        yield shards
        nursery.cancel_scope.cancel()


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until the condition holds; fails when it doesn't in time."""
    with trio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110  # nothing signals what the condition looks at
            await trio.sleep(0.005)


def flush(*ports: int) -> None:
    """Empty servers, as a mistaken FLUSHALL would."""
    for port in ports:
        with redis.Redis(port=port) as client:
            client.flushall()
