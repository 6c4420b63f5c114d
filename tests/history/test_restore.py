"""The patch that brings an older document back, or one member of it."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest

from gateway import ot
from gateway.history.restore import CannotRestore, restoring
from tests.ot.generate import document

OLD = {"title": "Lunch", "tags": ["food"], "place": {"room": 4}}
HEAD = {"title": "Dinner", "tags": ["food", "late"], "note": "x"}


def test_the_whole_comes_back_whatever_happened_since():
    random = Random(22)
    for _ in range(300):
        old, head = document(random), document(random)
        assert ot.identical(ot.apply_patch(head, restoring(head, old)), old)


def events(count: int) -> list[dict[str, object]]:
    guests = [{"user": "ann", "answer": "yes"}, {"user": "bob", "answer": "no"}]
    return [{"id": f"e{n}", "title": f"Meeting {n}", "guests": guests} for n in range(count)]


def differing_texts(seed):
    random = Random(seed)
    return {str(n): "".join(random.choices("ab ", k=1000)) for n in range(400)}


def differing_numbers(seed):
    random = Random(seed)
    return {"k" * 100_000: {str(n): random.random() for n in range(100)}}


def test_of_a_large_document_that_differs_in_one_place_that_place_alone_is_written():
    """In the last of many events, deep within; and in the densest of a megabyte."""
    old = {"title": "Plan", "a": {"b": {"c": {"events": events(12_000)}}}}
    head = deepcopy(old)
    head["a"]["b"]["c"]["events"][-1]["title"] = ""
    (change,) = restoring(head, old)
    assert (change["op"], change["path"]) == ("text", "/a/b/c/events/11999/title")
    assert restoring([0] * 500_000 + [1], [0] * 500_000 + [2]) == [
        {"op": "replace", "path": "/500000", "value": 2}
    ]


@pytest.mark.parametrize("differing", [differing_texts, differing_numbers])
def test_what_takes_too_much_work_to_compare_comes_back_member_by_member(differing):
    """So what others write meanwhile in members that were as they are stays."""
    gone, same = {"note": "x"}, {"title": "Lunch"}
    head, old = gone | same | differing(1), same | differing(2)
    patch = restoring(head, old)
    assert patch[0] == {"op": "remove", "path": "/note"}
    written = [{"op": "add", "path": f"/{name}", "value": old[name]} for name in differing(2)]
    assert patch[1:] == written
    assert ot.identical(ot.apply_patch(head, patch), old)


def test_an_array_that_takes_too_much_work_to_compare_comes_back_as_a_whole():
    head, old = (list(differing_texts(seed).values()) for seed in (1, 2))
    assert restoring(head, old) == [{"op": "replace", "path": "", "value": old}]


def test_what_differs_in_very_many_places_of_one_member_comes_back_with_that_member():
    old, head = ({"title": "Lunch", "m": {f"k{n}": n + more for n in range(2000)}} for more in (0, 1))
    assert restoring(head, old) == [{"op": "add", "path": "/m", "value": old["m"]}]


@pytest.mark.parametrize(
    ("path", "patch"),
    [
        ("/title", [{"op": "add", "path": "/title", "value": "Lunch"}]),
        ("/tags", [{"op": "add", "path": "/tags", "value": ["food"]}]),
        ("/place", [{"op": "add", "path": "/place", "value": {"room": 4}}]),
        ("/note", [{"op": "remove", "path": "/note"}]),
    ],
)
def test_a_member_comes_back(path, patch):
    assert restoring(HEAD, OLD, path) == patch


def test_what_differs_in_very_many_places_comes_back_as_a_whole():
    old, head = ({f"k{number}": number + more for number in range(2000)} for more in (0, 1))
    assert restoring(head, old) == [{"op": "replace", "path": "", "value": old}]


def test_what_is_as_it_was_needs_nothing():
    assert restoring(OLD, OLD) == []
    assert restoring(OLD, OLD, "/title") == []
    assert restoring({"n": 1}, {"n": 1.0}, "/n") == [{"op": "add", "path": "/n", "value": 1.0}]


def test_a_deleted_document_comes_back_whole():
    assert restoring(None, OLD) == [{"op": "add", "path": "", "value": OLD}]


@pytest.mark.parametrize(
    ("head", "old", "path", "words"),
    [
        (HEAD, None, "", "DELETE"),
        (HEAD, OLD, "title", "JSON Pointer"),
        (HEAD, OLD, "/tags/0", "whole array, /tags"),
        (HEAD, OLD, "/place/room", "/place is no object now"),
        (HEAD, OLD, "/nowhere", "nothing at /nowhere"),
        (None, OLD, "/title", "the document is no object now"),
    ],
)
def test_what_cannot_come_back_says_what_to_do(head, old, path, words):
    with pytest.raises(CannotRestore, match=words):
        restoring(head, old, path)
