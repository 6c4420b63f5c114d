"""A trace at a time: whatever begins and ends, the handlers are as they were when nobody traces."""

from __future__ import annotations

import pytest
import trio

from gateway.errors import LogUnavailable, Refusal
from gateway.node.live_trace import LiveTracer
from gateway.sessions.handlers import HANDLERS
from gateway.wire.messages import Message
from tests.hub.parts import cluster
from tests.rooms.parts import Author, titled
from tests.sessions.parts import desk


async def test_traces_that_begin_together_leave_the_handlers_as_they_were(autojump_clock):
    async with cluster() as found:
        worker, handlers = await found.worker(), dict(HANDLERS)
        live = LiveTracer(worker.hub, handlers)
        async with trio.open_nursery() as nursery:
            for name in ("event:1", "event:2"):
                nursery.start_soon(live.start, None, name, 60.0)
        assert handlers != HANDLERS
        assert live.told(0)["tracing"] is not None
        live.stop()
        assert handlers == HANDLERS


async def test_a_trace_that_cannot_begin_leaves_the_one_that_there_is(autojump_clock):
    async with cluster() as found:
        worker, handlers = await found.worker(), dict(HANDLERS)
        live = LiveTracer(worker.hub, handlers)
        await live.start("ann", None, 60.0)
        worker.log.away = True
        with pytest.raises((LogUnavailable, Refusal)):
            await live.start(None, "event:1", 60.0)
        assert live.told(0)["tracing"] == {"user_id": "ann", "resource": None}
        live.stop()
        assert handlers == HANDLERS


async def test_who_watches_a_room_too_hears_of_the_change_that_finds_a_trace_over(autojump_clock):
    async with cluster() as found:
        worker, heard = await found.worker(), []
        room = await worker.open()
        live = LiveTracer(worker.hub, dict(HANDLERS))
        await live.start(None, room.resource, 60.0)
        with room.watched(lambda: heard.append(room.version)):
            await trio.sleep(61)
            for title in "ab":
                await worker.commit(room, Author("ann"), titled(title))
        assert heard == [2, 3]
        assert live.told(0)["events"] == []


async def test_a_trace_of_a_user_keeps_nothing_that_cannot_be_a_resource(autojump_clock):
    async with desk() as found:
        client, handlers = await found.client(), dict(HANDLERS)
        live = LiveTracer(found.hub, handlers)
        await live.start("ann", None, 60.0)
        for kind, ident in (("event", "1"), ("event", "x" * 100_000), ("\x1b[2J", "1"), ("event", "\n")):
            message = Message("PING", None, {"resource": kind, "resource_id": ident})
            handlers["PING"](client.session, message, b"{}")
        assert [event["resource"] for event in live.told(0)["events"]] == ["event:1", None, None, None]
