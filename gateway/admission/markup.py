"""HTML in documents: what could run in a reader's browser is taken out (nh3, the ammonia sanitiser).

What HTML costs to parse is bounded before it is parsed: most of it is linear, but open elements are looked
through at each tag, and formatting elements (`b`, `font`, ...) that were left open are opened again,
attributes and all, in each block that follows. 20 KB could become a million elements.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import nh3

from gateway import ot
from gateway.admission.annotations import EACH, Place
from gateway.errors import Refusal
from gateway.ports import Unsanitised

# Cleaning what was cleaned changes nothing, nearly always; what doesn't settle so soon becomes text.
_ROUNDS_MAX = 4
# Elements, with their attributes, that can be opened again in one text: up to 100 ms and 30 MB.
_REOPENED_MAX = 250_000
# Of equal formatting elements only so many are opened again (HTML standard 13.2.4.3).
_EQUAL_MAX = 3
# HTML that takes about 2 ms at most is cleaned where it is found.
_AT_ONCE_BYTES = 4096
_AT_ONCE_TAGS = 400
_AT_ONCE_REOPENED = 2000
# What was cleaned elsewhere is kept until it is asked for; more rooms at once than this clean again.
_KEPT_BYTES_MAX = 16 << 20

# Every tag begins so (HTML standard 13.2.5.6); what is counted beside tags makes the bounds stricter only.
_TAG = re.compile(r"<[A-Za-z/]")
_FORMATTING = re.compile(
    r"<(?=(?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\s/>])", re.IGNORECASE
)
# A start tag without surprises, of which it is certain where it ends.
_START_TAG = re.compile(
    r"""<[A-Za-z]+(?>(?:[\s/]+[^\s"'<>/=]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?)*)[\s/]*>"""
)
_GAP = re.compile(r"[\s/]+")


class Weight(NamedTuple):
    """What decides how long a text takes: its tags, and what can be opened again."""

    tags: int
    reopened: int


class Sanitiser:
    """Cleans HTML of at most so many bytes and tags."""

    def __init__(self, bytes_max: int, tags_max: int) -> None:
        self._bytes_max = bytes_max
        self._tags_max = tags_max
        self._kept: OrderedDict[str, str | Refusal] = OrderedDict()
        self._kept_bytes = 0

    def sanitised(self, text: str) -> str:
        """HTML without scripts, handlers and unknown tags; idempotent.

        Raises Refusal TOO_LARGE, and Unsanitised where that takes long and hasn't been done yet.
        """
        known = self._kept.get(text)
        if known is None:
            if not self._is_quick(text):
                raise Unsanitised([text])
            return self.cleaned(text)
        if isinstance(known, Refusal):
            raise known
        return known

    def keep(self, outcomes: Mapping[str, str | Refusal]) -> None:
        """Remember what became of texts, for `sanitised`."""
        for text, outcome in outcomes.items():
            self._kept_bytes += 0 if text in self._kept else len(text)
            self._kept[text] = outcome
            self._kept.move_to_end(text)
        while self._kept_bytes > _KEPT_BYTES_MAX and len(self._kept) > len(outcomes):
            self._kept_bytes -= len(self._kept.popitem(last=False)[0])

    def _is_quick(self, text: str) -> bool:
        if len(text) > _AT_ONCE_BYTES:
            return False
        weight = weighed(text)
        return weight.tags <= _AT_ONCE_TAGS and weight.reopened <= _AT_ONCE_REOPENED

    def cleaned(self, text: str) -> str:
        """The same, however long it takes; any thread may call it."""
        for _ in range(_ROUNDS_MAX):
            self._check(text)
            cleaned = nh3.clean(_with_unfinished_tags_as_text(text))
            if cleaned == text:
                return text
            text = cleaned
        return nh3.clean_text(text)

    def _check(self, text: str) -> None:
        if len(text) > self._bytes_max:
            raise _too_large(f"it has {len(text)} characters, at most {self._bytes_max} are allowed")
        weight = weighed(text)
        if weight.tags > self._tags_max:
            raise _too_large(f"it has {weight.tags} tags, at most {self._tags_max} are allowed")
        if weight.reopened > _REOPENED_MAX:
            raise _too_large(
                "it has too many different formatting elements (b, font, ...) for so many tags; use fewer of "
                "them, with fewer attributes"
            )


def weighed(text: str) -> Weight:
    """The weight of a text, or more; in linear time."""
    tags = len(_TAG.findall(text))
    equal: Counter[str] = Counter()
    parts = 0
    for start in _FORMATTING.finditer(text):
        tag = _START_TAG.match(text, start.start())
        if tag is None:  # where it ends is anybody's guess
            return Weight(tags, tags * len(text))
        equal[tag[0]] += 1
        if equal[tag[0]] <= _EQUAL_MAX:
            parts += 1 + len(_GAP.findall(tag[0]))
    return Weight(tags, tags * parts)


def _too_large(problem: str) -> Refusal:
    return Refusal("TOO_LARGE", f"HTML is too much to be made safe: {problem}. Nothing was changed.")


def _with_unfinished_tags_as_text(text: str) -> str:
    """ "a<b, so ..." keeps its words: nothing after the last ">" is a whole tag; a parser would drop it."""
    end = text.rfind(">") + 1
    return text[:end] + text[end:].replace("<", "&lt;")


def strings_at(place: Place, value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """The strings of `value` at `place`, each with its JSON Pointer."""
    if not place:
        if isinstance(value, str):
            yield pointer, value
        return
    step, rest = place[0], place[1:]
    if step is EACH:
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from strings_at(rest, item, f"{pointer}/{index}")
    elif isinstance(value, dict) and step in value:
        yield from strings_at(rest, value[step], f"{pointer}{ot.pointer((step,))}")
