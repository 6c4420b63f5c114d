"""What an authoriser decided, kept for a while: bounded in number and in age."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import NamedTuple

from gateway.ports import Question, Role


class Age(Enum):
    """How old a decision is: `DUE` is in force, and to be asked again; `MISSING` was never made, or went."""

    FRESH = "fresh"
    DUE = "due"
    OVER = "over"
    MISSING = "missing"


class Decision(NamedTuple):
    """What was decided, and when (monotonic)."""

    role: Role | None
    decided_s: float


class Decisions:
    """At most `most` of them, none in force for longer than `lifetime_s`; the oldest make room."""

    def __init__(self, most: int, lifetime_s: float) -> None:
        self._most = most
        self._lifetime_s = lifetime_s
        self._found: OrderedDict[Question, Decision] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def keep(self, question: Question, role: Role | None, now_s: float) -> None:
        """It was decided now."""
        self._found[question] = Decision(role, now_s)
        self._found.move_to_end(question)
        if len(self._found) > self._most:
            self._found.popitem(last=False)

    def age(self, question: Question, now_s: float) -> Age:
        """Whether the decision is in force."""
        found = self._found.get(question)
        if found is None:
            return Age.MISSING
        age_s = now_s - found.decided_s
        if age_s >= self._lifetime_s:
            return Age.OVER
        return Age.DUE if age_s >= self._lifetime_s / 2 else Age.FRESH

    def in_force(self, question: Question, now_s: float) -> Decision | None:
        """The decision, unless it is too old or there is none."""
        found = self._found.get(question)
        if found is None or now_s - found.decided_s >= self._lifetime_s:
            return None
        return found
