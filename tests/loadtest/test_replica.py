"""The judge's own replica: applying changes, undos recomputed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jsonpatch
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.replica import Replica, ReplicaError, Step, UndoOracle, apply, apply_text, digest

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~0", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def paths(value: Any, prefix: str = "") -> list[str]:
    found = [prefix]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths(inner, f"{prefix}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            found += paths(inner, f"{prefix}/{i}")
        found.append(f"{prefix}/-")
    return found


@given(values, values, st.data())
def test_it_agrees_with_a_published_library(document: Any, value: Any, data: st.DataObject) -> None:
    path, source = (data.draw(st.sampled_from(paths(document))) for _ in range(2))
    kind = data.draw(st.sampled_from(["add", "remove", "replace", "copy", "move"]))
    operation = {"op": kind, "path": path, "value": value, "from": source}
    if kind in ("copy", "move") and path.startswith(source):
        return
    if kind in ("move", "remove") and "" in (path, source):
        return
    try:
        wanted = jsonpatch.apply_patch(document, [operation])
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, KeyError, TypeError, IndexError):
        return
    assert json.dumps(apply(json.loads(json.dumps(document)), [operation])) == json.dumps(wanted)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "remove", "path": "/a/7"},
        {"op": "add", "path": "/a/01", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "text", "path": "/a", "value": ["x"]},
        {"op": "explode", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "replace", "path": "/a"},
    ],
)
def test_what_cannot_be_applied_is_an_error(operation: dict[str, Any]) -> None:
    with pytest.raises(ReplicaError):
        apply({"a": [1, 2]}, [operation])


def test_text_is_retained_inserted_and_deleted_by_code_points() -> None:
    assert apply_text("日程 café", [3, "le ", {"d": 4}, "thé"]) == "日程 le thé"
    with pytest.raises(ReplicaError, match="past the end"):
        apply_text("ab", [3, "x"])


def test_inc_and_noop() -> None:
    operations = [{"op": "inc", "path": "/n", "value": -2}, {"op": "noop"}]
    assert apply({"n": 5}, operations) == {"n": 3}


# ------------------------------------------------------------------------------------------ messages


def spooled(kind: str, own: tuple[int, bytes] | None = None, **payload: Any) -> tuple[bytes, Any]:
    return orjson.dumps({"type": kind, "payload": payload}), own


def title(value: str) -> dict[str, Any]:
    return {"op": "replace", "path": "/title", "value": value}


def started(undo: bool = False) -> Replica:
    replica = Replica("me", undo)
    replica.feed([spooled("SUBSCRIBE_ACK", version=3, epoch=1, state={"title": "a", "location": "here"})])
    return replica


def submission(*operations: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": "OP", "payload": {"operations": operations}})


def test_broadcasts_and_own_acknowledgements_are_applied_in_order() -> None:
    replica = started()
    replica.feed(
        [
            spooled("OP_BROADCAST", version=4, operations=[title("b")]),
            spooled("OP_ACK", (1, submission(title("c"))), version=5, id="1"),
            spooled("OP_ACK", (2, submission(title("d"))), version=6, id="2", operations=[title("merged")]),
            spooled("OP_BROADCAST", version=7, operation={"op": "noop"}),
        ]
    )
    assert (replica.version, replica.document["title"], replica.problem) == (7, "merged", None)


def test_duplicates_change_nothing_and_a_gap_is_a_problem() -> None:
    replica = started()
    replica.feed([spooled("OP_BROADCAST", version=3, operations=[title("old")])])
    replica.feed([spooled("OP_ACK", version=2, id="1", duplicate=True)])
    assert (replica.document["title"], replica.problem) == ("a", None)
    replica.feed([spooled("OP_BROADCAST", version=6, operations=[title("later")])])
    assert replica.problem is not None
    assert "came after" in replica.problem


def test_a_resume_brings_changes_and_a_resync_the_state() -> None:
    replica = started()
    replica.feed([spooled("SUBSCRIBE_ACK", version=5, changes=[
        {"version": 4, "operations": [title("b")], "client_id": "x"},
        {"version": 5, "operations": [title("c")], "client_id": "me"},
    ])])  # fmt: skip
    assert (replica.version, replica.document["title"]) == (5, "c")
    replica.feed([spooled("SYNC_RESPONSE", current_version=90, state={"title": "z"})])
    assert (replica.version, replica.document) == (90, {"title": "z"})


def test_changes_that_do_not_reach_the_version_are_a_problem() -> None:
    replica = started()
    replica.feed([spooled("SUBSCRIBE_ACK", version=5, changes=[{"version": 4, "operations": [title("b")]}])])
    assert replica.problem == "changes end at 4, not at 5"


def test_digests_remember_what_each_broadcast_brought() -> None:
    replica = started()
    replica.feed([spooled("OP_BROADCAST", version=4, operations=[title("b")])])
    replica.feed([spooled("OP_ACK", (1, submission(title("c"))), version=5, id="1")])
    replica.feed([spooled("OP_BROADCAST", version=6, operations=[title("d")])])
    assert list(replica.digests) == [0, 0, 0, digest([title("b")]), 0, digest([title("d")])]


def part(number: int, count: int, value: str, version: int = 4) -> tuple[bytes, Any]:
    return spooled("OP_BROADCAST", version=version, operation=title(value), part=[number, count])


def test_a_change_in_parts_is_there_with_its_last_one() -> None:
    replica = started()
    replica.feed([part(1, 2, "b")])
    assert (replica.version, replica.document["title"]) == (3, "a")
    replica.feed([part(2, 2, "c"), spooled("OP_BROADCAST", version=5, operation=location("there"))])
    assert (replica.version, replica.document["title"], replica.problem) == (5, "c", None)
    assert list(replica.digests[3:]) == [digest([title("b"), title("c")]), digest([location("there")])]


@pytest.mark.parametrize(
    "spool",
    [
        [part(1, 3, "b"), part(3, 3, "c")],
        [part(2, 2, "c")],
        [part(1, 2, "b"), spooled("OP_BROADCAST", version=5, operation=title("z"))],
        [part(1, 2, "b"), spooled("OP_ACK", (1, submission(title("z"))), version=5, id="1")],
    ],
)
def test_a_part_that_is_lost_is_a_problem_though_what_follows_hides_it(spool: list[Any]) -> None:
    replica = started()
    replica.feed(spool)
    assert replica.problem is not None
    assert "part" in replica.problem
    replica.feed([spooled("SYNC_RESPONSE", current_version=9, state={"title": "z"})])
    replica.feed([part(1, 2, "b", version=10), part(2, 2, "c", version=10)])
    assert (replica.version, replica.document, replica.problem) == (10, {"title": "c"}, None)


# ---------------------------------------------------------------------------------------------- undo


def location(value: str) -> dict[str, Any]:
    return {"op": "replace", "path": "/location", "value": value}


def oracle(*edits: Sequence[dict[str, Any]]) -> tuple[UndoOracle, dict[str, Any]]:
    made, document = UndoOracle(), {"title": "a", "location": "here"}
    for edit in edits:
        made.own(document, edit)
        document = apply(document, edit)
    return made, document


def test_an_undo_restores_what_was_there() -> None:
    made, document = oracle([title("b")], [location("there")])
    assert made.undone(document, [location("here")], redo=False) is None
    document = apply(document, [location("here")])
    assert made.undone(document, [title("a")], redo=False) is None
    document = apply(document, [title("a")])
    assert made.undone(document, [title("b")], redo=True) is None
    assert made.checked == 3


def test_a_change_of_several_members_is_undone_and_redone_as_one() -> None:
    made, document = oracle([title("b"), location("there"), title("c")])
    back = [location("here"), title("a")]
    assert made.undone(document, back, redo=False) is None
    document = apply(document, back)
    assert made.undone(document, [title("c"), location("there")], redo=True) is None
    document = apply(document, [title("c"), location("there")])
    assert made.undone(document, [title("a")], redo=False) is not None, "half of it"


def test_of_a_change_of_several_members_what_others_left_is_undone() -> None:
    made, document = oracle([title("b"), location("there")])
    made.foreign([title("theirs")])
    document = apply(document, [title("theirs")])
    assert made.undone(document, [location("here")], redo=False) is None
    assert made.redone == [Step({"location": "there"})]


@pytest.mark.parametrize("restored", [[location("here")], [location("here"), title("a")]])
def test_a_member_written_meanwhile_may_be_restored_with_the_others_or_not(restored: list[Any]) -> None:
    made, document = oracle([title("b"), location("there")])
    made.sent()
    made.foreign([title("theirs")])
    document = apply(document, [title("theirs")])
    assert made.undone(document, restored, redo=False) is None


def test_an_undo_that_restores_something_else_is_named() -> None:
    made, document = oracle([title("b")])
    wrong = made.undone(document, [title("not what it was")], redo=False)
    assert wrong is not None
    assert "/title" in wrong


def test_an_undo_that_touches_more_is_named() -> None:
    made, document = oracle([title("b")])
    assert made.undone(document, [title("a"), location("gone")], redo=False) is not None


def test_somebodys_later_write_wins_over_the_undo() -> None:
    made, document = oracle([location("there")], [title("b")])
    made.foreign([title("theirs")])
    document = apply(document, [title("theirs")])
    assert made.stack == [Step({"location": "here"})]
    assert made.undone(document, [location("here")], redo=False) is None


@pytest.mark.parametrize("restored", [title("a"), location("here")])
def test_an_undo_may_be_taken_up_before_or_after_a_write_that_came_meanwhile(
    restored: dict[str, Any],
) -> None:
    made, document = oracle([location("there")], [title("b")])
    made.sent()
    made.foreign([title("theirs")])
    document = apply(document, [title("theirs")])
    assert made.undone(document, [restored], redo=False) is None
    made.sent()
    assert made.undone(document, [title("b")], redo=False) is not None


def test_an_undo_may_not_restore_what_was_overwritten_before_the_last_answer() -> None:
    made, document = oracle([location("there")], [title("b")])
    made.sent()
    made.foreign([title("theirs")])
    document = apply(document, [title("theirs")])
    made.refused()
    made.sent()
    assert made.undone(document, [title("a")], redo=False) is not None


def test_an_own_change_that_comes_as_a_broadcast_ends_the_certainty() -> None:
    replica = started(undo=True)
    replica.feed([spooled("OP_BROADCAST", version=4, operations=[title("b")], client_id="me")])
    assert replica.undo is not None
    assert not replica.undo.certain


def test_an_undo_of_nothing_is_named() -> None:
    made, document = oracle([title("b")])
    made.foreign([title("theirs")])
    assert made.undone(document, [title("a")], redo=False) is not None


def test_a_replica_reports_a_wrong_undo_with_its_version() -> None:
    replica = started(undo=True)
    undo = b'{"type":"UNDO","id":"2"}'
    replica.feed(
        [
            spooled("OP_ACK", (1, submission(title("b"))), version=4, id="1"),
            spooled("OP_ACK", (2, undo), version=5, id="2", operations=[title("wrong")]),
        ]
    )
    assert len(replica.violations) == 1
    assert replica.violations[0].startswith("version 5")


def test_after_a_resync_undos_are_not_judged() -> None:
    replica = started(undo=True)
    replica.feed([spooled("SYNC_RESPONSE", current_version=9, state={"title": "z"})])
    assert replica.undo is not None
    assert not replica.undo.certain
