"""Cursors as of the head, for who comes later."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest

from gateway.ports import Committed, Person
from gateway.rooms.cursors import carried
from gateway.rooms.roster import Presence
from tests.rooms.parts import CREATE, START_MS, Author, Table, record

TEXT = "Agenda: cake"


@pytest.fixture
def table() -> Table:
    """A room whose event has a description, and ann in it."""
    told = Table(records=[record(1, CREATE)])
    commit(told, "bob", {"op": "add", "path": "/description", "value": TEXT})
    told.room.roster.join(Presence("s-ann", "ann-client", Somebody(), None, START_MS), START_MS)
    return told


class Somebody(Person):
    user_id, name, avatar_url = "ann", "Ann", ""


def commit(table: Table, name: str, *patch: dict[str, Any]) -> None:
    table.edit(Author(name), list(patch))
    table.prepared()
    table.room.settle(Committed())


def put(table: Table, **cursor: Any) -> None:
    """Ann's cursor, told at the head."""
    entry = table.room.roster.get("s-ann")
    cursor = {"field": "description", **cursor, "version": table.room.version}
    table.room.roster.update(entry, START_MS, cursor, None)


def seen(table: Table) -> dict[str, Any]:
    """Ann's cursor for who comes now."""
    [presence] = orjson.loads(table.room.roster.state(START_MS))["payload"]["presences"]
    return presence["cursor"]


def typed(at: int, text: str) -> dict[str, Any]:
    return {"op": "text", "path": "/description", "value": [at, text]}


def test_what_came_since_is_before_it_or_after_it(table):
    put(table, position=8, anchor=12)
    commit(table, "bob", typed(0, "The "))
    commit(table, "bob", typed(16, "!"))
    assert seen(table) == {
        "field": "description",
        "position": 12,
        "anchor": 16,
        "version": table.room.version,
    }
    commit(table, "bob", {"op": "replace", "path": "/title", "value": "Other"})
    assert (seen(table)["position"], seen(table)["version"]) == (12, table.room.version)


def test_it_stands_after_what_its_owner_typed_at_it_and_before_what_others_did(table):
    put(table, position=8)
    commit(table, "ann", typed(8, "much "))
    assert seen(table)["position"] == 13
    commit(table, "bob", typed(13, "good "))
    assert seen(table)["position"] == 13


def test_a_text_that_was_replaced_is_compared(table):
    commit(table, "bob", {"op": "replace", "path": "/title", "value": TEXT})
    put(table, field="title", position=8)
    commit(table, "bob", {"op": "replace", "path": "/title", "value": "The agenda: cake"})
    assert seen(table)["position"] == 12


def test_a_long_text_is_compared_too(table):
    text = "word " * 4000
    commit(table, "bob", {"op": "add", "path": "/notes", "value": text})
    put(table, field="notes", position=len(text) - 5)
    commit(table, "bob", {"op": "replace", "path": "/notes", "value": f"A {text}"})
    assert seen(table)["position"] == len(text) - 3


def test_where_the_text_is_gone_the_field_is_left(table):
    put(table, position=8)
    commit(table, "bob", {"op": "remove", "path": "/description"})
    commit(table, "bob", {"op": "add", "path": "/description", "value": TEXT})
    assert seen(table) == {"field": "description"}


def test_it_is_carried_before_the_window_is_cut(table):
    put(table, position=8)
    commit(table, "bob", typed(0, "The "))
    table.room.trim(0, 0)
    assert seen(table) == {"field": "description", "position": 12, "version": table.room.version}
    for _ in range(3):
        commit(table, "bob", typed(0, "!"))
        table.room.trim(2, 1 << 20)
    assert seen(table) == {"field": "description", "position": 15, "version": table.room.version}


def test_what_the_window_does_not_reach_is_told_as_it_was(table):
    commit(table, "bob", typed(0, "The "))
    table.room.trim(0, 0)
    put(table, position=8)
    entry = table.room.roster.get("s-ann")
    entry.cursor = {"field": "description", "position": 8, "version": 2}  # another node's, told before
    commit(table, "bob", typed(0, "The "))
    assert seen(table) == {"field": "description", "position": 8, "version": 2}


