"""Undo and redo of one author among others: section 4 of the semantics, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError
from gateway.ot import api
from gateway.ot import undo as undoing
from tests.operations import add, move, remove, replace, text
from tests.ot import generate


class Author:
    """A document, one author's stacks, and versions as labels."""

    def __init__(self, document: Any, strategies: ot.Strategies | None = None) -> None:
        self.document = document
        self.stacks = ot.UndoStacks(strategies=strategies)
        self.version = 0

    def own(self, *patch: dict[str, Any]) -> None:
        self.commit(ot.lower(self.document, list(patch)), None)

    def other(self, *patch: dict[str, Any]) -> None:
        operations = ot.lower(self.document, list(patch))
        self.stacks.remote(self.document, operations)
        self.document = ot.apply(self.document, operations)
        self.version += 1

    def commit(self, operations: ot.Operations, undoes: Any) -> None:
        self.version += 1
        self.stacks.local(self.document, operations, self.version, undoes)
        self.document = ot.apply(self.document, operations)

    def undo(self) -> bool:
        return self._take(self.stacks.undo())

    def redo(self) -> bool:
        return self._take(self.stacks.redo())

    def _take(self, entry: ot.UndoEntry | None) -> bool:
        if entry is not None:
            self.commit(entry.operations, entry.label)
        return entry is not None


EVENT: dict[str, Any] = {"title": "T", "list": [1, 2, 3], "n": 5, "deep": {"x": {"y": 1}}, "notes": "hello"}


@pytest.mark.parametrize(
    "entry",
    [
        replace("/title", "U"),
        replace("", 5),
        add("/new", 1),
        add("/list/1", 9),
        add("/list/-", 9),
        remove("/list/1"),
        remove("/deep"),
        move("/list/0", "/list/2"),
        move("/list/2", "/deep/z"),
        move("/deep/x", "/list/0"),
        move("/list/0", "/title"),
        move("/deep/x/y", "/deep"),
        {"op": "copy", "from": "/deep", "path": "/list/0"},
        {"op": "inc", "path": "/n", "value": 3},
        text("/notes", 1, "XX", {"d": 2}),
    ],
)
def test_undo_redo_undo_of_every_operation(entry: dict[str, Any]) -> None:
    author = Author(EVENT)
    author.own(entry)
    changed = author.document
    assert not author.redo()
    for _ in range(3):
        assert author.undo() and author.document == EVENT
        assert not author.undo()
        assert author.redo() and author.document == changed
        assert not author.redo()


def test_several_edits_are_undone_in_reverse() -> None:
    author = Author(EVENT)
    states = [EVENT]
    for value in ("A", "B", "C"):
        author.own(replace("/title", value), add("/list/0", value))
        states.append(author.document)
    for state in states[-2::-1]:
        author.undo()
        assert author.document == state
    for state in states[1:]:
        author.redo()
        assert author.document == state


def test_a_new_edit_clears_redo() -> None:
    author = Author(EVENT)
    author.own(replace("/title", "A"))
    author.undo()
    author.own(replace("/n", 6))
    assert not author.redo()
    assert author.undo() and author.document == EVENT


def test_the_inverse_follows_what_others_did() -> None:
    author = Author(EVENT)
    author.own(remove("/list/1"))
    author.other(add("/list/0", "x"), add("/list/-", "y"))
    author.undo()
    assert author.document["list"] == ["x", 1, 2, 3, "y"]
    author.other(remove("/list/0"))
    author.redo()
    assert author.document["list"] == [1, 3, "y"]


def test_a_later_write_to_the_same_place_wins() -> None:
    author = Author(EVENT)
    author.own(replace("/title", "mine"))
    author.other(replace("/title", "theirs"))
    assert not author.undo()
    assert author.document["title"] == "theirs"


def test_increments_and_text_of_both_stay_apart() -> None:
    author = Author(EVENT)
    author.own({"op": "inc", "path": "/n", "value": 10}, text("/notes", "<<"))
    author.other({"op": "inc", "path": "/n", "value": 1}, text("/notes", 7, ">>"))
    author.undo()
    assert (author.document["n"], author.document["notes"]) == (6, "hello>>")


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (add("/new", {"a": 1}), add("/new/b", 2)),
        (add("/new", {"a": 1}), replace("/new/a", 2)),
        (add("/list/0", {"a": 1}), {"op": "inc", "path": "/list/0/a", "value": 1}),
        (add("/new", "text"), text("/new", 4, "!")),
        (add("/new", [1]), add("/new/-", 2)),
        (add("/new", {}), move("/title", "/new/title")),
        (replace("/deep", {"z": []}), add("/deep/z/-", 1)),
    ],
)
def test_undo_leaves_what_others_wrote_inside(mine: Any, theirs: Any) -> None:
    author = Author(EVENT)
    author.own(replace("/n", 1))
    author.own(mine)
    author.other(theirs)
    before = author.document
    assert author.undo(), "the earlier edit can be undone"
    assert author.document == {**before, "n": 5}
    assert not author.undo()


