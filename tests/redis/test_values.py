"""What operators set for all nodes, in a Redis that loses its last second, or everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from gateway.bus.redis_values import RedisValues
from gateway.config import FeaturesSettings
from gateway.errors import LogUnavailable
from gateway.node.flags import NodeFlags
from gateway.node.following import Follower
from gateway.ports.shared import StoredValues
from gateway.redislink.keys import FLAGS_KEY
from tests.doubles.values import MemoryValues
from tests.redis.parts import client, fresh, running, settings
from tests.servers import redis_server
from tests.waiting import unawaited, until


@asynccontextmanager
async def store() -> AsyncIterator[RedisValues]:
    async with running(fresh("any")) as shards:
        yield RedisValues(shards, FLAGS_KEY)


def lose(kept: dict[bytes, bytes]) -> None:
    """Redis was started again, and has what it had before."""
    with client() as direct:
        direct.delete(FLAGS_KEY)
        if kept:
            direct.hset(FLAGS_KEY, mapping=kept)


@pytest.mark.parametrize("all_of_it", [False, True], ids=["the last change", "everything"])
async def test_flags_that_redis_lost_are_put_back_as_they_were(all_of_it: bool) -> None:
    async with store() as values, unawaited() as nursery:
        applied: list[list[FeaturesSettings]] = [[], []]
        one, two = (NodeFlags(FeaturesSettings(), values, found.append) for found in applied)
        await nursery.start(one.run)
        await nursery.start(two.run)
        await one.change({"segments": ["beta"]}, "ann")
        with client() as direct:
            before = direct.hgetall(FLAGS_KEY)
        await one.change({"segments": None, "kill_switch": True}, "bob")
        await until(lambda: two.stored == one.stored)
        lose({} if all_of_it else before)
        await until(lambda: _stored() == {b"kill_switch": b"true"})
        assert (await values.read(StoredValues())) == one.stored == two.stored
        assert applied[0][-1].kill_switch and applied[1][-1].kill_switch


def _stored() -> dict[bytes, bytes]:
    with client() as direct:
        found = direct.hgetall(FLAGS_KEY)
    return {name[2:]: value for name, value in found.items() if name.startswith(b"f:")}


async def test_the_newest_that_any_node_knows_is_put_back() -> None:
    async with store() as values:
        first = await values.change({"kill_switch": False}, "ann", 1)
        second = await values.change({"kill_switch": True}, "bob", 2)
        third = await values.change({"kill_switch": None, "enabled": False}, "cas", 3)
        for known in ((second, third), (third, second), (first, third, second)):
            lose({})
            for one in known:
                await values.put_back(one)
            assert await values.read(StoredValues()) == third


async def test_what_was_lost_is_told_once_when_it_is_put_back(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as direct:
        async with running(settings(server.url)) as shards, unawaited() as nursery:
            values = RedisValues(shards, FLAGS_KEY)
            follower = Follower("flags", values, 0.01, lambda stored: None)
            await nursery.start(follower.run)
            await follower.change({"kill_switch": True}, "ann")
            pipe = direct.pipeline()
            pipe.delete(FLAGS_KEY)
            pipe.config_set("min-replicas-to-write", 1)  # it can be read, and nothing put back
            pipe.execute()
            await until(lambda: "flags stay as they are" in caplog.text)
            assert "were lost" not in caplog.text
            direct.config_set("min-replicas-to-write", 0)
            await until(lambda: "were lost" in caplog.text)
            assert await values.read(StoredValues()) == follower.stored


async def test_a_change_after_a_loss_keeps_what_was_lost() -> None:
    async with store() as values, unawaited() as nursery:
        applied: list[FeaturesSettings] = []
        flags = NodeFlags(FeaturesSettings(), values, applied.append)
        await nursery.start(flags.run)
        await flags.change({"kill_switch": True}, "ann")
        lose({})
        await flags.change({"rollout_percentage": 20.0}, "bob")
        assert (applied[-1].kill_switch, applied[-1].rollout_percentage) == (True, 20)


async def test_another_change_under_the_same_number_is_heard_of() -> None:
    async with store() as values:
        known = await values.change({"kill_switch": False}, "ann", 1)
        lose({})
        other = await values.change({"kill_switch": True}, "bob", 2)
        assert other.revision == known.revision
        assert await values.read(known) == other
        assert await values.read(other) is other


async def test_a_store_that_comes_and_goes_is_told_some_times_and_not_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Unsteady()
    async with unawaited() as nursery:
        nursery.start_soon(Follower("flags", store, 0.001, lambda stored: None).run)
        await until(lambda: store.asked > 50)
    assert caplog.messages == ["flags stay as they are: away", "flags stay as they are no longer"] * 3


class Unsteady(MemoryValues):
    """Away every other time that it is asked."""

    asked = 0

    async def read(self, known: StoredValues) -> StoredValues:
        self.asked += 1
        if self.asked % 2:
            raise LogUnavailable("away", "none")
        return await super().read(known)
