"""An edit of somebody who has no connection: whose it is, what answers it, and that its session ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
import trio

from gateway.admission import Revocation, Revocations
from gateway.config import FeaturesSettings
from gateway.errors import AuthoriserError, Refusal
from gateway.node.resources import HubResources
from gateway.ports import Question, Role
from gateway.ports.resources import Resource
from gateway.sessions import authentication
from gateway.sessions.session import ClientSession
from tests.rooms.parts import CREATE, Author, titled
from tests.sessions.parts import CONFIG, Decider, Desk, Office, desk, desk_with, desks


class Edit:
    """An edit over HTTP whose append is held up."""

    def __init__(self, found: Desk) -> None:
        self._found = found
        self.answer: dict[str, Any] = {}
        self.refusal: Refusal | None = None

    async def send(self, token: str = "ann", **payload: Any) -> None:
        edit = {"resource_type": "event", "resource_id": "1", "version": 1, "client_id": "caller"}
        identity = Office().verify(token, self._found.hub.wall_ms() / 1000)
        resources = HubResources(self._found.hub, self._found.endpoint.context)
        try:
            done = await resources.submit(
                identity, Resource("event", "1"), {**edit, "operations": titled("a"), **payload}
            )
            self.answer = done.payload
        except Refusal as refusal:
            self.refusal = refusal

    @property
    def session(self) -> ClientSession:
        [session] = self._found.endpoint.registry.sessions
        return session


async def leaves(found: Desk, edit: Edit, nursery: trio.Nursery) -> None:
    nursery.start_soon(found.endpoint.drain)


async def loses_a_role(found: Desk, edit: Edit, nursery: trio.Nursery) -> None:
    authentication.review_roles(edit.session, Office().verify("ann:viewer", 0))


async def nears_the_end_of_its_token(found: Desk, edit: Edit, nursery: trio.Nursery) -> None:
    await trio.sleep(3)


async def is_not_admitted(found: Desk, edit: Edit, nursery: trio.Nursery) -> None:
    found.endpoint.take_flags(FeaturesSettings(rollout_percentage=0))


async def is_disconnected(found: Desk, edit: Edit, nursery: trio.Nursery) -> None:
    ended = Revocation("connections", "ann", found.hub.wall_ms() / 1000)
    found.endpoint.disconnect(Revocations([ended]))


@pytest.mark.parametrize(
    "happens", [leaves, loses_a_role, nears_the_end_of_its_token, is_not_admitted, is_disconnected]
)
async def test_what_the_session_is_told_meanwhile_is_not_the_answer(
    autojump_clock: trio.abc.Clock, happens: Callable[..., Any]
) -> None:
    async with desk() as found:
        edit = Edit(found)
        async with trio.open_nursery() as nursery:
            found.worker.log.hold()
            nursery.start_soon(edit.send, "ann:editor:10")
            await trio.testing.wait_all_tasks_blocked()
            await happens(found, edit, nursery)
            await trio.testing.wait_all_tasks_blocked()
            assert (edit.answer, edit.refusal) == ({}, None)
            found.worker.log.go.set()
        assert (edit.answer.get("version"), edit.refusal) == (2, None)
        assert not found.endpoint.registry.sessions


async def test_whose_token_ends_is_told_that_the_outcome_is_unknown(autojump_clock: trio.abc.Clock) -> None:
    """The edit is on its way: that the token expired would say that it wasn't made."""
    async with desk() as found:
        edit = Edit(found)
        found.worker.log.hold()
        await edit.send("ann:editor:2")
        assert edit.refusal is not None
        assert (edit.refusal.code, edit.refusal.details["outcome"]) == ("UNAVAILABLE", "unknown")
        found.worker.log.go.set()
        await found.hub.idle()
        assert found.room().version == 2


