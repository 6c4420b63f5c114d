"""Writes over HTTP that wait: what holds when they are made counts."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import trio

from gateway.errors import LogUnavailable, Refusal
from gateway.http.port import ANY_DOCUMENT, Signed, Written
from gateway.node.naming import Naming
from gateway.node.resources import HubResources
from gateway.ports import Question, Role
from gateway.ports.resources import Resource
from gateway.rooms.room import Room
from gateway.rooms.waiter import Waiter
from tests.rooms.parts import START_MS
from tests.sessions.parts import Desk, Office, desk, overloaded

EVENT = Resource("event", "1")
LUNCH = {"title": "Lunch"}
ADMIN = Office().verify("ann:admin", START_MS / 1000)


class Deciding:
    """An authoriser that grants `role`, to whoever asks while `answers` is set."""

    def __init__(self) -> None:
        self.role: Role = "admin"
        self.answers = trio.Event()
        self.answers.set()

    async def decide(self, questions: Sequence[Question]) -> Sequence[Role | None]:
        await self.answers.wait()
        return [self.role for _ in questions]

    async def visible(self, user_id: str, resource_type: str) -> object:
        return None

    async def aclose(self) -> None:
        pass


class Writing:
    """A PUT with `If-Match: *` of an event that was there when it came."""

    def __init__(self, found: Desk) -> None:
        self.resources = HubResources(found.hub, found.endpoint.context)
        self.refusal: Refusal | None = None

    async def put(self) -> None:
        try:
            await self.resources.put(ADMIN, EVENT, LUNCH, ANY_DOCUMENT)
        except Refusal as refusal:
            self.refusal = refusal

    async def delete(self) -> Written:
        return await self.resources.delete(ADMIN, EVENT, None)


async def test_a_put_that_needs_a_document_makes_none_where_it_is_deleted_first(autojump_clock: Any) -> None:
    async with desk() as found:
        writing = Writing(found)
        async with trio.open_nursery() as nursery:
            found.worker.log.hold()
            nursery.start_soon(writing.delete)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(writing.put)
            await trio.testing.wait_all_tasks_blocked()
            found.worker.log.go.set()
        assert writing.refusal is not None
        assert (writing.refusal.code, writing.refusal.details["version"]) == ("CONFLICT", 2)
        assert (found.room().version, found.room().document) == (2, None)


async def test_a_put_that_needs_a_document_looks_for_it_after_its_wait(autojump_clock: Any) -> None:
    authoriser = Deciding()
    async with desk(authoriser=authoriser) as found:
        writing, client = Writing(found), await found.client("bob:admin", subscribed=True)
        authoriser.answers = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writing.put)
            await trio.testing.wait_all_tasks_blocked()
            await client.edit({"op": "add", "path": "", "value": None}, 1)
            authoriser.answers.set()
        assert writing.refusal is not None
        assert (writing.refusal.code, writing.refusal.details["version"]) == ("CONFLICT", 2)
        assert (found.room().version, found.room().document) == (2, None)


async def test_of_a_put_that_the_room_refuses_nothing_is_kept(autojump_clock: Any) -> None:
    """Its author kept the refusal, whose traceback keeps the author, and the document."""
    async with desk() as found:
        writing = Writing(found)
        gc.collect()
        gc.disable()
        try:
            with suppress(Refusal):
                await writing.resources.put(ADMIN, EVENT, {"title": 5}, None)
            assert not [each for each in gc.get_objects() if isinstance(each, Waiter)]
        finally:
            gc.enable()
        assert found.room().version == 1


async def test_a_delete_that_needs_a_document_finds_none(autojump_clock: Any) -> None:
    async with desk() as found:
        writing = Writing(found)
        await writing.delete()
        with pytest.raises(Refusal, match="doesn't exist at version 2"):
            await writing.resources.delete(ADMIN, EVENT, ANY_DOCUMENT)


@pytest.mark.parametrize("named", [False, True])
async def test_who_may_not_purge_any_more_purges_nothing(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """The right goes before anything is erased, or while the names are."""

    def revoked() -> None:
        monkeypatch.setattr(Office, "reviewed", lambda *_: Office().verify("ann:viewer", START_MS / 1000))

    async with desk() as found:
        writing = Writing(found)
        purge = Naming.purge

        async def revoked_meanwhile(*given: Any) -> None:
            await purge(*given)
            revoked()

        if named:
            monkeypatch.setattr(Naming, "purge", revoked_meanwhile)
        else:
            revoked()
        with pytest.raises(Refusal) as refused:
            await writing.resources.purge(ADMIN, EVENT)
        assert refused.value.code == "FORBIDDEN"
        assert found.counters.operations_refused == {"FORBIDDEN": 1}
        assert found.room().version == 1


async def test_a_purge_that_is_done_is_not_said_to_be_none_where_what_follows_fails(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk() as found:
        writing = Writing(found)
        purge, begun = Naming.purge, list[str]()

        async def away_at_last(naming: Naming, name: str) -> None:
            begun.append(name)
            if len(begun) == 2:
                raise Refusal("UNAVAILABLE", "The log is away.", outcome="none")
            await purge(naming, name)

        monkeypatch.setattr(Naming, "purge", away_at_last)
        with pytest.raises(Refusal) as refused:
            await writing.resources.purge(ADMIN, EVENT)
        assert refused.value.details["outcome"] == "unknown"
        assert found.room().version == 0


async def test_of_a_purge_whose_room_has_the_old_history_yet_nothing_is_noted(autojump_clock: Any) -> None:
    noted: list[Room] = []
    summariser: Any = SimpleNamespace(note=noted.append)
    async with desk() as found:
        resources = HubResources(found.hub, found.endpoint.context, summariser)
        failing = found.worker.log.failing
        failing[str(EVENT)] = LogUnavailable("away", "none")
        with pytest.raises(Refusal) as refused:
            await resources.purge(ADMIN, EVENT)
        assert (refused.value.code, refused.value.details["outcome"]) == ("UNAVAILABLE", "unknown")
        assert (noted, found.counters.operations_refused) == ([], {"UNAVAILABLE": 1})
        failing.clear()
        written = await resources.purge(ADMIN, EVENT)
        assert noted == [found.room()]
        assert (written.version, written.epoch) == (0, found.room().epoch)


async def test_a_version_that_the_log_lost_is_read_once_the_room_brought_it_back(autojump_clock: Any) -> None:
    async with desk() as found:
        resources = HubResources(found.hub, found.endpoint.context)
        for title in "abc":
            await resources.put(ADMIN, EVENT, {"title": title}, None)
        assert found.room().version == 4
        found.worker.log.history.lose_end(str(EVENT), 1)
        read = await resources.read(EVENT, 3)
        assert (orjson.loads(read.document)["title"], read.epoch) == ("b", found.room().epoch)


async def test_in_an_overload_a_put_is_refused_but_not_one_that_is_on_its_way_and_sent_again(
    autojump_clock: Any,
) -> None:
    async with desk() as found:
        resources = HubResources(found.hub, found.endpoint.context)
        made: list[int] = []

        async def restore() -> None:
            written = await resources.put(ADMIN, EVENT, LUNCH, None, Signed("tab", 1, "restore"))
            made.append(written.version)

        async with trio.open_nursery() as nursery:
            found.worker.log.hold()
            nursery.start_soon(restore)
            await trio.testing.wait_all_tasks_blocked()
            await overloaded(found)
            nursery.start_soon(restore)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Refusal) as caught:
                await resources.put(ADMIN, EVENT, LUNCH, None)
            found.worker.log.go.set()
        assert (caught.value.code, made, found.room().version) == ("UNAVAILABLE", [2, 2], 2)
