"""A client's replica: one submission in flight, a buffer, answers that differ, states instead of changes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError
from tests.operations import add, replace
from tests.ot import generate


def replica(document: Any = None, **extra: Any) -> ot.Replica:
    return ot.Replica({"l": ["a"], "t": "x", "n": 1} if document is None else document, 7, **extra)


def test_one_in_flight_the_rest_goes_together() -> None:
    mine = replica()
    first = mine.edit([add("/l/-", "b")])
    assert first == ot.Outgoing(1, 7, [add("/l/1", "b")])
    assert mine.edit([add("/l/-", "c")]) is None
    assert mine.edit([replace("/t", "y")]) is None
    assert mine.view == {"l": ["a", "b", "c"], "t": "y", "n": 1}
    second = mine.acknowledged(1, 8)
    assert second == ot.Outgoing(2, 8, [add("/l/2", "c"), replace("/t", "y")])
    assert mine.acknowledged(2, 9) is None and mine.is_settled
    assert mine.view == mine.document and mine.version == 9


def test_a_refused_edit_changes_nothing() -> None:
    mine = replica()
    with pytest.raises(PatchError):
        mine.edit([replace("/t", "y"), replace("/absent", 1)])
    assert mine.is_settled and mine.view is mine.document


def test_a_remote_change_passes_what_is_pending() -> None:
    mine = replica()
    mine.edit([add("/l/0", "flying")])
    mine.edit([add("/l/0", "buffered")])
    mine.receive(8, [add("/l/0", "theirs"), replace("/t", "z")])
    assert mine.document == {"l": ["theirs", "a"], "t": "z", "n": 1}
    assert mine.view["l"] == ["theirs", "buffered", "flying", "a"]
    submission = mine.acknowledged(1, 9, [add("/l/1", "flying")])
    assert submission == ot.Outgoing(2, 9, [add("/l/1", "buffered")])


def test_known_versions_are_ignored_and_a_gap_is_told() -> None:
    mine = replica()
    mine.receive(7, [replace("/t", "old")])
    assert mine.document["t"] == "x"
    with pytest.raises(ValueError, match="missing"):
        mine.receive(9, [replace("/t", "z")])


def test_old_answers_are_ignored() -> None:
    mine = replica()
    assert mine.acknowledged(1, 7) is None and mine.acknowledged(1, 6, [replace("/t", "old")]) is None
    assert (mine.version, mine.document["t"]) == (7, "x")


def test_a_second_copy_accepted_after_the_first_was_refused() -> None:
    mine = replica()
    mine.edit([replace("/t", "y")])
    mine.withdraw()
    mine.edit([add("/l/0", "next")])
    assert mine.acknowledged(1, 8, [replace("/t", "y")]) is None
    assert mine.view == {"l": ["next", "a"], "t": "y", "n": 1} and mine.in_flight is not None
    with pytest.raises(ValueError, match="given up"):
        mine.acknowledged(1, 9)


def test_an_answer_that_differs_corrects_the_view_and_clears_undo() -> None:
    mine = replica()
    mine.edit([replace("/t", "<b>bold</b>")])
    mine.edit([add("/l/-", "later")])
    mine.acknowledged(1, 8, [replace("/t", "bold")])
    assert mine.view == {"l": ["a", "later"], "t": "bold", "n": 1}
    assert mine.undo() is None and mine.view["t"] == "bold"


def test_a_refused_submission_leaves_the_view() -> None:
    mine = replica()
    mine.edit([add("/new", {})])
    mine.edit([add("/new/inner", 1), replace("/t", "kept")])
    submission = mine.withdraw()
    assert mine.view == {"l": ["a"], "t": "kept", "n": 1}
    assert submission == ot.Outgoing(2, 7, [replace("/t", "kept")])


def test_resend_is_the_same_again_whatever_came_since() -> None:
    mine = replica()
    sent = mine.edit([add("/l/0", "mine")])
    mine.receive(8, [add("/l/0", "theirs")])
    assert mine.resend() is sent and mine.in_flight is sent
    assert replica().resend() is None


def test_resubmit_on_the_present_version_keeps_seq_and_tests() -> None:
    mine = replica()
    mine.edit([{"op": "test", "path": "/l/0", "value": "a"}, replace("/l/0", "b")])
    mine.receive(8, [add("/l/0", "theirs")])
    test = {"op": "test", "path": "/l/1", "value": "a"}
    assert mine.resubmit() == ot.Outgoing(1, 8, [test, replace("/l/1", "b")])
    mine.receive(9, [{"op": "remove", "path": "/l/1"}])
    assert mine.resubmit() is None
    assert mine.refused[0].code == "CONFLICT" and mine.view == {"l": ["theirs"], "t": "x", "n": 1}
    assert replica().resubmit() is None


def test_a_buffered_edit_whose_test_fails_is_withdrawn_alone() -> None:
    mine = replica()
    mine.edit([replace("/n", 2)])
    mine.edit([{"op": "test", "path": "/t", "value": "x"}, add("/l/0", "guarded")])
    mine.edit([add("/l/0", "free")])
    mine.receive(8, [replace("/t", "changed")])
    submission = mine.acknowledged(1, 9)
    assert submission is not None and submission.patch == [add("/l/0", "free")]
    assert mine.view == {"l": ["free", "a"], "t": "changed", "n": 2}
    assert len(mine.refused) == 1


def test_a_patch_takes_whole_edits_up_to_the_limit() -> None:
    mine = replica(limits=ot.Limits(patch_operations_max=3))
    mine.edit([replace("/n", 0)])
    for _ in range(2):
        mine.edit([add("/l/-", 1), add("/l/-", 2)])
    second = mine.acknowledged(1, 8)
    assert second is not None and len(second.patch) == 2
    third = mine.acknowledged(2, 9)
    assert third is not None and len(third.patch) == 2


def test_an_edit_that_the_strategies_make_too_many_operations_goes_out_as_it_was_written() -> None:
    tags = [f"t{n}" for n in range(1000)]
    strategies = {("l",): ("set",)}
    mine = replica({"l": tags, "t": "x"}, strategies=strategies)
    written = [replace("/l", []), replace("/t", "y")]
    assert mine.edit(written) == ot.Outgoing(1, 7, written)
    committed = ot.emit(mine.document, ot.lower(mine.document, written, strategies))
    assert len(committed) == 1001
    assert mine.acknowledged(1, 8, committed) is None
    assert mine.view == mine.document == {"l": [], "t": "y"}


def test_undo_and_redo_are_edits() -> None:
    mine = replica()
    mine.edit([replace("/t", "y")])
    mine.acknowledged(1, 8)
    mine.receive(9, [add("/l/0", "theirs")])
    assert mine.undo() == ot.Outgoing(2, 9, [replace("/t", "x")])
    assert mine.redo() is None and mine.view["t"] == "y"
    assert mine.acknowledged(2, 10) == ot.Outgoing(3, 10, [replace("/t", "y")])
    assert mine.redo() is None and mine.acknowledged(3, 11) is None
    assert mine.view == mine.document == {"l": ["theirs", "a"], "t": "y", "n": 1}


def test_what_was_added_to_what_only_grows_is_not_undone() -> None:
    mine = replica(strategies={("l",): ("grow",)})
    mine.edit([replace("/t", "y")])
    mine.edit([add("/l/-", "b"), replace("/n", 2)])
    mine.edit([add("/l/-", "c")])
    mine.undo()
    mine.undo()
    assert mine.undo() is None and mine.view == {"l": ["a", "b", "c"], "t": "x", "n": 1}


def test_an_edit_that_others_made_pointless_is_not_sent() -> None:
    mine = replica()
    mine.edit([replace("/n", 2)])
    mine.edit([{"op": "remove", "path": "/l/0"}])
    mine.receive(8, [{"op": "remove", "path": "/l/0"}])
    assert mine.acknowledged(1, 9) is None and mine.is_settled


def test_a_state_instead_of_changes_is_merged() -> None:
    mine = replica()
    mine.edit([add("/l/-", "flying")])
    mine.edit([replace("/t", "mine")])
    state = {"l": ["new", "a"], "n": 5, "t": "theirs"}
    mine.reload(state, 20)
    assert mine.document is state
    assert mine.view == {"l": ["new", "a", "flying"], "t": "mine", "n": 5}
    assert mine.resend() == ot.Outgoing(1, 7, [add("/l/1", "flying")])


@pytest.mark.parametrize("told", [True, False])
def test_a_state_that_holds_the_submission(told: bool) -> None:
    mine = replica()
    mine.edit([add("/l/-", "flying")])
    mine.edit([replace("/t", "mine")])
    submission = mine.reload({"l": ["a", "flying"], "t": "x", "n": 1}, 20, includes_in_flight=told)
    if not told:  # the resend is answered by the version that it has had since
        submission = mine.acknowledged(1, 15)
    assert mine.view == {"l": ["a", "flying"], "t": "mine", "n": 1}
    assert submission == ot.Outgoing(2, 20, [replace("/t", "mine")])


def test_a_committed_test_that_a_merged_state_seemed_to_fail() -> None:
    mine = replica()
    mine.edit([{"op": "test", "path": "/l/0", "value": "a"}, replace("/t", "y")])
    mine.reload({"l": [], "t": "x", "n": 1}, 20)
    mine.acknowledged(1, 21, [replace("/t", "y")])
    assert mine.view == mine.document == {"l": [], "t": "y", "n": 1}


def test_an_edit_with_a_test_can_be_undone_after_an_answer_that_names_no_patch() -> None:
    mine = replica()
    mine.edit([{"op": "test", "path": "/t", "value": "x"}, replace("/t", "y")])
    mine.edit([replace("/t", "z")])
    assert mine.acknowledged(1, 8) == ot.Outgoing(2, 8, [replace("/t", "z")])
    assert mine.acknowledged(2, 9) is None
    mine.undo()
    assert mine.view["t"] == "y"


def test_which_of_two_patches_got_through_is_not_guessed() -> None:
    mine = replica()
    mine.edit([add("/l/0", "mine")])
    mine.receive(8, [add("/l/0", "theirs")])
    again = mine.resubmit()
    assert again is not None
    with pytest.raises(ValueError, match="one of several"):
        mine.acknowledged(1, 9)
    assert (mine.version, mine.in_flight) == (8, again)
    assert mine.acknowledged(1, 9, [add("/l/0", "mine")]) is None
    assert mine.document["l"][:2] == ["mine", "theirs"]


def test_a_state_in_which_the_removed_looks_replaced_does_not_hide_the_removal() -> None:
    person = {"id": "ann"}
    mine = ot.Replica({"l": [person]}, 7)
    mine.edit([{"op": "remove", "path": "/l/0"}])
    mine.reload({"l": [{**person, "answer": "yes"}, {"id": "bob"}]}, 20)
    mine.edit([add("/l/-", "later")])
    submission = mine.acknowledged(1, 21)  # committed as it was sent: it removes her at the head as well
    assert mine.document == {"l": [{"id": "bob"}]}
    assert mine.view == {"l": [{"id": "bob"}, "later"]}
    assert submission == ot.Outgoing(2, 21, [add("/l/1", "later")])


def test_a_client_without_the_strategies_is_corrected() -> None:
    strategies = {("l",): ("set",)}
    mine = replica()
    mine.edit([add("/l/-", "a")])
    patch = ot.emit(mine.document, ot.lower(mine.document, [add("/l/-", "a")], strategies))
    mine.acknowledged(1, 8, patch)
    assert mine.view == mine.document == {"l": ["a"], "t": "x", "n": 1}


def test_a_change_that_does_not_fit_changes_nothing() -> None:
    mine = replica()
    mine.edit([replace("/t", "y")])
    mine.edit([replace("/n", 2)])
    view = mine.view
    with pytest.raises(PatchError):
        mine.receive(8, [replace("/absent", 1)])
    assert (mine.version, mine.view) == (7, view)
    assert mine.acknowledged(1, 8) is not None


def test_pending_increments_past_the_exact_range_wait_for_the_refusal() -> None:
    mine = replica({"n": 2**53 - 6})
    mine.edit([{"op": "inc", "path": "/n", "value": 4}])
    mine.receive(8, [{"op": "inc", "path": "/n", "value": 4}])
    assert mine.view == {"n": 2**53 + 2}
    mine.withdraw()
    assert mine.view == mine.document == {"n": 2**53 - 2}


def test_difference_leads_from_one_document_to_the_other() -> None:
    for seed in range(300):
        random = Random(seed)
        before = generate.document(random)
        after = generate.patch(random, before, 4)[1] if seed % 2 else generate.document(random)
        assert ot.identical(ot.apply(before, ot.difference(before, after)), after)
        assert ot.difference(before, before) == []
