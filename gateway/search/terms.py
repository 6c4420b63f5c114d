"""What somebody searches for: words, all of which must occur, and what of a text matched them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.search.texts import FoldedText, fold

TERMS_MAX = 16
TERM_LENGTH_MAX = 200
# Characters shown around what matched; fragments of a text.
AROUND = 40
FRAGMENTS_MAX = 3
_TERM = re.compile(r'"([^"]*)"|(\S+)')


class TooManyTerms(ValueError):
    """A query has too many words, or too long ones."""


class Fragment(NamedTuple):
    """A piece of a text, and the (start, length) in it of what matched, in characters."""

    text: str
    marks: Sequence[tuple[int, int]]


def terms_of(query: str) -> list[str]:
    """The folded terms of a query: its words, and what stands in quotation marks as one.

    Raises TooManyTerms.
    """
    found = [fold(quoted or word).strip() for quoted, word in _TERM.findall(query)]
    terms = list(dict.fromkeys(term for term in found if term))
    if len(terms) > TERMS_MAX or any(len(term) > TERM_LENGTH_MAX for term in terms):
        raise TooManyTerms(f"at most {TERMS_MAX} words of at most {TERM_LENGTH_MAX} characters")
    return terms


def matches(folded: str, terms: Sequence[str]) -> bool:
    """Whether all terms occur in a folded text."""
    return all(term in folded for term in terms)


def fragments(text: FoldedText, terms: Sequence[str]) -> list[Fragment]:
    """The pieces of a text in which terms occur, the first of each; overlapping ones are one."""
    found: list[Fragment] = []
    starts = 0  # of the last fragment, in the text
    for begin, end in sorted(_marks(text, terms)):
        if found and begin < starts + len(found[-1].text):
            last = found[-1]
            mark = begin - starts, min(end - begin, len(last.text) - (begin - starts))
            found[-1] = Fragment(last.text, [*last.marks, mark])
            continue
        if len(found) == FRAGMENTS_MAX:
            break
        starts, ends = max(0, begin - AROUND), min(len(text.text), end + AROUND)
        found.append(Fragment(text.text[starts:ends], [(begin - starts, end - begin)]))
    return found


def _marks(text: FoldedText, terms: Sequence[str]) -> set[tuple[int, int]]:
    """Where each term occurs first, as (begin, end) in the text that was folded."""
    found = [(at, at + len(term) - 1) for term in terms if (at := text.folded.find(term)) >= 0]
    return {(text.origin(first)[0], text.origin(last)[1]) for first, last in found}
