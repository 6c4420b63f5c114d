# ruff: noqa: SIM110 (plain loops compile to C, generators do not)
"""The difference of two texts in several spans: what its author changed, and nothing beside it.

The common ends are cut. What is left is compared word by word, and what differs then once more character by
character, both by Myers' greedy algorithm (An O(ND) Difference Algorithm and Its Variations, 1986) with a
bound on its rounds; beyond it, a span is replaced whole. A replaced span is its deletion, then its insertion.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import NODE_UNITS, Budget
from gateway.ot.kernel.text import Delta, push, sealed

# Rounds of one comparison: at most so many, and in all about so many steps over what is compared.
ROUNDS_MAX = 256
STEPS_MAX = 200_000
# So many characters without a word between two spans don't part them.
GAP_LENGTH_MAX = 2
# From here on (CJK, emoji) a character is a word.
FIRST_ALONE = 0x2E80

Span = tuple[int, int, int, int]  # old[a:b] is replaced by new[c:d]


def difference(old: str, new: str, budget: Budget) -> Delta:
    """The delta that makes `new` of `old`."""
    budget.charge(len(old) + len(new))
    delta: list[Any] = []
    at = 0
    for start, end, new_start, new_end in text_spans(old, new, budget):
        push(delta, start - at)
        push(delta, start - end)
        push(delta, new[new_start:new_end])
        at = end
    return sealed(delta)


def text_spans(old: str, new: str, budget: Budget) -> list[Span]:
    """The spans in which two texts differ, in order and apart."""
    start, end, new_end = trimmed(old, new, 0, len(old), 0, len(new))
    if end == new_end == start:
        return []
    if start in (end, new_end):
        return [(start, end, start, new_end)]
    found: list[Span] = []
    for span in word_spans(old[start:end], new[start:new_end], budget):
        place = (span[0] + start, span[1] + start, span[2] + start, span[3] + start)
        found.extend(refined(old, new, place, budget))
    return found


def trimmed(old: str, new: str, start: int, end: int, new_start: int, new_end: int) -> tuple[int, int, int]:
    """A span without its common ends: how far in it starts (on both sides), and where both sides end."""
    limit = min(end - start, new_end - new_start)
    lead = 0
    while lead < limit and old[start + lead] == new[new_start + lead]:
        lead += 1
    tail = 0
    while tail < limit - lead and old[end - 1 - tail] == new[new_end - 1 - tail]:
        tail += 1
    return lead, end - tail, new_end - tail


def refined(old: str, new: str, span: Span, budget: Budget) -> list[Span]:
    """A replaced span by its characters, where half of the shorter side or more stays."""
    start, end, new_start, new_end = span
    lead, end, new_end = trimmed(old, new, start, end, new_start, new_end)
    start += lead
    new_start += lead
    whole = [(start, end, new_start, new_end)]
    if start == end or new_start == new_end:
        return whole
    found = compared(list(old[start:end]), list(new[new_start:new_end]), budget)
    if found is None:
        return whole
    kept = end - start
    for part in found:
        kept -= part[1] - part[0]
    if 2 * kept < min(end - start, new_end - new_start):
        return whole
    return [(part[0] + start, part[1] + start, part[2] + new_start, part[3] + new_start) for part in found]


def word_spans(old: str, new: str, budget: Budget) -> list[Span]:
    """The spans in which two texts differ, in whole words; the whole where that takes too much work."""
    words = words_of(old, budget)
    new_words = words_of(new, budget)
    found = compared(words, new_words, budget)
    if found is None:
        return [(0, len(old), 0, len(new))]
    offsets = offsets_of(words)
    new_offsets = offsets_of(new_words)
    spans: list[Span] = []
    for first, last, new_first, new_last in found:
        span = (offsets[first], offsets[last], new_offsets[new_first], new_offsets[new_last])
        if spans and is_gap(old, spans[-1][1], span[0]):
            before = spans.pop()
            span = (before[0], span[1], before[2], span[3])
        spans.append(span)
    return spans


def is_gap(text: str, start: int, end: int) -> bool:
    """Is there too little between two spans to part them?"""
    if end - start > GAP_LENGTH_MAX:
        return False
    for i in range(start, end):
        if is_of_word(ord(text[i])) or ord(text[i]) >= FIRST_ALONE:
            return False
    return True


def is_of_word(code: int) -> bool:
    """Is it a character that stands in a word with its neighbours: a letter or digit, or not of ASCII?"""
    if code < 128:
        return 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122
    return code < FIRST_ALONE


def words_of(text: str, budget: Budget) -> list[str]:
    """A text in words; what belongs to none stands alone, character by character."""
    words: list[str] = []
    start = 0
    size = len(text)
    while start < size:
        budget.charge(2 * NODE_UNITS)
        end = start + 1
        if is_of_word(ord(text[start])):
            while end < size and is_of_word(ord(text[end])):
                end += 1
        words.append(text[start:end])
        start = end
    return words


def offsets_of(words: list[str]) -> list[int]:
    """Where each word begins, and the end."""
    offsets = [0]
    for word in words:
        offsets.append(offsets[-1] + len(word))
    return offsets


def compared(old: list[str], new: list[str], budget: Budget) -> list[Span] | None:
    """The spans of two sequences that Myers' algorithm finds different; None beyond the bound."""
    size = len(old)
    new_size = len(new)
    rounds = min(ROUNDS_MAX, STEPS_MAX // (size + new_size))
    budget.charge(NODE_UNITS * (size + new_size))
    reached = [0] * (2 * rounds + 3)  # by diagonal: how far along `old`; the middle one is that of 0
    middle = rounds + 1
    trace: list[list[int]] = []
    for count in range(rounds + 1):
        budget.charge(2 * NODE_UNITS * (count + 1))
        trace.append(reached[middle - count - 1 : middle + count + 2])
        for diagonal in range(-count, count + 1, 2):
            if inserts(reached, middle, diagonal, count):
                at = reached[middle + diagonal + 1]
            else:
                at = reached[middle + diagonal - 1] + 1
            while at < size and at - diagonal < new_size and old[at] == new[at - diagonal]:
                at += 1
            reached[middle + diagonal] = at
            if at >= size and at - diagonal >= new_size:
                budget.charge(NODE_UNITS * (size + new_size))
                return traced_back(trace, size, new_size)
    return None


def inserts(reached: list[int], middle: int, diagonal: int, count: int) -> bool:
    """Is this diagonal reached by an insertion, rather than a deletion?"""
    if diagonal == -count:
        return True
    return diagonal != count and reached[middle + diagonal - 1] < reached[middle + diagonal + 1]


def traced_back(trace: list[list[int]], size: int, new_size: int) -> list[Span]:
    """The way back from both ends, by what was reached before each round."""
    spans: list[Span] = []
    at = size
    new_at = new_size
    for count in range(len(trace) - 1, 0, -1):
        reached = trace[count]
        middle = count + 1
        diagonal = at - new_at
        if inserts(reached, middle, diagonal, count):
            before = reached[middle + diagonal + 1]
            new_before = before - diagonal - 1
            after, new_after = before, new_before + 1
        else:
            before = reached[middle + diagonal - 1]
            new_before = before - diagonal + 1
            after, new_after = before + 1, new_before
        if spans and spans[-1][0] == after and spans[-1][2] == new_after:
            last = spans.pop()
            spans.append((before, last[1], new_before, last[3]))
        else:
            spans.append((before, after, new_before, new_after))
        at = before
        new_at = new_before
    spans.reverse()
    return spans
