"""The patch that brings an older document back, or one member of it."""

from __future__ import annotations

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


@pytest.mark.parametrize("kind", ["texts", "paths"])
def test_what_takes_too_much_work_to_compare_is_replaced_as_a_whole(kind):
    random = Random(1)

    def texts():
        return {str(n): "".join(random.choices("ab ", k=1000)) for n in range(100)}

    def paths():
        return {"k" * 100_000: {str(n): random.random() for n in range(100)}}

    head, old = (texts(), texts()) if kind == "texts" else (paths(), paths())
    assert restoring(head, old) == [{"op": "replace", "path": "", "value": old}]


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
