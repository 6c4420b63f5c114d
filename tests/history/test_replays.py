"""Blame and differences agree with a plain replay of random histories; the long run is a command."""

from __future__ import annotations

import pytest

from gateway import ot
from gateway.history.blame import LATER_MAX, Blame
from gateway.history.difference import PastChange, difference, steps
from tests.history.replays import changes, check_blame, check_differences, main, told

SEEDS = range(300)


def test_blame_names_who_wrote_every_value():
    for seed in SEEDS:
        check_blame(*changes(seed))


def test_differences_lead_forwards_and_back():
    for seed in SEEDS:
        check_differences(*changes(seed))


def test_the_oracle_notices_a_wrong_author(monkeypatch):
    tell = Blame.tell
    monkeypatch.setattr(
        Blame, "tell", lambda blame, change: tell(blame, change._replace(version=change.version + 1))
    )
    with pytest.raises(AssertionError):
        check_blame(*changes(1))


def test_a_moved_value_keeps_its_author_and_a_copy_gets_one():
    blame = Blame({"a": {"x": 1}, "list": ["p", "q"]})
    patch = [
        {"op": "move", "from": "/list/1", "path": "/list/0"},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/list/-", "value": "r"},
    ]
    told(blame, PastChange(7, patch, "bob", 99, None))
    assert [(line.path, line.stamp.version) for line in blame.lines()] == [("", 0), ("/list/2", 7), ("/b", 7)]


def test_text_says_what_it_cut():
    patch = [{"op": "text", "path": "/t", "value": [1, {"d": 2}, "XY", 1, {"d": 1}]}]
    [entry] = difference(steps({"t": "abcde"}, patch))
    assert entry["removed"] == ["bc", "e"]


def test_the_command_runs():
    main.callback(5, 100)


def test_a_member_that_becomes_the_document_keeps_its_author():
    blame = Blame({"a": {"x": 1}})
    told(blame, PastChange(3, [{"op": "add", "path": "/a", "value": {"x": 2}}], "ann", 1, None))
    told(blame, PastChange(4, [{"op": "move", "from": "/a", "path": ""}], "bob", 2, None))
    assert [(line.path, line.stamp.user_id) for line in blame.lines()] == [("", "ann")]


def test_a_change_of_many_operations_is_taken_in_by_steps_and_a_wide_document_seldom_copied(monkeypatch):
    copies = []
    apply_patch = ot.apply_patch
    monkeypatch.setattr(
        ot, "apply_patch", lambda _, patch, *rest: copies.append(len(patch)) or apply_patch(_, patch, *rest)
    )
    blame = Blame({f"k{number}": 0 for number in range(1000)})
    patch = [{"op": "replace", "path": f"/k{number}", "value": 1} for number in range(1000)]
    assert told(blame, PastChange(1, patch, "ann", 1, None)) == 1000
    assert len([*blame.lines()]) == 1001
    assert sum(copies) == 1000
    assert len(copies) <= 1000 / LATER_MAX
