"""Whether an OP_ACK has to say what was committed, or the patch that was sent says it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway import ot
from gateway.ports import Committed
from gateway.rooms.submission import differs_in_effect
from tests.operations import add, replace
from tests.rooms.parts import Author, Table, record, titled

DOCUMENT = {"title": "T", "description": "abc", "tags": ["there"], "reminders": ["there"]}
Patch = list[dict[str, Any]]


def room(*theirs: Patch) -> Table:
    """A room whose event ann created, and which bob changed so."""
    records = [record(1, [{"op": "add", "path": "", "value": DOCUMENT}])]
    records += [record(version, patch, by="bob") for version, patch in enumerate(theirs, 2)]
    return Table(records=records)


def typed(*components: Any, **more: Any) -> dict[str, Any]:
    return {"op": "text", "path": "/description", "value": [*components], **more}


def told(table: Table, patch: Patch, base: int = 1, extended: bool = True, **fields: Any) -> Patch | None:
    """The operations in the OP_ACK of ann's edit, which is committed."""
    mine = table.reader(extended)
    table.edit(Author("ann", mine, extended), patch, base=base, **fields)
    table.prepared()
    table.room.settle(Committed())
    [payload] = [payload for kind, payload in mine.take() if kind == "OP_ACK"]
    return payload.get("operations")


def committed(table: Table) -> Patch:
    """The operations of the newest change."""
    [change] = table.room.history.since(table.room.version - 1)
    return orjson.loads(change.body)["operations"]


SAME = {
    "the end of an array": [add("/tags/-", "mine")],
    "a test": [{"op": "test", "path": "/title", "value": "T"}, replace("/title", "mine")],
    "a copy": [{"op": "copy", "from": "/title", "path": "/location"}],
    "an added member that is there": [add("/title", "mine")],
    "a whole text": [replace("/description", "abcd")],
    "a text in UTF-16": [typed(3, "d", unit="utf16")],
    "a text in pieces": [typed(1, 2, "d")],
}


@pytest.mark.parametrize("patch", SAME.values(), ids=SAME)
@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("base", [1, 2])
def test_what_was_sent_is_not_said_again_where_it_says_what_was_committed(patch, extended, base):
    table = room([add("/color", "red")])
    assert told(table, patch, base, extended) is None
    assert committed(table) != patch
    literal = ot.apply_patch(table.room.history.document_at(2), patch)
    assert ot.identical(literal, table.room.document)


def test_the_end_of_an_array_is_the_same_where_others_added_something():
    table = room([add("/tags/-", "theirs")])
    assert told(table, [add("/tags/-", "mine")]) is None
    assert table.room.document["tags"] == ["there", "theirs", "mine"]


OTHER = {
    "another index": ([replace("/reminders/0", "mine")], [add("/reminders/0", "theirs")]),
    "an item beside an equal one": ([add("/reminders/1", "x")], [add("/reminders/1", "x")]),
    "a text that merged": ([replace("/description", "abcd")], [typed("_")]),
    "a copy of what is another by now": (
        [{"op": "copy", "from": "/title", "path": "/location"}],
        titled("theirs"),
    ),
    "an id that is there": ([add("/tags/-", "there")], titled("theirs")),
    "nothing": (titled("same"), titled("same")),
}


@pytest.mark.parametrize(("patch", "theirs"), OTHER.values(), ids=OTHER)
def test_what_was_committed_is_said_where_it_does_something_else(patch, theirs):
    table = room(theirs)
    assert told(table, patch) == committed(table)


def test_what_a_new_array_became_is_said_where_an_item_in_it_is_a_conflict():
    table = room(
        [add("/attendees", [{"user_id": "ann"}, {"user_id": "bob"}])],
        [add("/attendees/1/email", "bob@example.com")],
    )
    fewer = [replace("/attendees", [{"user_id": "ann"}])]
    assert told(table, fewer, base=2) == committed(table) == [{"op": "remove", "path": "/attendees/1"}]


@pytest.mark.parametrize("base", [3, 2])
def test_texts_and_sums_are_not_lowered_again_to_see_what_they_do(base):
    table = room([add("/n", 1)], [add("/color", "red")])
    patch = [typed(3, "d", unit="utf16"), {"op": "inc", "path": "/n", "value": 2}]
    edit = table.edit(Author("ann", table.reader()), patch, base=base)
    table.prepared()
    table.room.settle(Committed())
    [change] = table.room.history.since(table.room.version - 1)
    budget = ot.budget()
    assert not differs_in_effect(edit, change.entry(), budget)
    assert (budget.spent == 0) == (base == 3)
    document = table.room.document
    assert (document["description"], document["n"]) == ("abcd", 3)


def test_an_undo_is_always_said():
    table = room()
    assert told(table, [], operations=ot.lower(DOCUMENT, titled("before")), undoes=1) == titled("before")


def test_what_nobody_is_told_is_not_worked_out():
    table = room(titled("theirs"))
    edit = table.edit(Author("ann"), [add("/tags/-", "there")], base=1)
    table.prepared()
    assert not edit.differs


def test_an_edit_with_too_little_work_left_to_compare_them_is_committed_and_said():
    for units in range(0, 100_000, 50):
        table = room()
        mine = table.reader()
        table.edit(Author("ann", mine), [add("/tags/-", "mine")], units=units)
        if table.room.prepare() is not None:
            break
    table.room.settle(Committed())
    [(kind, payload)] = mine.take()
    assert (kind, payload["operations"]) == ("OP_ACK", [add("/tags/1", "mine")])
