"""A plain broadcast, npm socket.io: delivers well, keeps nothing; the verdict says both."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.engine.pure import Engine
from loadtest.evidence import Evidence, ReplicaState
from loadtest.protocols.authors import Book, Reading, judge_authors
from loadtest.protocols.rooms import SocketIO
from loadtest.users import Target, User
from tests.loadtest.peers import verdict_of

ALONE: dict[str, Any] = {"activity": {"mix": {"title": 1}}, "population": {"documents": 3, "replicas": 0}}
NOW = 1_000_000_000


async def test_a_room_delivers_to_those_who_stay() -> None:
    verdict = await verdict_of("socketio", "socketio", **ALONE)
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    assert verdict["report"]["latency_ms"]["delivery"]["count"] > 600


async def test_who_was_away_misses_what_was_written_and_documents_differ() -> None:
    verdict = await verdict_of("socketio", "socketio")
    assert (verdict["status"], verdict["gaps"] > 0, verdict["diverged"] > 0) == ("fail", True, True)


@pytest.mark.parametrize(
    ("fault", "name"), [("lose", "gaps"), ("reorder", "reordered"), ("duplicate", "duplicates")]
)
async def test_a_broken_room_is_convicted_by_name(fault: str, name: str) -> None:
    verdict = await verdict_of("socketio", "socketio", fault, **ALONE)
    assert (verdict["status"], verdict[name] > 0) == ("fail", True)


def reader() -> tuple[Engine, User, Book, Reading]:
    engine = Engine()
    user = User(
        0, engine.add_user(engine.add_document(), False), 0, Target("ws://x/", b"", 0, "r", "event"), False
    )
    book = Book()
    for number in range(1, 6):
        book.submit("ann", number)
    return engine, user, book, Reading()


@pytest.mark.parametrize(
    ("arrive", "faults"),
    [
        ([1, 2, 3, 4, 5], {}),
        ([1, 2, 4, 5], {1: 1}),
        ([1, 3, 2, 4], {1: 0, 3: 1}),
        ([1, 2, 2, 3], {2: 1}),
        ([4], {1: 3}),
    ],
)
def test_an_authors_edits_come_one_by_one(arrive: list[int], faults: dict[int, int]) -> None:
    engine, user, book, reading = reader()
    for number in arrive:
        book.deliver(engine, user, reading, "ann", number, NOW)
    assert engine.fault_counts == faults


def test_what_was_written_before_a_reader_came_needs_not_come() -> None:
    engine, user, book, reading = reader()
    book.join(reading)
    book.acknowledge("ann", 5)
    assert book.behind(reading, "bob") == {}
    book.deliver(engine, user, reading, "ann", 5, NOW)
    book.submit("ann", 6)
    book.acknowledge("ann", 6)
    assert (engine.fault_counts, book.behind(reading, "bob")) == ({}, {"ann": 1})


@pytest.mark.parametrize(("state", "diverged"), [("live", 1), ("idle", 0)])
def test_who_has_left_needs_no_newest_document(state: str, diverged: int) -> None:
    _, user, book, _ = reader()
    user.state = state
    replica = ReplicaState(user.user_id, 1, {"title": "old"}, None)
    evidence = Evidence("load-r-0", {"title": "new"}, 0, [], 0, [], replicas=[replica])
    assert judge_authors(evidence, [user], book, {}).counts["diverged"] == diverged


def test_a_room_has_no_versions_to_be_ahead_of() -> None:
    engine, user, _, _ = reader()
    assert SocketIO().ahead(engine, user, 7) == 0