def test_a_field_may_be_a_pointer(table):
    put(table, field="/description", position=8)
    commit(table, "bob", typed(0, "The "))
    assert seen(table)["position"] == 12


def test_a_tilde_of_a_members_name_may_stand_as_it_is(table):
    commit(table, "bob", {"op": "add", "path": "/notes~02", "value": TEXT})
    for field in ("notes~2", "notes~02", "/notes~02"):
        put(table, field=field, position=8)
        commit(table, "bob", {"op": "text", "path": "/notes~02", "value": [0, "The "]})
        assert seen(table)["position"] == 12


def test_an_index_has_one_spelling(table):
    commit(table, "bob", {"op": "add", "path": "/notes", "value": [TEXT]})
    for field, cursor in (("/notes/0", {"position": 12, "version": 4}), ("/notes/00", {})):
        put(table, field=field, position=8)
        commit(table, "bob", {"op": "text", "path": "/notes/0", "value": [0, "The "]})
        assert seen(table) == {"field": field, **cursor}


def test_what_is_told_at_an_old_version_stands_at_the_head_at_once(table):
    commit(table, "bob", typed(0, "The "))
    entry = table.room.roster.get("s-ann")
    table.room.roster.update(entry, START_MS, {"field": "description", "position": 8, "version": 2}, None)
    assert entry.cursor == {"field": "description", "position": 12, "version": 3}


@pytest.mark.parametrize("is_first", [False, True])
def test_what_would_take_long_is_left_with_its_field(table, is_first):
    random = Random(1)
    cheap, dear = [Presence(f"s-{n}", f"client-{n}", Somebody(), None, START_MS) for n in range(2)]
    commit(table, "bob", {"op": "add", "path": "/notes", "value": TEXT})
    standing = [(cheap, "title"), (dear, "notes")]
    for entry, field in reversed(standing) if is_first else standing:
        table.room.roster.join(entry, START_MS)
        cursor = {"field": field, "position": 1, "version": table.room.version}
        table.room.roster.update(entry, START_MS, cursor, None)
    for _ in range(40):
        value = "".join(random.choices("ab ", k=999))
        commit(table, "bob", {"op": "replace", "path": "/notes", "value": value})
    table.room.roster.state(START_MS)
    assert cheap.cursor == {"field": "title", "position": 1, "version": table.room.version}
    assert dear.cursor == {"field": "notes"}


def test_a_cut_carries_only_what_it_would_lose(table):
    commit(table, "bob", typed(0, "The "))
    put(table, position=8)
    commit(table, "bob", typed(0, "The "))
    kept = table.room.history.window.bytes
    entry = table.room.roster.get("s-ann")
    for bounds in ((2, kept), (4, kept - 1)):
        table.room.trim(*bounds)
        assert (entry.cursor["position"], entry.cursor["version"]) == (8, 3)
    table.room.trim(0, kept)
    assert (entry.cursor["position"], entry.cursor["version"]) == (12, 4)


@pytest.mark.parametrize("cursor", [{}, {"field": "a/~/b"}, {"field": "title", "position": 10**18}])
def test_a_cursor_that_is_nowhere_hurts_nobody(table, cursor):
    put(table, **cursor)
    commit(table, "bob", typed(0, "The "))
    assert seen(table)["field"] == cursor.get("field", "description")


@pytest.mark.parametrize(
    ("delta", "stays", "expected"),
    [
        ((2, "ab", -2), False, [0, 1, 4, 4, 4, 5]),
        ((2, "ab", -2), True, [0, 1, 2, 4, 4, 5]),
        ((-3,), False, [0, 0, 0, 0, 1, 2]),
        ((), False, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_an_offset_past_a_delta(delta, stays, expected):
    assert [carried(delta, offset, stays) for offset in range(6)] == expected
