"""The text of a document or a change, and the form of it in which an index compares.

Folded text has one form for what people take for the same: full and half width, upper and lower case. It may
be longer or shorter than what it was made from. NUL, at which SQLite takes a text to end, is a space.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.runtime.timeslice import Slices

# Of a document or a change so many characters are searched.
TEXT_LENGTH_MAX = 100_000
SEPARATOR = "\n"
# Folded at once: to sort the marks of one character takes the square of their number.
PIECE_LENGTH_MAX = 64
# Of a page's texts so many characters are folded beside those that are ASCII: a second and a half at worst.
FOLDED_LENGTH_MAX = 1_000_000


def text_of(value: Any) -> str:
    """Every string in a document, in the order of its members, a line each; of a long one the beginning."""
    found: list[str] = []
    left = TEXT_LENGTH_MAX
    for text in _strings(value):
        found.append(text[:left])
        left -= len(text) + 1
        if left <= 0:
            break
    return SEPARATOR.join(found)


def text_of_patch(patch: list[dict[str, Any]]) -> str:
    """Every string that a change wrote: values, and what was put into texts."""
    return text_of([operation.get("value") for operation in patch])


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if item:
                yield item
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        elif isinstance(item, list):
            waiting.extend(reversed(item))


# A piece of a text: where it begins there, and its folded form.
Piece = tuple[int, str]


def fold(text: str) -> str:
    """The form in which texts are compared."""
    return "".join(folded for _, folded in pieces(text))


async def fold_in_slices(text: str, slices: Slices) -> str:
    """The same, and others run meanwhile."""
    return "".join([folded for _, folded in await _in_slices(text, slices)])


def pieces(text: str) -> Iterator[Piece]:
    """A text piece by piece; one that is ASCII is one piece."""
    if text.isascii():
        yield 0, _folded(text)
        return
    begin = 0
    while begin < len(text):
        end = _end(text, begin)
        yield begin, _folded(text[begin:end])
        begin = end


async def _in_slices(text: str, slices: Slices) -> list[Piece]:
    done = []
    for piece in pieces(text):
        done.append(piece)
        if slices.over:
            await slices.pause()
    return done


def _folded(piece: str) -> str:
    piece = piece.replace("\0", " ")
    return piece.lower() if piece.isascii() else unicodedata.normalize("NFKC", piece).casefold()


def _end(text: str, begin: int) -> int:
    """Where a piece ends: before a character that doesn't join the one before it, if there is one."""
    most = min(len(text), begin + PIECE_LENGTH_MAX)
    for end in range(most, begin, -1):
        if end == len(text) or not _joins(text[end]):
            return end
    return most


def _joins(character: str) -> bool:
    """Whether it may become one with the character before it: a mark, or a vowel or final of Hangul."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"


class FoldedText:
    """A folded text, and what of the text each of its characters comes from."""

    def __init__(self, text: str, folded: Iterable[Piece]) -> None:
        self.text = text
        self._begins: list[int] = []
        self._places: list[int] = []
        parts: list[str] = []
        place = 0
        for begin, part in folded:
            self._begins.append(begin)
            self._places.append(place)
            parts.append(part)
            place += len(part)
        self._begins.append(len(text))
        self.folded = "".join(parts)

    def origin(self, place: int) -> tuple[int, int]:
        """Where that begins and ends in the text which became the folded character at this place."""
        if self.text.isascii():
            return place, place + 1
        number = bisect_right(self._places, place) - 1
        begin, last = self._begins[number : number + 2]
        ends = [end for end in range(begin + 1, last) if not _joins(self.text[end])]
        within = place - self._places[number]
        at = bisect_right(ends, within, key=lambda end: len(_folded(self.text[begin:end])))
        bounds = [begin, *ends, last]
        return bounds[at], bounds[at + 1]


class Folding:
    """Folds the texts of a page, at most FOLDED_LENGTH_MAX characters beside those that are ASCII."""

    def __init__(self) -> None:
        self._left = FOLDED_LENGTH_MAX

    def fold(self, text: str) -> FoldedText | None:
        """The text folded; None where the others before it were too much."""
        return self._took(FoldedText(text, pieces(text))) if self._takes(text) else None

    async def fold_in_slices(self, text: str, slices: Slices) -> FoldedText | None:
        """The same, and others run meanwhile."""
        return self._took(FoldedText(text, await _in_slices(text, slices))) if self._takes(text) else None

    def _takes(self, text: str) -> bool:
        return self._left > 0 or text.isascii()

    def _took(self, made: FoldedText) -> FoldedText:
        if not made.text.isascii():
            self._left -= len(made.folded)
        return made
