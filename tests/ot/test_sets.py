"""Arrays that are sets hold no id twice, whatever the edit that brings one there, and lose no item."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError
from gateway.ot import api
from tests.operations import add, move, replace, text
from tests.ot import laws
from tests.ot.sets import STRATEGIES, Sets, document_of, doubles, ids_of, patch_of

DOCUMENT: dict[str, Any] = {
    "tags": ["a", "b", "c"],
    "people": [{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "c", "n": 3}],
    "waiting": [{"id": "b", "n": 9}, "c"],
    "seen": [{"n": 0}, {"id": "a"}, {"id": "b"}],
    "other": "b",
}
FAILS: ot.Operation = ("tst", None, 0)


def lowered(*patch: dict[str, Any]) -> list[ot.Operation]:
    return ot.lower(DOCUMENT, list(patch), STRATEGIES)


def committed(mine: list[ot.Operation], theirs: list[ot.Operation]) -> tuple[ot.Operations, Any]:
    """What is committed of one edit after another that it was made beside, and the document then."""
    head = ot.apply(DOCUMENT, theirs)
    normal = ot.normalise(head, ot.rebase(mine, [theirs]), STRATEGIES)
    return normal, ot.apply(head, normal)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (replace("/tags/0", "d"), add("/tags/-", "d")),
        (replace("/tags/0", "d"), add("/tags/0", "d")),
        (replace("/people/0", {"id": "d"}), add("/people/0", {"id": "d", "n": 4})),
        (replace("/people/0/id", "d"), replace("/people/1/id", "d")),
        (text("/tags/0", 1, "b"), add("/tags/0", "ab")),
        (move("/other", "/tags/0"), replace("/tags/1", "x")),
    ],
)
def test_what_would_give_an_item_the_id_of_another_is_left_out(mine: Any, theirs: Any) -> None:
    operations, after = committed(lowered(mine), lowered(theirs))
    if mine["op"] == "move":  # nobody has the id any more
        assert operations
        return
    assert list(operations) == []
    assert ids_of(after) == ids_of(ot.apply(DOCUMENT, lowered(theirs)))


@pytest.mark.parametrize(
    "operation",
    [
        ("set", (), {"tags": ["a", "b", "a"], "people": [{"id": "a"}, {"id": 2}, {"id": "a", "n": 2}]}),
        ("set", ("tags",), ["a", "b", "a"]),
    ],
)
def test_a_set_that_is_written_as_a_whole_has_each_id_once(operation: Any) -> None:
    """The last item with it, where the first stood, as if they were added one by one."""
    (normal,) = ot.normalise({}, [operation], STRATEGIES)
    after = ot.apply({}, [normal])
    assert after["tags"] == ["a", "b"]
    assert after.get("people") in (None, [{"id": "a", "n": 2}, {"id": 2}])


def test_a_whole_value_is_taken_as_it_is_where_no_id_is_twice_or_some_item_has_none() -> None:
    for value in ({"tags": ["a", True, 1]}, {"people": [{"id": 1}, {"id": 1}, {}]}, {"other": [1, 1]}, [1]):
        operations = [("set", (), value)]
        assert ot.normalise({}, operations, STRATEGIES) is operations


def test_an_item_that_may_not_have_its_new_id_keeps_what_is_in_it() -> None:
    mine = lowered(replace("/people/0/id", "d"), replace("/people/0/n", 7), replace("/other", "x"))
    operations, after = committed(mine, lowered(add("/people/0", {"id": "d", "n": 4})))
    assert operations == [("set", ("people", 1, "n"), 7), ("set", ("other",), "x")]
    assert after["people"][:2] == [{"id": "d", "n": 4}, {"id": "a", "n": 7}]


def test_an_item_that_may_not_be_moved_in_stays_where_it_was() -> None:
    document = {**DOCUMENT, "people": DOCUMENT["people"][:1]}
    mine = ot.lower(document, [move("/waiting/0", "/people/0"), replace("/people/0/n", 8)], STRATEGIES)
    theirs = ot.lower(document, [add("/people/-", {"id": "b", "n": 4})], STRATEGIES)
    head = ot.apply(document, theirs)
    after = ot.apply(head, ot.normalise(head, ot.rebase(mine, [theirs]), STRATEGIES))
    assert after["waiting"] == [{"id": "b", "n": 8}, "c"]
    assert after["people"] == head["people"]


@pytest.mark.parametrize(
    ("patch", "name", "expected"),
    [
        # Exchanged, and shifted, as a difference of two documents has it.
        ([replace("/people/0/id", "b"), replace("/people/1/id", "a")], "people", ["b", "a", "c"]),
        ([text("/tags/0", "b", {"d": 1}), text("/tags/1", "c", {"d": 1}), text("/tags/2", "d", {"d": 1})],
         "tags", ["b", "c", "d"]),
        ([replace("/people/1/id", "d"), replace("/people/0/id", "b")], "people", ["b", "d", "c"]),
        ([replace("/people/0/id", "b"), {"op": "remove", "path": "/people/1"}], "people", ["b", "c"]),
        ([replace("/tags/0", "b"), replace("/tags", ["b", "e"])], "tags", ["b", "e"]),
        ([move("/waiting/0", "/people/0"), replace("/people/2/id", "x")], "people", ["b", "a", "x", "c"]),
    ],
)  # fmt: skip
def test_an_id_may_be_there_twice_inside_a_patch(patch: Any, name: str, expected: list[str]) -> None:
    operations = lowered(*patch)
    assert ot.normalise(DOCUMENT, operations, STRATEGIES) is operations
    assert [one if name == "tags" else one["id"] for one in ot.apply(DOCUMENT, operations)[name]] == expected


@pytest.mark.parametrize("more", [[], [{"op": "remove", "path": "/tags/0"}]])
def test_a_test_finds_what_is_there_without_what_is_left_out(more: ot.Patch) -> None:
    theirs = lowered(add("/tags/-", "d"))
    patch = [add("/tags/-", "d"), {"op": "test", "path": "/tags", "value": ["a", "b", "c", "d"]}, *more]
    head = ot.apply(DOCUMENT, theirs)
    normal = ot.normalise(head, ot.rebase(lowered(*patch), [theirs]), STRATEGIES)
    assert ot.apply(head, normal)["tags"] == ["a", "b", "c", "d"][len(more) :]
    assert ot.conflicts(DOCUMENT, patch, [theirs], STRATEGIES) == []


def test_what_is_left_out_is_reported_but_not_where_the_patch_makes_room_for_it() -> None:
    window = [lowered(add("/people/-", {"id": "d", "n": 4}))]
    for entry, path, theirs in (
        (replace("/people/0", {"id": "d", "n": 5}), "/people/3", {"id": "d", "n": 4}),
        (replace("/people/0/id", "d"), "/people/3/id", "d"),
    ):
        (found,) = ot.conflicts(DOCUMENT, [entry], window, STRATEGIES)
        said = {name: found[name] for name in ("kind", "path", "theirs", "change")}
        assert said == {"kind": "dropped", "path": path, "theirs": theirs, "change": 0}
    assert ot.conflicts(DOCUMENT, [replace("/tags/0", "d")], [lowered(add("/tags/-", "d"))], STRATEGIES) == []
    exchanged = [replace("/people/0/id", "b"), replace("/people/1/id", "a")]
    assert ot.conflicts(DOCUMENT, exchanged, window, STRATEGIES) == []
    # With nobody beside it, too.
    (found,) = ot.conflicts(DOCUMENT, [replace("/people/0/id", "b")], [], STRATEGIES)
    assert (found["path"], found["base"], found["theirs"], found["change"]) == ("/people/1/id", "a", "b", -1)


@pytest.mark.parametrize(
    "patch",
    [
        [text("/seen/1/id", "c", {"d": 1})],
        [replace("/other", "x"), replace("/seen/1/id", "c")],
        [{"op": "remove", "path": "/seen/1"}],
        [move("/seen/1", "/people/-")],
        [move("/seen/1/id", "/seen/1/name")],
        [replace("/seen", [{"id": "a"}])],
        [replace("/tags/0", "x"), add("/tags/-", "y"), {"op": "remove", "path": "/seen/2"}],
    ],
)
def test_nothing_leaves_what_only_grows(patch: Any) -> None:
    with pytest.raises(PatchError, match="only grows") as refused:
        lowered(*patch)
    assert refused.value.index == len(patch) - 1


@pytest.mark.parametrize(
    ("patch", "blamed"),
    [
        ([text("/seen/1/id", 1, "d"), text("/seen/1/id", 2, "e")], 0),
        ([add("/seen/1/n", 4), text("/seen/1/id", 1, "d"), text("/seen/1/id", 2, "e")], 1),
        ([text("/seen/1/id", "c"), text("/seen/1/id", {"d": 1})], 1),  # "a" is back, and "ca" gone
        ([replace("/seen/1/id", "ca"), replace("/seen/1/id", "a")], 1),  # as by any other operation
    ],
)
def test_texts_of_an_id_of_what_only_grows_are_looked_at_one_by_one(patch: Any, blamed: int) -> None:
    with pytest.raises(PatchError, match="only grows") as refused:
        lowered(*patch)
    assert refused.value.index == blamed


def test_what_only_grows_is_not_emptied_by_way_of_null() -> None:
    anew = {**DOCUMENT, "seen": []}
    with pytest.raises(PatchError, match="only grows"):
        lowered(replace("", None), add("", anew))
    assert lowered({"op": "remove", "path": "/seen/1"}, replace("", None))[-1] == ("set", (), None)


@pytest.mark.parametrize(
    "patch",
    [
        [replace("/seen/0/n", 1)],
        [text("/other", 1, "d"), text("/other", 2, "e")],
        [{"op": "remove", "path": "/seen/1"}, add("/seen/1", {"id": "a", "n": 5})],  # as `add` is emitted
        [move("/seen/1", "/seen/0")],
        [replace("/seen", [{"n": 0}, {"id": "b"}, {"id": "a"}])],
    ],
)
def test_what_only_grows_is_edited(patch: Any) -> None:
    after = ot.apply(DOCUMENT, lowered(*patch))
    assert {one.get("id") for one in after["seen"]} == {None, "a", "b"}


def test_an_addition_to_what_grows_of_an_id_that_is_there_can_be_sent() -> None:
    operations = lowered(add("/seen/-", {"id": "a", "n": 5}))
    assert lowered(*ot.emit(DOCUMENT, operations)) == operations


def large(size: int) -> tuple[dict[str, Any], Any]:
    """A document of long sets."""
    tags = [str(number) for number in range(size)]
    return {"tags": tags, "seen": [{"id": tag, "n": 0} for tag in tags], "other": 0}, tags


def units(size: int, *patch: dict[str, Any]) -> int:
    """Of a budget, what lowering draws on documents of this size."""
    document, _ = large(size)
    budget = api._kernel.Budget(1 << 40)
    ot.lower(document, list(patch), STRATEGIES, ot.DEFAULT_LIMITS, budget)
    return budget.spent


@pytest.mark.parametrize(
    "patch",
    [
        lambda size: [replace("/seen/3/n", 1)],
        lambda size: [replace("/tags", [*large(size)[1], "new"])],
        lambda size: [replace("/tags", [*large(size)[1], "new"]), replace("/other", 1)],
        lambda size: [replace("/tags", [*large(size)[1], "0", "new"]), replace("/other", 1)],
        lambda size: [move("/seen/0", "/seen/-"), add("/seen/0", {"id": "5", "n": 1})],
    ],
)
def test_edits_of_long_sets_draw_as_much_as_these_are_long(patch: Any) -> None:
    assert units(800, *patch(800)) < 9 * units(100, *patch(100))


@pytest.mark.parametrize("size", [50, 100])
def test_additions_that_others_made_too_draw_as_much_as_they_are_by_what_they_meet(size: int) -> None:
    mine = [add("/people/-", {"id": str(number), "n": 1}) for number in range(size)]
    theirs = lowered(*[add("/people/-", {"id": str(number), "n": 2}) for number in range(size)])
    for patch in (mine, [*mine, {"op": "remove", "path": "/tags/0"}, replace("/people/0/n", 3)]):
        budget = api._kernel.Budget(1 << 40)
        found = ot.conflicts(DOCUMENT, patch, [theirs], STRATEGIES, ot.DEFAULT_LIMITS, budget)
        assert len(found) == size
        assert budget.spent < 1000 * size * size


def lowered_or_refused(base: Any, patch: ot.Patch) -> list[ot.Operation] | None:
    """None where something would leave what grows only."""
    try:
        return ot.lower(base, patch, STRATEGIES)
    except PatchError as error:
        if "only grows" in str(error):
            return None
        raise


def doubles_on_its_way(base: Any, patch: ot.Patch) -> bool:
    """Does the patch bring an id that is there? Then the old item goes, whatever becomes of the new one."""
    for entry in patch:
        base = ot.apply_patch(base, [entry])
        if entry["op"] in ("add", "copy", "move") and doubles(base):
            return True
    return False


def check_one(base: Any, patch: ot.Patch, literal: Any, operations: list[ot.Operation]) -> None:
    after = ot.apply(base, operations)
    if not doubles_on_its_way(base, patch):
        assert ids_of(after) == ids_of(literal), "lowering lost an item or brought one back"
    assert ot.identical(ot.apply(after, ot.invert(base, operations)), base)
    normal = ot.normalise(base, operations, STRATEGIES)
    assert not doubles(ot.apply(base, normal))
    if not doubles(after):
        assert normal is operations


def check_two(base: Any, earlier: ot.Operations, later: ot.Operations) -> None:
    laws.check_pair(base, earlier, later)
    first = ot.normalise(base, earlier, STRATEGIES)
    head = ot.apply(base, first)
    rebased = ot.rebase(later, [first])
    normal = ot.normalise(head, rebased, STRATEGIES)
    after = ot.apply(head, normal)
    assert not doubles(after)
    if not doubles(ot.apply(head, rebased)):
        assert normal is rebased
    tested = [one for operation in rebased for one in (FAILS, operation)]
    kept = [one for one in ot.normalise(head, tested, STRATEGIES) if one[0] != "tst"]
    assert kept == list(normal), "a test took part in what is left out"


def test_random_edits_of_sets_leave_no_id_twice_and_lose_none() -> None:
    for seed in range(3000):
        random = Random(seed)
        base = document_of(random)
        made = [patch_of(random, base, random.choice((1, 1, 2, 4))) for _ in range(2)]
        try:
            lists = []
            for patch, literal in made:
                operations = lowered_or_refused(base, patch)
                if operations is not None:
                    check_one(base, patch, literal, operations)
                    lists.append(operations)
            if len(lists) == 2:
                check_two(base, *lists)
        except AssertionError as error:
            error.add_note(f"seed {seed}: {base} {[patch for patch, _ in made]}")
            raise


def test_simulated_clients_of_sets_converge_and_no_id_is_twice() -> None:
    for seed in range(60):
        simulation = Sets(seed)
        simulation.run(200)
        for snapshot in simulation.server.snapshots:
            assert not doubles(snapshot), seed
