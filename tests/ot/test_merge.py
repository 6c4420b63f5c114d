"""Merging three states (docs/reference/merging.md): what each kind of field becomes, and the laws."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError
from tests.ot import merging


def merge(base: Any, mine: Any, theirs: Any) -> tuple[Any, list[Any]]:
    patch, conflicts = ot.merge(base, mine, theirs, merging.FIELDS)
    return ot.apply_patch(theirs, patch), conflicts


def test_each_kind_of_field_merges_in_its_own_way() -> None:
    base = {"text": "Bring cake.", "count": 3, "tags": ["a", "b"], "title": "T", "log": [1]}
    mine = {"text": "Please bring cake!", "count": 5, "tags": ["b", "c"], "title": "T", "log": [1, 2]}
    theirs = {"text": "Bring cake and tea.", "count": 4, "tags": ["a", "b", "d"], "title": "U", "log": [3, 1]}
    after, conflicts = merge(base, mine, theirs)
    assert after == {
        "text": "Please bring cake and tea!",
        "count": 6,
        "tags": ["b", "d", "c"],
        "title": "U",
        "log": [3, 1, 2],
    }
    assert conflicts == []


def test_what_both_changed_stays_as_theirs_and_is_a_conflict() -> None:
    after, conflicts = merge({"title": "a", "b": 1}, {"title": "b"}, {"title": "c", "b": 2})
    assert after == {"title": "c", "b": 2}
    assert conflicts == [
        {"path": "/b", "base": 1, "theirs": 2},
        {"path": "/title", "base": "a", "mine": "b", "theirs": "c"},
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_what_one_removed_and_the_other_changed_stays_in_a_set(swapped: bool) -> None:
    base = {"people": [{"id": 1, "s": "p"}, {"id": 2, "s": "p"}]}
    sides: list[Any] = [
        {"people": [{"id": 2, "s": "p"}]},
        {"people": [{"id": 1, "s": "q"}, {"id": 2, "s": "p"}]},
    ]
    after, conflicts = merge(base, *(reversed(sides) if swapped else sides))
    assert {"id": 1, "s": "q"} in after["people"]
    assert len(after["people"]) == 2
    assert [conflict["path"].rsplit("/", 1)[0] for conflict in conflicts] == ["/people"]


def test_items_of_a_set_merge_member_by_member() -> None:
    base = {"people": [{"id": 1, "s": "p", "t": 0}]}
    after, conflicts = merge(
        base, {"people": [{"id": 1, "s": "q", "t": 0}]}, {"people": [{"id": 1, "s": "p", "t": 1}]}
    )
    assert (after, conflicts) == ({"people": [{"id": 1, "s": "q", "t": 1}]}, [])


def test_an_array_without_a_strategy_is_a_register() -> None:
    after, conflicts = merge({"x": [1]}, {"x": [1, 2]}, {"x": [0, 1]})
    assert after == {"x": [0, 1]}
    assert conflicts == [{"path": "/x", "base": [1], "mine": [1, 2], "theirs": [0, 1]}]


def test_a_deleted_document_stays_deleted_unless_it_was_changed_here() -> None:
    assert merge({"a": 1}, {"a": 1}, None) == (None, [])
    assert merge({"a": 1}, {"a": 2}, None)[1] == [
        {"path": "", "base": {"a": 1}, "mine": {"a": 2}, "theirs": None}
    ]


def test_work_is_bounded() -> None:
    texts = ["".join(chr(97 + (n * k) % 26) + " " for n in range(5000)) for k in (1, 3, 7)]
    with pytest.raises(PatchError) as caught:
        ot.merge(*({"text": text} for text in texts), merging.FIELDS, ot.budget(10_000))
    assert caught.value.code == "TOO_LARGE"


def test_the_laws_hold_for_random_triples() -> None:
    for seed in range(1500):
        merging.check(seed)