def test_a_move_whose_place_went_is_not_undone_into_nothing() -> None:
    author = Author({"a": {"x": 1}, "b": {}})
    author.own(move("/a/x", "/b/x"))
    author.other(remove("/a"))
    assert not author.undo()
    assert author.document == {"b": {"x": 1}}


def test_a_move_whose_place_was_taken_is_not_undone() -> None:
    author = Author({"x": 1, "b": {}})
    author.own(move("/x", "/b/x"))
    author.other(add("/x", "new"))
    assert not author.undo()
    assert author.document == {"x": "new", "b": {"x": 1}}


def test_entries_below_a_dropped_one_still_fit() -> None:
    author = Author({"list": ["a", "b"], "t": 1})
    author.own(remove("/list/0"))  # undone by an insertion at 0
    author.own(add("/list/0", {"mine": 1}))  # will be dropped
    author.other(add("/list/0/theirs", 2))
    author.undo()
    assert author.document["list"] == ["a", {"mine": 1, "theirs": 2}, "b"]


def test_undo_of_a_removal_brings_back_what_was_there() -> None:
    author = Author({"a": {"x": [1, {"y": 2}]}})
    author.own(remove("/a"))
    author.other(add("/b", 1))
    author.undo()
    assert author.document == {"a": {"x": [1, {"y": 2}]}, "b": 1}


def test_redo_leaves_what_others_wrote_in_between() -> None:
    author = Author({"a": {"x": 1}})
    author.own(remove("/a"))
    author.undo()
    author.other(add("/a/y", 2))
    assert not author.redo()
    assert author.document == {"a": {"x": 1, "y": 2}}


def test_a_change_that_did_nothing_is_not_undone() -> None:
    author = Author(EVENT)
    author.commit([], None)
    assert not author.undo()


def test_an_undo_committed_otherwise_than_planned_keeps_the_rest_right() -> None:
    author = Author({"tags": ["a"], "t": 1})
    author.own(add("/tags/1", "b"))
    author.own(remove("/tags/0"))
    entry = author.stacks.undo()
    assert entry is not None and entry.operations == [("ins", ("tags", 0), "a")]
    author.commit([], entry.label)  # a set's normalisation dropped the insertion
    assert author.document["tags"] == ["b"]
    assert author.undo()
    assert author.document["tags"] == []


def test_an_undo_of_what_is_no_longer_known_is_taken_as_a_remote_change() -> None:
    author = Author(EVENT)
    author.own(add("/list/0", "mine"))
    author.commit(ot.lower(author.document, [add("/list/0", "old")]), undoes=-7)
    assert author.undo()
    assert author.document["list"] == ["old", 1, 2, 3]


def test_stacks_are_bounded() -> None:
    stacks = ot.UndoStacks(entries_max=3)
    document = {"n": 0}
    for label in range(10):
        stacks.local(document, [("set", ("n",), label)], label)
        document = {"n": label}
    undone = []
    while (entry := stacks.undo()) is not None:
        stacks.local(document, entry.operations, f"u{entry.label}", undoes=entry.label)
        document = ot.apply(document, entry.operations)
        undone.append(entry.label)
    assert undone == [9, 8, 7]


def test_items_of_what_only_grows_stay_and_those_below_shift() -> None:
    author = Author(EVENT, {("list",): ("grow",)})
    author.own(add("/grown", []), replace("/n", 5))
    author.own(add("/list/0", "a"), replace("/n", 6), add("/list/0", "b"))
    author.own(replace("/list/2", {"id": 1}), add("/list/-", "c"))
    assert author.undo()  # nothing is left of the last
    assert (author.document["n"], author.document["list"][:2]) == (5, ["b", "a"])
    assert author.undo() and not author.undo()
    assert "grown" not in author.document and author.document["list"][-1] == "c"
    while author.redo():
        pass
    assert (author.document["n"], author.document["grown"]) == (6, [])


def test_an_item_that_was_replaced_in_what_only_grows_comes_back_beside_one_that_stays() -> None:
    strategies: ot.Strategies = {("list",): ("grow", "id")}
    author = Author({"list": [{"id": 1, "note": "x"}]}, strategies)
    patch = [add("/list/0", {"id": 1, "note": "y"}), add("/list/-", {"id": 2})]
    author.commit(ot.lower(author.document, patch, strategies), None)
    assert author.undo()
    assert author.document == {"list": [{"id": 1, "note": "x"}, {"id": 2}]}
    assert author.redo()
    assert author.document == {"list": [{"id": 1, "note": "y"}, {"id": 2}]}


