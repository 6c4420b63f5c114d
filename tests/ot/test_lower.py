"""From patches to kernel operations: section 2 of the semantics, line by line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError

DOCUMENT: dict[str, Any] = {
    "title": "Weekly",
    "n": 5,
    "list": ["a", "b", "c"],
    "deep": {"x": {"y": 1}},
    "rows": [{"k": 1}, {"k": 2}, {"k": 3}],
}

LOWERED: list[tuple[dict[str, Any], list[Any]]] = [
    ({"op": "add", "path": "/list/1", "value": "z"}, [("ins", ("list", 1), "z")]),
    ({"op": "add", "path": "/list/-", "value": "z"}, [("ins", ("list", 3), "z")]),
    ({"op": "add", "path": "/new", "value": 1}, [("set", ("new",), 1)]),
    ({"op": "add", "path": "/title", "value": 1}, [("set", ("title",), 1)]),
    ({"op": "add", "path": "", "value": 1}, [("set", (), 1)]),
    ({"op": "replace", "path": "", "value": [1]}, [("set", (), [1])]),
    ({"op": "replace", "path": "/list/1", "value": 1}, [("set", ("list", 1), 1)]),
    ({"op": "remove", "path": "/list/1"}, [("rem", ("list", 1))]),
    ({"op": "remove", "path": "/deep/x"}, [("rem", ("deep", "x"))]),
    ({"op": "test", "path": "/n", "value": 5.0}, [("tst", ("n",), 5.0)]),
    ({"op": "copy", "from": "/deep", "path": "/list/0"}, [("ins", ("list", 0), {"x": {"y": 1}})]),
    ({"op": "copy", "from": "/n", "path": "/title"}, [("set", ("title",), 5)]),
    ({"op": "inc", "path": "/n", "value": -2}, [("inc", ("n",), -2)]),
    ({"op": "inc", "path": "/n", "value": 0}, []),
    # a move's target is given after the removal, and kept from before it
    ({"op": "move", "from": "/list/0", "path": "/list/1"}, [("mov", ("list", 0), ("list", 2))]),
    ({"op": "move", "from": "/list/0", "path": "/list/2"}, [("mov", ("list", 0), ("list", 3))]),
    ({"op": "move", "from": "/list/0", "path": "/list/-"}, [("mov", ("list", 0), ("list", 3))]),
    ({"op": "move", "from": "/list/2", "path": "/list/0"}, [("mov", ("list", 2), ("list", 0))]),
    ({"op": "move", "from": "/list/2", "path": "/list/1"}, [("mov", ("list", 2), ("list", 1))]),
    ({"op": "move", "from": "/rows/0", "path": "/rows/1/m"}, [("mov", ("rows", 0), ("rows", 2, "m"))]),
    ({"op": "move", "from": "/rows/2", "path": "/rows/1/m"}, [("mov", ("rows", 2), ("rows", 1, "m"))]),
    ({"op": "move", "from": "/n", "path": "/m"}, [("mov", ("n",), ("m",))]),
    # onto an existing member, its own place, an ancestor
    ({"op": "move", "from": "/n", "path": "/title"}, [("rem", ("title",)), ("mov", ("n",), ("title",))]),
    (
        {"op": "move", "from": "/rows/0", "path": "/rows/0/k"},
        [],
    ),
    ({"op": "move", "from": "/n", "path": "/n"}, []),
    ({"op": "move", "from": "/list/1", "path": "/list/1"}, []),
    ({"op": "move", "from": "/list/2", "path": "/list/-"}, []),
    ({"op": "move", "from": "/deep/x/y", "path": "/deep"}, [("set", ("deep",), 1)]),
    ({"op": "move", "from": "/deep/x", "path": ""}, [("set", (), {"y": 1})]),
    ({"op": "move", "from": "/rows/1/k", "path": "/rows/1"}, [("mov", ("rows", 1, "k"), ("rows", 1))]),
]


@pytest.mark.parametrize(("entry", "expected"), LOWERED)
def test_lowered(entry: dict[str, Any], expected: list[Any]) -> None:
    if entry.get("path", "").startswith(entry.get("from", "?") + "/"):
        with pytest.raises(PatchError):  # into itself
            ot.lower(DOCUMENT, [entry])
        return
    assert ot.lower(DOCUMENT, [entry]) == expected


def test_move_onto_a_member_whose_place_shifts_with_the_removal() -> None:
    entry = {"op": "move", "from": "/rows/0", "path": "/rows/1/k"}
    operations = ot.lower(DOCUMENT, [entry])
    assert operations == [("rem", ("rows", 2, "k")), ("mov", ("rows", 0), ("rows", 2, "k"))]
    assert ot.apply(DOCUMENT, operations)["rows"] == [{"k": 2}, {"k": {"k": 1}}]


def test_operations_of_one_patch_see_each_other() -> None:
    patch = [
        {"op": "add", "path": "/new", "value": []},
        {"op": "add", "path": "/new/-", "value": 1},
        {"op": "copy", "from": "/new", "path": "/list/0"},
        {"op": "remove", "path": "/new/0"},
    ]
    assert ot.apply_patch(DOCUMENT, patch)["list"][0] == [1]


def test_a_failing_patch_changes_nothing_and_names_its_operation() -> None:
    patch = [{"op": "remove", "path": "/n"}, {"op": "inc", "path": "/n", "value": 1}]
    with pytest.raises(PatchError) as caught:
        ot.apply_patch(DOCUMENT, patch)
    assert caught.value.index == 1 and DOCUMENT["n"] == 5


REFUSED: list[Any] = [
    *(None, 5, "add", {}, [], True),
    {"op": None, "path": "/n"},
    {"op": "n0pe", "path": "/n"},
    {"op": ["add"], "path": "/n", "value": 1},
    {"path": "/n"},
    {"op": "add", "value": 1},
    {"op": "add", "path": "/n"},
    {"op": "replace", "path": "/n"},
    {"op": "test", "path": "/n"},
    {"op": "replace", "path": "/absent", "value": 1},
    {"op": "remove", "path": "/absent"},
    {"op": "remove", "path": ""},
    {"op": "move", "path": "/x"},
    {"op": "move", "path": "/x", "from": 5},
    {"op": "copy", "path": "/x", "from": "/absent"},
    {"op": "move", "from": "", "path": "/x"},
    {"op": "move", "from": "/deep", "path": "/deep/x/z"},
    {"op": "add", "path": "/absent/x", "value": 1},
    {"op": "text", "path": "/title"},
    {"op": "inc", "path": "/n"},
    *({"op": "inc", "path": "/n", "value": bad} for bad in (1.5, True, "1", None, 2**53, [], 1.0)),
    {"op": "inc", "path": "/n", "value": 2**53 - 1},
    *({"op": "inc", "path": path, "value": 1} for path in ("/title", "/list", "/absent")),
]


@pytest.mark.parametrize("entry", REFUSED)
def test_refused(entry: Any) -> None:
    with pytest.raises(PatchError) as caught:
        ot.lower(DOCUMENT, [{"op": "test", "path": "/n", "value": 5}, entry])
    assert (caught.value.code, caught.value.index) == ("INVALID_OPERATION", 1)


@pytest.mark.parametrize("patch", [None, {}, "x", 5, ({"op": "add"},)])
def test_a_patch_is_an_array(patch: Any) -> None:
    with pytest.raises(PatchError):
        ot.lower({}, patch)


@pytest.mark.parametrize("number", [1.5, True, "5"])
def test_inc_needs_an_integer_target(number: Any) -> None:
    with pytest.raises(PatchError):
        ot.lower({"n": number}, [{"op": "inc", "path": "/n", "value": 1}])


def test_a_failing_test_is_a_conflict() -> None:
    for path, value in (("/n", 6), ("/absent", 1), ("/list/9", 1), ("/n", True)):
        with pytest.raises(PatchError) as caught:
            ot.lower(DOCUMENT, [{"op": "test", "path": path, "value": value}])
        assert caught.value.code == "CONFLICT"


def test_operation_lists_are_plain_data() -> None:
    for entry, expected in LOWERED:
        if expected:
            operations = ot.lower(DOCUMENT, [entry])
            assert pickle.loads(pickle.dumps(operations)) == operations


# Strategies

STRATEGIES: dict[tuple[str, ...], Any] = {
    ("text",): "text",
    ("count",): "counter",
    ("people",): ("set", "id"),
    ("tags",): ("set",),
    ("in", "side"): "text",
}
FIELDS: dict[str, Any] = {
    "text": "hello world",
    "count": 5,
    "people": [{"id": "u1"}, {"id": "u2"}],
    "tags": ["a", "b"],
    "in": {"side": "abc"},
    "plain": "hello",
}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("/text", "hello brave world", [("txt", ("text",), (6, "brave "))]),
        ("/text", "hello", [("txt", ("text",), (5, -6))]),
        ("/text", "hello wild", [("txt", ("text",), (7, -2, "i"))]),
        ("/text", "hello world", []),
        ("/text", 5, [("set", ("text",), 5)]),
        ("/in/side", "abbc", [("txt", ("in", "side"), (2, "b"))]),
        ("/count", 8, [("inc", ("count",), 3)]),
        ("/count", 5, []),
        ("/count", 8.0, [("set", ("count",), 8.0)]),
        ("/count", True, [("set", ("count",), True)]),
        ("/count", None, [("set", ("count",), None)]),
        ("/plain", "hullo", [("set", ("plain",), "hullo")]),
    ],
)
@pytest.mark.parametrize("op", ["replace", "add"])
def test_strategy_of_a_replaced_value(op: str, path: str, value: Any, expected: list[Any]) -> None:
    operations = ot.lower(FIELDS, [{"op": op, "path": path, "value": value}], STRATEGIES)
    assert operations == expected
    assert ot.identical(
        ot.apply(FIELDS, operations), ot.apply_patch(FIELDS, [{"op": op, "path": path, "value": value}])
    )


def test_adding_to_a_set_what_is_there_replaces_it_in_place() -> None:
    add = {"op": "add", "path": "/people/-", "value": {"id": "u1", "name": "Ann"}}
    assert ot.lower(FIELDS, [add], STRATEGIES) == [
        ("rem", ("people", 0)),
        ("ins", ("people", 0), {"id": "u1", "name": "Ann"}),
    ]
    assert ot.lower(FIELDS, [{**add, "value": {"id": "u3"}}], STRATEGIES) == [
        ("ins", ("people", 2), {"id": "u3"})
    ]
    assert ot.lower(FIELDS, [{**add, "value": "no object"}], STRATEGIES) == [
        ("ins", ("people", 2), "no object")
    ]
    assert ot.lower(FIELDS, [{"op": "add", "path": "/tags/0", "value": "b"}], STRATEGIES) == [
        ("rem", ("tags", 1)),
        ("ins", ("tags", 1), "b"),
    ]
    copy = {"op": "copy", "from": "/people/0", "path": "/people/-"}
    assert ot.lower(FIELDS, [copy], STRATEGIES)[0] == ("rem", ("people", 0))


@pytest.mark.parametrize(
    ("target", "taken"), [("", ("set", (), {"y": 2})), ("/deep", ("set", ("deep",), {"y": 2}))]
)
def test_a_value_taken_from_the_document_stays_as_it_was_taken(target: str, taken: Any) -> None:
    """Edits of one patch change their own copies in place, but not what an operation holds by then."""
    patch = [
        {"op": "replace", "path": "/deep/x/y", "value": 2},
        {"op": "move", "from": "/deep/x", "path": target},
        {"op": "replace", "path": f"{target}/y", "value": 3},
        {"op": "add", "path": f"{target}/z", "value": 4},
    ]
    before = copy.deepcopy((DOCUMENT, patch))
    operations = ot.lower(DOCUMENT, patch)
    assert taken in operations
    after = ot.apply(DOCUMENT, operations)
    assert after == ot.apply_patch(DOCUMENT, patch)
    assert (after if not target else after["deep"]) == {"y": 3, "z": 4}
    assert (DOCUMENT, patch) == before


def test_inserted_values_are_not_changed_by_later_edits_of_the_patch() -> None:
    value = {"tags": ["a"]}
    patch = [
        {"op": "add", "path": "/rows/0", "value": value},
        {"op": "add", "path": "/rows/0/tags/-", "value": "b"},
        {"op": "copy", "from": "/rows/0", "path": "/copied"},
        {"op": "add", "path": "/rows/0/tags/-", "value": "c"},
        {"op": "remove", "path": "/copied/tags/0"},
    ]
    after = ot.apply_patch(DOCUMENT, patch)
    assert (after["rows"][0], after["copied"]) == ({"tags": ["a", "b", "c"]}, {"tags": ["b"]})
    assert value == {"tags": ["a"]}
    operations = ot.lower(DOCUMENT, patch)
    assert ot.apply(ot.apply(DOCUMENT, operations), ot.invert(DOCUMENT, operations)) == DOCUMENT


def test_edits_of_many_containers_in_one_patch() -> None:
    """More containers than a run of edits remembers as its own."""
    document = {"rows": [{"n": n, "deep": {"n": n}} for n in range(40)]}
    before = copy.deepcopy(document)
    rows = [*range(40), *reversed(range(40))]
    patch = [{"op": "inc", "path": f"/rows/{row}/deep/n", "value": 100} for row in rows]
    after = ot.apply_patch(document, patch)
    assert after == {"rows": [{"n": n, "deep": {"n": n + 200}} for n in range(40)]}
    assert document == before


def test_adding_to_a_set_beats_a_concurrent_remove() -> None:
    add = ot.lower(FIELDS, [{"op": "add", "path": "/tags/-", "value": "b"}], STRATEGIES)
    remove = ot.lower(FIELDS, [{"op": "remove", "path": "/tags/1"}], STRATEGIES)
    for earlier, later in ((add, remove), (remove, add)):
        _, rebased = ot.transform(earlier, later)
        assert ot.apply(ot.apply(FIELDS, earlier), rebased)["tags"] == ["a", "b"]


def test_at_commit_a_second_insertion_of_an_id_is_dropped_with_what_follows_in_it() -> None:
    patch = [
        {"op": "add", "path": "/people/-", "value": {"id": "u9"}},
        {"op": "add", "path": "/people/2/role", "value": "host"},
        {"op": "add", "path": "/people/-", "value": {"id": "u8"}},
        {"op": "replace", "path": "/plain", "value": "x"},
    ]
    mine = ot.lower(FIELDS, patch, STRATEGIES)
    theirs = ot.lower(FIELDS, patch[:1], STRATEGIES)
    head = ot.apply(FIELDS, theirs)
    rebased = ot.rebase(mine, [theirs])
    kept = ot.normalise(head, rebased, STRATEGIES)
    assert kept == [("ins", ("people", 3), {"id": "u8"}), ("set", ("plain",), "x")]
    assert [p["id"] for p in ot.apply(head, kept)["people"]] == ["u1", "u2", "u9", "u8"]


def test_normalise_leaves_alone_what_it_need_not_touch() -> None:
    operations = ot.lower(FIELDS, [{"op": "add", "path": "/tags/-", "value": "new"}], STRATEGIES)
    assert ot.normalise(FIELDS, operations, None) is operations
    assert list(ot.normalise(FIELDS, operations, STRATEGIES)) == operations
    replaced = ot.lower(FIELDS, [{"op": "add", "path": "/tags/-", "value": "a"}], STRATEGIES)
    assert list(ot.normalise(FIELDS, replaced, STRATEGIES)) == replaced
    other = ot.lower(FIELDS, [{"op": "replace", "path": "/plain", "value": "a"}], STRATEGIES)
    assert ot.normalise(FIELDS, other, STRATEGIES) is other


def test_touched_members() -> None:
    def touched(entry: dict[str, Any]) -> Any:
        return ot.touched(ot.lower(DOCUMENT, [entry]))

    assert touched({"op": "replace", "path": "/title", "value": 1}) == {"title"}
    assert touched({"op": "add", "path": "/rows/0/k", "value": 1}) == {"rows"}
    assert touched({"op": "move", "from": "/deep/x", "path": "/list/0"}) == {"deep", "list"}
    assert touched({"op": "test", "path": "/n", "value": 5}) == set()
    assert touched({"op": "replace", "path": "", "value": 1}) is None
    assert ot.touched([("ins", (0,), 1)]) is None


PEOPLE: dict[str, Any] = {"people": [{"id": "a", "n": 0}, {"id": "b", "n": 0}]}
BY_ID = {("people",): ("set", "id")}


@pytest.mark.parametrize(
    ("patch", "people"),
    [
        # The author sees [b', a, b] and removes a.
        (
            [
                {"op": "add", "path": "/people/0", "value": {"id": "b", "n": 1}},
                {"op": "remove", "path": "/people/1"},
            ],
            [{"id": "b", "n": 1}],
        ),
        # The author sees [a, b, a'], and appends.
        (
            [
                {"op": "add", "path": "/people/-", "value": {"id": "a", "n": 1}},
                {"op": "add", "path": "/people/3", "value": {"id": "c", "n": 0}},
            ],
            [{"id": "a", "n": 1}, {"id": "b", "n": 0}, {"id": "c", "n": 0}],
        ),
        # What is edited is the item that was added.
        (
            [
                {"op": "add", "path": "/people/0", "value": {"id": "b", "n": 1}},
                {"op": "replace", "path": "/people/0/n", "value": 7},
            ],
            [{"id": "a", "n": 0}, {"id": "b", "n": 7}],
        ),
        # The old item's removal is what the set does anyway.
        (
            [
                {"op": "add", "path": "/people/0", "value": {"id": "b", "n": 1}},
                {"op": "remove", "path": "/people/2"},
            ],
            [{"id": "a", "n": 0}, {"id": "b", "n": 1}],
        ),
    ],
)
def test_paths_after_a_known_item_stand_on_the_view_of_the_author(patch, people):
    operations = ot.lower(PEOPLE, patch, BY_ID)
    assert ot.apply(PEOPLE, operations) == {"people": people}


def test_many_known_items_are_bounded():
    document = {"people": [{"id": n} for n in range(1000)]}
    patch = [{"op": "add", "path": "/people/0", "value": {"id": n, "n": 1}} for n in range(1000)]
    with pytest.raises(PatchError) as caught:
        ot.lower(document, patch, BY_ID)
    assert caught.value.code == "TOO_LARGE"
