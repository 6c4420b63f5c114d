"""Turns of visibility: the first at once, then one in each interval, and always the last."""

from __future__ import annotations

from functools import partial

from gateway.rooms.visibility import VisibilityTurns


def test_the_first_turn_is_done_at_once_and_the_latest_of_the_others_when_it_is_due() -> None:
    done: list[str] = []
    asked: list[None] = []
    turns = VisibilityTurns(50, lambda: asked.append(None))
    for number in range(9):
        turns.turn("ann", 1000 + number, partial(done.append, f"ann {number}"))
    turns.turn("bob", 1009, partial(done.append, "bob"))
    assert done == ["ann 0", "bob"] and turns.due and asked
    turns.tick(1049)
    assert done == ["ann 0", "bob"]
    turns.tick(1050)
    assert done == ["ann 0", "bob", "ann 8"] and not turns.due
    turns.turn("ann", 1060, partial(done.append, "ann again"))  # the last was at 1050
    assert turns.due
    turns.tick(1100)
    turns.turn("ann", 1200, partial(done.append, "ann later"))
    assert done[-2:] == ["ann again", "ann later"] and not turns.due


def test_who_left_turns_no_more() -> None:
    done: list[str] = []
    turns = VisibilityTurns(50, lambda: None)
    for word in ("first", "second"):
        turns.turn("ann", 1000, partial(done.append, word))
    turns.leave("ann")
    turns.tick(2000)
    assert done == ["first"] and not turns.due