def test_clear_forgets_both() -> None:
    author = Author(EVENT)
    author.own(replace("/n", 1))
    author.own(replace("/n", 2))
    author.undo()
    author.stacks.clear()
    assert author.stacks.undo() is None and author.stacks.redo() is None


def test_where_the_work_cap_is_passed_undo_is_given_up_rather_than_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    author = Author(EVENT)
    author.own(add("/list/0", 1))
    monkeypatch.setattr(api, "CALLS_PER_PAIR", 0)
    monkeypatch.setattr(api, "CALLS_SPARE", 0)
    author.other(add("/list/0", 2))
    assert not author.undo()


def test_inverse_of_a_list_is_computed_on_intermediate_states() -> None:
    patch = [add("/list/0", 9), remove("/list/1"), replace("/list/0", 8), move("/list/0", "/list/2")]
    operations = ot.lower(EVENT, patch)
    assert ot.apply(ot.apply(EVENT, operations), ot.invert(EVENT, operations)) == EVENT


def test_inverses_of_single_operations() -> None:
    document = {"s": "hello", "n": 1, "l": ["a", "b", "c"]}
    for operation, inverse in (
        (("ins", ("l", 1), 5), ("rem", ("l", 1))),
        (("rem", ("l", 1)), ("ins", ("l", 1), "b")),
        (("rem", ("n",)), ("set", ("n",), 1)),
        (("set", ("n",), 2), ("set", ("n",), 1)),
        (("set", ("m",), 2), ("rem", ("m",))),
        (("set", (), 2), ("set", (), document)),
        (("mov", ("l", 0), ("l", 3)), ("mov", ("l", 2), ("l", 0))),
        (("mov", ("l", 2), ("l", 0)), ("mov", ("l", 0), ("l", 3))),
        (("mov", ("n",), ("l", 1)), ("mov", ("l", 1), ("n",))),
        (("txt", ("s",), (1, "XY", -2)), ("txt", ("s",), (1, -2, "el"))),
        (("inc", ("n",), 4), ("inc", ("n",), -4)),
    ):
        assert ot.invert(document, [operation]) == [inverse]
    assert ot.invert(document, [("tst", ("n",), 1)]) == []


def test_an_inverse_of_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PatchError):
        ot.invert({}, [("rem", ("absent",))])


@pytest.mark.parametrize("components", [1, 7, undoing.PIECE_COMPONENTS])
def test_a_transformation_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch, components: int) -> None:
    monkeypatch.setattr(undoing, "PIECE_COMPONENTS", components)
    monkeypatch.setattr(undoing, "RUN_COMPONENTS", min(components, undoing.RUN_COMPONENTS))
    lost = 0
    for seed in range(500):
        _, earlier, later = generate.pair(seed)
        whole = ot.transform_losses(earlier, later)
        assert undoing.whole(undoing.transformed(earlier, later, None)) == whole
        lost |= whole[2]
    assert lost & undoing.EARLIER_MOVE_CUT and lost & undoing.LATER_WRITE_LOST


def typed(count: int) -> list[dict[str, Any]]:
    return [text("/notes", 10 * n, "y") for n in range(count)]


def wide(count: int) -> list[dict[str, Any]]:
    return [text("/notes", *[part for _ in range(count) for part in (10, "y")])]


@pytest.mark.parametrize(
    ("own", "others"), [(typed(300), typed(300)), (wide(300), typed(300)), (typed(300), wide(300))]
)
def test_others_can_run_between_the_pieces_of_a_large_change(own: Any, others: Any) -> None:
    document = {"notes": "x" * 9_000}
    stacks, budget = ot.UndoStacks(), ot.budget()
    stacks.local(document, ot.lower(document, own), 1)
    document = ot.apply(document, ot.lower(document, own))
    most, before = 0, budget.left
    for _ in stacks.remote_pieces(document, ot.lower(document, others), budget):
        most, before = max(most, before - budget.left), budget.left
    assert budget.spent > 8_000_000 and most < 2_000_000
    assert stacks.undo() is not None


def test_what_does_not_meet_takes_few_pieces() -> None:
    """A piece costs something that no budget counts."""
    later = ot.lower(EVENT, [text("/notes", "x")] * 1000)
    for count, pieces in ((500, 300), (10, 10), (1, 1)):
        earlier = ot.lower(EVENT, [replace("/n", n) for n in range(count)])
        assert sum(1 for _ in undoing.transformed(earlier, later, None)) <= pieces
