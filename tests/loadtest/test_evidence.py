"""The evidence about a document: every kind of fault is found, by its name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from loadtest.evidence import Acknowledged, Evidence, Findings, Reader, ReplicaState, judge_document
from loadtest.replica import digest


def change(version: int, client: str, seq: int | None, operation: dict[str, Any]) -> dict[str, Any]:
    return {"version": version, "operations": [operation], "client_id": client, "seq": seq}


def title(value: str) -> dict[str, Any]:
    return {"op": "replace", "path": "/title", "value": value}


def evidence() -> Evidence:
    """Two users, three changes, everything right."""
    history = [
        change(1, "setup", None, {"op": "add", "path": "", "value": {"title": "a"}}),
        change(2, "ann", 1, title("b")),
        change(3, "bob", 1, title("c")),
    ]
    return Evidence(
        resource_id="doc",
        state={"title": "c"},
        version=3,
        history=history,
        history_after=0,
        acknowledged=[Acknowledged(2, "ann", 1), Acknowledged(3, "bob", 1)],
        readers=[Reader("ann", 3), Reader("bob", 3)],
        replicas=[ReplicaState("ann", 3, {"title": "c"}, None, [0, 0, digest([title("c")])])],
    )


def test_nothing_wrong_is_nothing_found() -> None:
    found = judge_document(evidence())
    assert not found.counts
    assert not found.reasons


def lose_from_history(case: Evidence) -> None:
    case.history = case.history[:2]
    case.version, case.state = 2, {"title": "b"}
    case.readers, case.replicas = [], []


def hole_in_history(case: Evidence) -> None:
    case.history = [case.history[0], case.history[2]]


def version_of_another(case: Evidence) -> None:
    case.acknowledged = [Acknowledged(2, "bob", 1), Acknowledged(3, "bob", 2)]


def committed_twice(case: Evidence) -> None:
    case.history = [*case.history, change(4, "ann", 1, title("b"))]
    case.version, case.state, case.readers, case.replicas = 4, {"title": "b"}, [], []


def version_twice(case: Evidence) -> None:
    case.history = [*case.history, case.history[2]]


def reader_left_behind(case: Evidence) -> None:
    case.readers = [Reader("ann", 2)]


def replica_differs(case: Evidence) -> None:
    case.replicas = [ReplicaState("ann", 3, {"title": "z"}, None)]


def state_is_not_the_history(case: Evidence) -> None:
    case.state = {"title": "z"}
    case.replicas = []


def hidden_wrong_change(case: Evidence) -> None:
    case.replicas = [ReplicaState("ann", 3, {"title": "c"}, None, [0, digest([title("wrong")]), 0])]


def hidden_wrong_change_to_a_plain_client(case: Evidence) -> None:
    case.replicas = [
        ReplicaState("ann", 3, {"title": "c"}, None, [0, digest([title("wrong")]), 0], plain=True)
    ]


def cannot_be_applied(case: Evidence) -> None:
    case.replicas = [ReplicaState("ann", 2, {"title": "b"}, "version 3: nothing at 'titel'")]


@pytest.mark.parametrize(
    ("break_it", "name", "times"),
    [
        (lose_from_history, "lost_acknowledged", 1),
        (hole_in_history, "lost_acknowledged", 1),
        (hole_in_history, "gaps", 1),
        (version_of_another, "lost_acknowledged", 2),
        (committed_twice, "duplicates", 1),
        (version_twice, "duplicates", 2),
        (reader_left_behind, "gaps", 1),
        (replica_differs, "diverged", 1),
        (state_is_not_the_history, "diverged", 1),
        (hidden_wrong_change, "diverged", 1),
        (hidden_wrong_change_to_a_plain_client, "diverged", 1),
        (cannot_be_applied, "diverged", 1),
    ],
)
def test_each_fault_is_named(break_it: Callable[[Evidence], None], name: str, times: int) -> None:
    case = evidence()
    break_it(case)
    found = judge_document(case)
    assert found.counts[name] == times
    assert any(reason.startswith(f"{name}: doc") for reason in found.reasons)


@pytest.mark.parametrize(
    "operations",
    [[{"op": "inc", "path": "/n", "value": 0}, title("c")], [], [title("c")] * 17],
)
def test_what_a_plain_client_is_told_in_other_words_is_no_wrong_change(operations: list[Any]) -> None:
    case = evidence()
    case.history = [
        change(1, "setup", None, {"op": "add", "path": "", "value": {"title": "c", "n": 0}}),
        change(2, "ann", 1, title("c")),
        {**change(3, "bob", 1, title("c")), "operations": operations},
    ]
    case.state = {"title": "c", "n": 0}
    told = [0, digest([title("c")]), digest([{"op": "noop"}])]
    case.replicas = [ReplicaState("ann", 3, case.state, None, told, plain=True)]
    assert not judge_document(case).counts
    case.replicas = [ReplicaState("ann", 3, case.state, None, told)]
    assert judge_document(case).counts == {"diverged": 1}


def test_a_replica_that_left_early_is_brought_to_the_end_by_the_history() -> None:
    case = evidence()
    case.replicas = [ReplicaState("ann", 1, {"title": "a"}, None)]
    assert not judge_document(case).counts
    case.replicas = [ReplicaState("ann", 1, {"title": "a", "more": 1}, None)]
    assert judge_document(case).counts == {"diverged": 1}


def test_a_replica_given_up_after_a_gap_is_noted_not_accused_again() -> None:
    case = evidence()
    case.replicas = [ReplicaState("ann", 3, {"title": "?"}, "version 3 came after 1")]
    found = judge_document(case)
    assert not found.counts
    assert "given up" in found.notes[0]


def test_without_the_whole_history_only_the_known_part_is_compared() -> None:
    case = evidence()
    case.history_after, case.history = 2, case.history[1:]
    assert not judge_document(case).counts
    case.acknowledged = [Acknowledged(2, "bob", 1)]
    assert judge_document(case).counts == {"lost_acknowledged": 1}


def test_what_was_acknowledged_and_could_not_be_read_is_unverified() -> None:
    case = evidence()
    case.history_after, case.history = 2, case.history[2:]
    found = judge_document(case)
    assert found.counts == {"unverified": 1}
    assert "--admin-url" in found.reasons[0]


def test_judging_changes_no_evidence() -> None:
    case = evidence()
    before = copy.deepcopy((case.history, case.state, case.replicas[0].document))
    judge_document(case)
    assert (case.history, case.state, case.replicas[0].document) == before


def test_findings_survive_json_and_add_up() -> None:
    findings = Findings()
    findings.add("gaps", "one", 3)
    again = Findings.of(findings.document())
    again.merge(findings)
    assert again.counts == {"gaps": 6}
    assert again.reasons == ["gaps: one", "gaps: one"]
