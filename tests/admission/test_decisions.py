"""What an authoriser decided is bounded in number and in age."""

from __future__ import annotations

from gateway.admission.decisions import Age, Decisions
from gateway.ports import Question


def about(n: int) -> Question:
    return Question("ann", "event", str(n))


def test_a_decision_is_fresh_then_due_then_over():
    found = Decisions(10, lifetime_s=60)
    assert found.age(about(1), 0) is Age.MISSING
    found.keep(about(1), "editor", 100)
    ages = [found.age(about(1), now_s) for now_s in (100, 129, 130, 159, 160)]
    assert ages == [Age.FRESH, Age.FRESH, Age.DUE, Age.DUE, Age.OVER]
    assert found.in_force(about(1), 159) is not None
    assert found.in_force(about(1), 160) is None


def test_that_nothing_is_granted_is_a_decision_too():
    found = Decisions(10, lifetime_s=60)
    found.keep(about(1), None, 0)
    decision = found.in_force(about(1), 1)
    assert decision is not None and decision.role is None


def test_the_oldest_makes_room_and_one_that_was_renewed_stays():
    found = Decisions(3, lifetime_s=60)
    for n in (1, 2, 3, 1, 4):
        found.keep(about(n), "viewer", 0)
    assert len(found) == 3
    assert [found.age(about(n), 0) for n in (1, 2, 3, 4)] == [Age.FRESH, Age.MISSING, Age.FRESH, Age.FRESH]
