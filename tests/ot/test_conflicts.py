"""What an edit is said to have overwritten, or lost (docs/reference/merging.md, Conflicts)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError
from tests.operations import add, remove, replace
from tests.ot import oracle

EVENT = {
    "title": "Standup",
    "description": "Bring cake.",
    "count": 3,
    "tags": ["a", "b"],
    "attendees": [
        {"user_id": "ann", "response_status": "NEEDS_ACTION"},
        {"user_id": "bob", "response_status": "NEEDS_ACTION"},
    ],
}
RSVP = "/attendees/1/response_status"
STRATEGIES: ot.Strategies = {
    ("description",): "text",
    ("count",): "counter",
    ("tags",): ("set",),
    ("attendees",): ("set", "user_id"),
}


def reported(mine: ot.Patch, *theirs: ot.Patch, document: Any = EVENT) -> list[ot.Conflict]:
    """The conflicts of `mine` with changes that came first; none without a loss bit."""
    head, window = document, []
    for patch in theirs:
        operations = ot.settle(head, ot.lower(head, patch, STRATEGIES))
        window.append(operations)
        head = ot.apply(head, operations)
    lowered = ot.lower(document, mine, STRATEGIES)
    rebased, losses = ot.rebase_losses(lowered, window)
    found = ot.conflicts(document, mine, window, STRATEGIES)
    if not losses and rebased == list(ot.normalise(head, rebased, STRATEGIES)):
        assert not found
    if losses & ot.ONLY_WRITES_OVER and len(mine) == 1:
        assert ot.overwritten(document, lowered[0], window) == found
    return found


def test_a_later_title_overwrites_what_its_author_has_not_seen() -> None:
    assert reported([replace("/title", "Mine")], [replace("/title", "Theirs")]) == [
        {
            "index": 0,
            "path": "/title",
            "kind": "overwrote",
            "change": 0,
            "base": "Standup",
            "theirs": "Theirs",
        }
    ]


def test_the_newest_of_several_changes_wrote_what_was_overwritten() -> None:
    found = reported(
        [replace("/title", "Mine")],
        [replace("/title", "One")],
        [replace("/count", 7)],
        [replace("/title", "Two")],
        [add("/tags/-", "c")],
    )
    assert [(conflict["theirs"], conflict["change"]) for conflict in found] == [("Two", 2)]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (replace("/title", "Same"), replace("/title", "Same")),
        (replace("/title", "Mine"), replace("/count", 4)),
        (replace("/count", 5), replace("/count", 7)),
        (replace("/description", "Bring cake!"), replace("/description", "Please bring cake.")),
        (add("/tags/-", "c"), add("/tags/-", "d")),
        (add("/tags/-", "c"), add("/tags/-", "c")),
        (add("/attendees/-", {"user_id": "cy"}), remove("/attendees/0")),
        (remove("/attendees/1"), remove("/attendees/1")),
        (replace(RSVP, "ACCEPTED"), remove("/attendees/0")),
        (replace(RSVP, "ACCEPTED"), add("/attendees/0", {"user_id": "cy"})),
        (replace(RSVP, "ACCEPTED"), replace("/attendees/0/response_status", "DECLINED")),
        ({"op": "move", "from": "/tags/0", "path": "/tags/1"}, add("/tags/0", "c")),
    ],
)  # fmt: skip
def test_what_merges_is_no_conflict(mine: Any, theirs: Any) -> None:
    assert reported([mine], [theirs]) == []


def test_an_edit_of_what_was_removed_is_dropped() -> None:
    found = reported([replace(RSVP, "ACCEPTED")], [remove("/attendees/1")])
    assert found == [
        {
            "index": 0,
            "path": RSVP,
            "kind": "dropped",
            "change": 0,
            "base": "NEEDS_ACTION",
        }
    ]


def test_an_edit_of_a_deleted_document_is_dropped() -> None:
    found = reported([replace("/title", "Mine"), add("/tags/-", "c")], [replace("", None)])
    assert [(c["index"], c["path"], c["kind"], c.get("theirs")) for c in found] == [
        (0, "/title", "dropped", None),
        (1, "/tags/2", "dropped", None),
    ]


def test_the_removal_of_what_was_changed_overwrites_it() -> None:
    found = reported([remove("/attendees/1")], [replace(RSVP, "ACCEPTED")])
    assert [(c["path"], c["kind"], c["theirs"]["response_status"]) for c in found] == [
        ("/attendees/1", "overwrote", "ACCEPTED")
    ]


def test_writing_what_was_removed_overwrites_the_removal() -> None:
    (found,) = reported([replace("/title", "Mine")], [remove("/title")])
    assert (found["kind"], found["base"], "theirs" in found) == ("overwrote", "Standup", False)
    (found,) = reported([replace("/tags/1", "x")], [remove("/tags/1")])
    assert (found["kind"], found["path"], "theirs" in found) == ("overwrote", "/tags/1", False)


def test_a_change_that_was_taken_back_is_no_conflict() -> None:
    theirs = [[replace("/title", "Theirs")], [replace("/title", "Standup")]]
    assert reported([replace("/title", "Mine")], *theirs) == []


def test_somebody_wrote_the_same_and_another_something_else() -> None:
    (found,) = reported(
        [replace("/title", "Mine")], [replace("/title", "Mine")], [replace("/title", "Theirs")]
    )
    assert (found["kind"], found["theirs"], found["change"]) == ("dropped", "Theirs", 1)


def test_the_index_is_that_of_the_patch_and_not_of_its_operations() -> None:
    mine = [
        replace("/description", "Bring cake."),  # nothing is left of it
        add("/attendees/0", {"user_id": "bob", "response_status": "ACCEPTED"}),  # a removal and an insertion
        replace("/title", "Mine"),
    ]
    found = reported(mine, [replace("/title", "Theirs"), replace(RSVP, "DECLINED")])
    assert [(c["index"], c["path"]) for c in found] == [(1, "/attendees/1"), (2, "/title")]


def test_what_a_patch_overwrote_once_is_its_own_from_then_on() -> None:
    found = reported([replace("/title", "One"), replace("/title", "Two")], [replace("/title", "Theirs")])
    assert [(c["index"], c["theirs"]) for c in found] == [(0, "Theirs")]


def test_the_same_person_added_differently_by_two() -> None:
    mine = add("/attendees/-", {"user_id": "cy", "response_status": "ACCEPTED"})
    theirs = add("/attendees/0", {"user_id": "cy", "response_status": "DECLINED"})
    (found,) = reported([mine], [theirs])
    assert (found["kind"], found["path"], found["change"]) == ("dropped", "/attendees/0", 0)
    assert found["theirs"] == {"user_id": "cy", "response_status": "DECLINED"}


def test_an_item_that_is_written_as_it_is_by_now_overwrites_nothing() -> None:
    mine = add("/attendees/-", {"user_id": "bob", "response_status": "ACCEPTED"})
    assert reported([mine], [replace(RSVP, "ACCEPTED")]) == []


def test_a_move_whose_place_is_gone_loses_the_node_and_says_so() -> None:
    document = {"a": [1, 2], "b": {"c": []}}
    (found,) = reported(
        [{"op": "move", "from": "/a/1", "path": "/b/c/0"}], [remove("/b/c")], document=document
    )
    assert (found["kind"], found["path"], found["base"]) == ("dropped", "/a/1", 2)


def test_a_member_whose_object_became_an_array_by_a_move_is_reported_not_a_crash() -> None:
    document = {"object": {"member": 1}, "list": [[2]]}
    theirs = [remove("/object"), {"op": "move", "from": "/list/0", "path": "/object"}]
    taken_out = {"op": "move", "from": "/object/0", "path": "/elsewhere"}
    mine = [{"op": "move", "from": "/object/member", "path": "/wanted"}]
    assert reported(mine, [*theirs, taken_out], document=document) == [
        {"index": 0, "path": "/object/member", "kind": "dropped", "change": 0, "base": 1}
    ]


def test_what_was_moved_out_of_a_removed_node_and_back_is_no_conflict() -> None:
    document = {"a": [1], "b": []}
    theirs = (
        [{"op": "move", "from": "/a/0", "path": "/b/0"}],
        [{"op": "move", "from": "/b/0", "path": "/a/0"}],
    )
    assert reported([remove("/a")], *theirs, document=document) == []


def test_what_was_put_into_a_removed_node_and_taken_out_again_is_named() -> None:
    document = {"a": {"b": 1}, "c": {}}
    theirs = [[add("/a/new", "N")], [{"op": "move", "from": "/a/new", "path": "/c/new"}]]
    (found,) = reported([remove("/a")], *theirs, document=document)
    assert (found["kind"], found["path"], found["theirs"], found["change"]) == ("overwrote", "/c/new", "N", 1)


def test_large_values_are_left_out_and_marked() -> None:
    (found,) = reported([replace("/title", "Mine")], [replace("/title", "x" * 5000)])
    assert "theirs" not in found
    assert found["omitted"] == ["theirs"]
    assert found["base"] == "Standup"


def test_at_most_a_hundred_are_reported() -> None:
    document = {str(number): 0 for number in range(150)}
    mine = [replace(f"/{number}", 1) for number in range(150)]
    theirs = [replace(f"/{number}", 2) for number in range(150)]
    assert len(reported(mine, theirs, document=document)) == 100


def test_a_field_that_many_write_is_reported_as_if_it_were_transformed() -> None:
    chance = Random(7)
    document = {"a": 1, "b": {"c": 2, "d": [3]}}
    places = ("/a", "/b/c", "/b", "/new", "/b/new", "/b/d")
    values: tuple[Any, ...] = (1, 2, 3, {"c": 5, "d": []})
    told = 0
    for _ in range(3000):
        theirs = [
            [add(chance.choice(places), chance.choice(values)) for _ in range(chance.randint(1, 2))]
            for _ in range(chance.randint(0, 4))
        ]
        try:
            mine = [add(chance.choice(places), chance.choice((1, 2, 3)))]
            found = reported(mine, *theirs, document=document)
            # With a second operation everything is transformed; it meets nobody.
            general = reported([*mine, add("/elsewhere", 0)], *theirs, document=document)
        except PatchError:
            continue
        assert found == general
        told += len(found)
    assert told > 500


def test_a_patch_that_does_not_fit_its_base_is_refused_as_ever() -> None:
    with pytest.raises(PatchError, match="nothing is at"):
        ot.conflicts(EVENT, [remove("/nothing")], [])


def test_an_item_that_others_added_anew_is_there() -> None:
    anew = {"user_id": "bob", "response_status": "DECLINED"}
    assert reported([replace(RSVP, "ACCEPTED")], [add("/attendees/-", anew)]) == [
        {
            "index": 0,
            "path": RSVP,
            "kind": "dropped",
            "change": 0,
            "base": "NEEDS_ACTION",
            "theirs": "DECLINED",
        }
    ]
    assert reported([replace(RSVP, "DECLINED")], [add("/attendees/-", anew)]) == []
    moved = {"op": "move", "from": "/attendees/1", "path": "/attendees/0"}
    (found,) = reported([replace(RSVP, "ACCEPTED")], [add("/attendees/-", anew)], [moved])
    assert (found["path"], found["theirs"]) == ("/attendees/0/response_status", "DECLINED")
    other = [remove("/attendees/1"), add("/attendees/1", {**anew, "user_id": "cid"})]
    (found,) = reported([replace(RSVP, "ACCEPTED")], other)
    assert "theirs" not in found


def test_reports_agree_with_the_brute_force_oracle() -> None:
    for seed in range(1500):
        oracle.check(seed)
