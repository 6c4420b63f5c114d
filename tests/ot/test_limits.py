"""Bounds on what one patch may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError


def refused(document: Any, patch: Any, limits: ot.Limits = ot.DEFAULT_LIMITS) -> str:
    with pytest.raises(PatchError) as caught:
        ot.apply_patch(document, patch, limits)
    return caught.value.code


def test_patch_length() -> None:
    entry = {"op": "inc", "path": "/n", "value": 1}
    assert ot.apply_patch({"n": 0}, [entry] * 1000) == {"n": 1000}
    assert refused({"n": 0}, [entry] * 1001) == "TOO_LARGE"
    assert refused({"n": 0}, [entry] * 3, ot.Limits(patch_operations_max=2)) == "TOO_LARGE"


def test_a_bomb_of_doubling_copies_is_refused_before_it_grows() -> None:
    patch = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(60)]
    assert refused({"a": "x" * 1000}, patch) == "TOO_LARGE"
    patch = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(500)]
    assert refused({"a": ["x" * 1000]}, patch) == "TOO_LARGE"


def test_copies_within_the_bound_are_made() -> None:
    patch = [{"op": "copy", "from": "/a", "path": f"/{n}"} for n in range(10)]
    assert len(ot.apply_patch({"a": "x" * 1000}, patch)) == 11
    assert refused({"a": "x" * 1000}, patch, ot.Limits(copied_bytes_max=5000)) == "TOO_LARGE"


def test_growth_bounds_what_a_document_gains() -> None:
    document = {"title": "x", "list": [1], "deep": {"n": 1}}
    for patch in (
        [{"op": "replace", "path": "/title", "value": "a longer title"}],
        [{"op": "add", "path": "/new", "value": {"a": [1, 2, 3]}}],
        [{"op": "add", "path": "/list/-", "value": "日本"}],
        [{"op": "add", "path": "", "value": [1, 2]}],
        [{"op": "text", "path": "/title", "value": ["hello", {"d": 1}]}],
        [{"op": "inc", "path": "/deep/n", "value": 10**15}],
        [{"op": "move", "from": "/deep/n", "path": "/a long member name"}],
        [{"op": "copy", "from": "/deep", "path": "/list/0"}, {"op": "remove", "path": "/title"}],
    ):
        operations = ot.lower(document, patch)
        gained = ot.size(ot.apply(document, operations)) - ot.size(document)
        assert gained <= ot.growth(document, operations), patch


def test_growth_refuses_depth_that_concurrent_edits_made() -> None:
    limits = ot.Limits(depth_max=3)
    assert ot.growth({"a": {"b": {}}}, [("set", ("a", "b", "c"), 1)], limits) > 0
    for operations in (
        [("set", ("a", "b", "c"), [])],
        [("ins", ("l", 0), [[]])],
        [("mov", ("l",), ("a", "b", "l"))],
        [("set", (), [[[[]]]])],
    ):
        with pytest.raises(PatchError) as caught:
            ot.growth({"a": {"b": {}}, "l": []}, operations, limits)
        assert caught.value.code == "TOO_LARGE"


def test_increments_stay_exact_at_the_head_too() -> None:
    """Two that are fine alone: the second is refused at the head, never rounded."""
    document = {"n": 2**53 - 6}
    operations = ot.lower(document, [{"op": "inc", "path": "/n", "value": 4}])
    assert ot.growth(document, operations) > 0
    head = ot.apply(document, operations)
    rebased = ot.rebase(operations, [operations])
    with pytest.raises(PatchError) as caught:
        ot.growth(head, rebased)
    assert caught.value.code == "INVALID_OPERATION"
    assert ot.apply(head, rebased) == {"n": 2**53 + 2}  # a replica's view may go there until it is refused
