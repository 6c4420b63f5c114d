"""Of which resources the heads are compared, and which differences are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from gateway.bus.heads import Head, Heads
from gateway.log.redis.log import RedisLog
from gateway.redislink import chains as chains_module
from gateway.redislink.chains import Chains
from tests.contracts.bus_contract import ROOM, Inbox
from tests.contracts.log_contract import committed, filled
from tests.redis.parts import fresh, listening, running
from tests.waiting import unawaited, until

PERIOD_S = 10.0


@asynccontextmanager
async def compared(chains: Chains, log: Mapping[str, Head | None]) -> AsyncIterator[list[str]]:
    """The gaps that are told while resources are compared with what this log has."""
    gaps: list[str] = []

    async def read(resources: Sequence[str]) -> Mapping[str, Head | None]:
        return {name: log[name] for name in resources}

    async with unawaited() as nursery:
        nursery.start_soon(Heads(chains, log, read, gaps.append, PERIOD_S).run)
        yield gaps


async def test_what_was_forgotten_is_compared_as_if_nothing_had_been_seen(autojump_clock) -> None:
    async with compared(Chains(), {"event:written": (7, 1, "n1"), "event:not": None}) as gaps:
        await trio.sleep(PERIOD_S)
        assert gaps == ["event:written"]


async def test_what_was_dropped_for_others_is_not_read_again_and_again(autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(chains_module, "RESOURCES_MAX", 1)
    chains = Chains()
    head: Head = (7, 1, "n1")
    chains.opened("event:kept", *head)
    async with compared(chains, {"event:kept": head, "event:dropped": head}) as gaps:
        await trio.sleep(3 * PERIOD_S)
        assert gaps == []


async def test_lost_news_of_a_resource_whose_chain_was_forgotten_are_found() -> None:
    config = fresh("any", head_compare_s=0.2)
    inbox = Inbox()
    async with running(config) as near, running(config) as far, listening(far, inbox) as bus:
        log = RedisLog(near, config)
        await bus.subscribe(ROOM)
        await RedisLog(far, config).open(ROOM)
        far.chains.forget(ROOM)  # as by a read that finds a fork
        bus.on_channel_message = lambda channel, payload: None  # type: ignore[method-assign]  # it is lost
        await committed(log, filled(await log.open(ROOM), 1))
        await until(lambda: ROOM in inbox.gaps)