async def test_an_edit_that_waits_while_its_node_drains_is_told_that_it_was_not_made(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with desk_with("ann") as (found, client), trio.open_nursery() as nursery:
        await client.edit(titled("b"), 1)
        found.room().trim(0, 0)
        found.worker.log.hold_reads()
        edit = Edit(found)
        nursery.start_soon(edit.send)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(found.endpoint.drain)
        await trio.testing.wait_all_tasks_blocked()
        found.worker.log.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        assert edit.refusal is not None
        assert (edit.refusal.code, edit.refusal.details["outcome"]) == ("UNAVAILABLE", "none")
        assert (found.counters.operations_refused, found.room().version) == ({}, 2)
        client.leave()


async def test_an_edit_that_waits_for_its_share_while_its_node_drains_is_told_that_it_was_not_made(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with desk_with("ann") as (found, client), trio.open_nursery() as nursery:
        found.endpoint.context.cpu.spend("ann", 1000.0, found.hub.now_s())
        edit = Edit(found)
        nursery.start_soon(edit.send)
        await trio.testing.wait_all_tasks_blocked()
        assert found.counters.messages_waited == 1
        nursery.start_soon(found.endpoint.drain)
        await trio.sleep(30)
        assert edit.refusal is not None
        assert (edit.refusal.code, edit.refusal.details["outcome"]) == ("UNAVAILABLE", "none")
        assert found.counters.operations_refused == {}
        client.leave()


@pytest.mark.parametrize(
    ("decides", "code"), [(None, "FORBIDDEN"), (AuthoriserError("unreachable", "away"), "UNAVAILABLE")]
)
async def test_who_may_not_edit_any_more_leaves_no_session(
    autojump_clock: trio.abc.Clock, decides: Role | AuthoriserError | None, code: str
) -> None:
    async with desk(authoriser=Decider(decides)) as found:
        edit = Edit(found)
        await edit.send()
        assert edit.refusal is not None and edit.refusal.code == code
        assert found.counters.operations_refused == {code: 1}
        assert not found.endpoint.registry.sessions
        assert found.endpoint.visitors.users == 0


async def test_an_edit_that_nests_deeper_than_json_is_written_is_too_large(
    autojump_clock: trio.abc.Clock,
) -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    async with desk() as found:
        edit = Edit(found)
        await edit.send(operations=[{"op": "add", "path": "/x", "value": deep}])
        assert edit.refusal is not None and edit.refusal.code == "TOO_LARGE"
        assert found.counters.operations_refused == {"TOO_LARGE": 1}
        assert not found.endpoint.registry.sessions


@pytest.mark.parametrize("client_id", ["", "x" * 129, 7, None])
async def test_a_client_id_that_no_connection_may_have_is_refused(
    autojump_clock: trio.abc.Clock, client_id: object
) -> None:
    async with desk() as found:
        edit = Edit(found)
        await edit.send(client_id=client_id)
        assert edit.refusal is not None
        assert (edit.refusal.code, "client_id" in edit.refusal.message) == ("INVALID_MESSAGE", True)
        assert found.counters.operations_refused == {"INVALID_MESSAGE": 1}
        assert not found.endpoint.registry.sessions
        await edit.send(client_id="x" * 128)
        assert edit.answer["version"] == 2


class Hesitant(Decider):
    """Decides when it may."""

    def __init__(self) -> None:
        super().__init__("editor")
        self.go = trio.Event()

    async def decide(self, questions: Sequence[Question]) -> Sequence[Role | None]:
        await self.go.wait()
        return await super().decide(questions)


async def test_a_room_stays_open_while_the_authoriser_is_asked(autojump_clock: trio.abc.Clock) -> None:
    config = CONFIG.with_(timeouts={"room_idle_s": 1.0}, authoriser={"timeout_s": 60.0})
    hesitant = Hesitant()
    async with desk(config, hesitant) as found, trio.open_nursery() as nursery:
        edit = Edit(found)
        nursery.start_soon(edit.send)
        await trio.sleep(5)
        room = found.room()
        hesitant.go.set()
        await trio.sleep(1)
        assert (edit.answer["version"], room.version) == (2, 2)


async def test_who_has_seen_a_newer_history_gets_what_came_after_it(autojump_clock: trio.abc.Clock) -> None:
    async with desks(2) as (here, there):
        await here.worker.open()
        here.worker.bus.post = lambda resource, payload: None  # type: ignore[method-assign]
        purged = await there.hub.purge("event:1")
        for patch in (CREATE, titled("b")):
            await there.worker.commit(purged, Author("ann"), patch)
        assert here.room().epoch < purged.epoch
        news = await HubResources(here.hub, here.endpoint.context).news(
            Resource("event", "1"), 1, purged.epoch
        )
        assert (news.version, news.epoch, news.document) == (2, purged.epoch, None)
        assert [orjson.loads(change)["version"] for change in news.changes or ()] == [2]
