"""The text of a document or a change, and the form of it in which an index compares.

Folded text has one form for what people take for the same: full and half width, upper and lower case. It may
be longer or shorter than what it was made from. NUL, at which SQLite takes a text to end, is a space.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

# Of a document or a change so many characters are searched.
TEXT_LENGTH_MAX = 100_000
SEPARATOR = "\n"


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


def fold(text: str) -> str:
    """The form in which texts are compared."""
    text = text.replace("\0", " ")
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def folded_with_places(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each character of it the place in `text` that it comes from."""
    folded: list[str] = []
    places: list[int] = []
    begin = 0
    while begin < len(text):
        end = begin + 1
        while (end < len(text) and unicodedata.combining(text[end])) or text[end : end + 1] in _VOICED:
            end += 1
        piece = fold(text[begin:end])
        folded.append(piece)
        places += [begin] * len(piece)
        begin = end
    places.append(len(text))
    return "".join(folded), places


# Half-width marks that join the character before them.
_VOICED = ("\uff9e", "\uff9f")
