# ruff: noqa: SIM110 (plain loops compile to C, generators do not)
"""A long text under a series of edits, in pieces: an edit costs the pieces that it touches, not the whole."""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import Budget
from gateway.ot.kernel.errors import INVALID, KernelError
from gateway.ot.kernel.text import (
    Delta,
    apply_delta,
    invert_delta,
    length_of,
    past_the_end,
    push,
    read_components,
    sealed,
    utf16_span,
)

PIECE_LENGTH = 4096
# Below this a text is copied as fast as its piece is found.
LONG_LENGTH = 2 * PIECE_LENGTH


def extra_units(text: str) -> int:
    """How many more UTF-16 code units than code points a text has."""
    return 0 if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2 - len(text)


def long_text(text: str, budget: Budget) -> LongText:
    """A text in pieces, paid for."""
    budget.charge_text(text)
    return LongText(text)


class LongText:
    """See the module's docstring. `before` and `rest` are `find`'s second and third result."""

    def __init__(self, text: str) -> None:
        self.length = len(text)
        self.pieces: list[str] = []
        self.extra: list[int] = []  # of each piece
        self.extra_total = 0
        self.before = 0
        self.rest = 0
        self.put(0, 0, text)

    def whole(self, budget: Budget) -> str:
        text = "".join(self.pieces)
        budget.charge_text(text)
        return text

    def put(self, first: int, count: int, text: str) -> None:
        """`text` in the place of so many pieces."""
        size = len(text)
        pieces = [text]
        if size > LONG_LENGTH:
            pieces = [text[start : start + PIECE_LENGTH] for start in range(0, size, PIECE_LENGTH)]
        extra = [extra_units(piece) for piece in pieces]
        for i in range(first, first + count):
            self.extra_total -= self.extra[i]
        for units in extra:
            self.extra_total += units
        self.pieces[first : first + count] = pieces
        self.extra[first : first + count] = extra

    def find(self, offset: int, utf16: bool) -> int:
        """The piece of an offset; `before` it stand so many code points, `rest` is the offset in it."""
        before = 0
        index = 0
        last = len(self.pieces) - 1
        while index < last:
            size = len(self.pieces[index])
            span = size + self.extra[index] if utf16 else size
            if offset <= span:
                break
            offset -= span
            before += size
            index += 1
        self.before = before
        self.rest = offset
        return index

    def read_and_edit(self, components: list[Any], utf16: bool, budget: Budget) -> Delta:
        """The delta of a `text` operation's components, which is carried out."""
        lead = 0
        reach = 0
        for i in range(len(components)):
            if type(components[i]) is not str:
                reach += length_of(components[i])
                if i == 0 and type(components[i]) is int:
                    lead = reach
        if reach > self.length + (self.extra_total if utf16 else 0):
            raise past_the_end(self.length)
        last = self.find(reach, utf16)
        first = self.find(lead, utf16)
        before = self.before
        text = self.taken(first, last, budget)
        wide = utf16 and self.has_extra(first, last)
        start = utf16_span(text, 0, self.rest) if wide else self.rest
        delta: list[Any] = []
        push(delta, before + start)
        read_components(components, 1 if lead else 0, text, start, wide, delta, budget)
        result = sealed(delta)
        if result:
            self.put(first, last + 1 - first, apply_delta(text, shifted(result, before)))
            self.length += growth_of_delta(result)
        return result

    def has_extra(self, first: int, last: int) -> bool:
        """Do UTF-16 and code points count these pieces differently?"""
        for i in range(first, last + 1):
            if self.extra[i]:
                return True
        return False

    def edit(self, delta: Delta, budget: Budget) -> Delta:
        """Carry out a delta; the delta that takes it back."""
        lead = delta[0] if type(delta[0]) is int and delta[0] > 0 else 0
        reach = reach_of(delta)
        if reach > self.length:
            raise KernelError(INVALID, f"the text ends at {self.length}, the delta reaches {reach}")
        last = self.find(reach, False)
        first = self.find(lead, False)
        before = self.before
        text = self.taken(first, last, budget)
        within = shifted(delta, before)
        self.put(first, last + 1 - first, apply_delta(text, within))
        self.length += growth_of_delta(delta)
        back: list[Any] = []
        push(back, before)
        for component in invert_delta(text, within):
            push(back, component)
        return sealed(back)

    def taken(self, first: int, last: int, budget: Budget) -> str:
        """The pieces `first ... last` as one text, paid for."""
        budget.charge(len(self.pieces))
        text = "".join(self.pieces[first : last + 1])
        budget.charge(len(text) >> 2 if text.isascii() else len(text))
        return text


def shifted(delta: Delta, before: int) -> Delta:
    """A delta that begins by retaining `before` or more, without that."""
    if not before:
        return delta
    lead = delta[0] - before
    return (lead, *delta[1:]) if lead else delta[1:]


def reach_of(delta: Delta) -> int:
    """How far into the old text a delta reaches."""
    reach = 0
    for component in delta:
        if type(component) is int:
            reach += component if component > 0 else -component
    return reach


def growth_of_delta(delta: Delta) -> int:
    growth = 0
    for component in delta:
        if type(component) is str:
            growth += len(component)
        elif component < 0:
            growth += component
    return growth
