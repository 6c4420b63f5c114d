"""HTML in documents: what could run in a reader's browser is taken out (nh3, the ammonia sanitiser)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nh3

from gateway.admission.annotations import EACH, Place

# What an HTML parser takes for the start of a tag, a comment or a declaration (HTML standard 13.2.5.6).
_MARKUP = re.compile(r"<[A-Za-z/!?]")
_ROUNDS_MAX = 4


def sanitised(text: str) -> str:
    """The text without scripts, handlers and unknown tags; idempotent.

    Text without anything that looks like markup is returned as it is: "R&D, a < b" isn't HTML-escaped.
    """
    for _ in range(_ROUNDS_MAX):
        if not _MARKUP.search(text):
            return text
        cleaned = nh3.clean(_with_unfinished_tags_as_text(text))
        if cleaned == text:
            return text
        text = cleaned
    return nh3.clean_text(text)  # no fixed point in sight: all of it becomes text


def _with_unfinished_tags_as_text(text: str) -> str:
    """ "a<b, so ..." keeps its words: nothing after the last ">" is a whole tag; a parser would drop it."""
    end = text.rfind(">") + 1
    return text[:end] + text[end:].replace("<", "&lt;")


def cleanings(place: Place, value: Any, pointer: str = "") -> Iterator[dict[str, Any]]:
    """RFC 6902 operations that sanitise the strings of `value` at `place`, where that changes them."""
    if not place:
        if isinstance(value, str) and _MARKUP.search(value):
            cleaned = sanitised(value)
            if cleaned != value:
                yield {"op": "replace", "path": pointer, "value": cleaned}
        return
    step, rest = place[0], place[1:]
    if step is EACH:
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from cleanings(rest, item, f"{pointer}/{index}")
    elif isinstance(value, dict) and step in value:
        yield from cleanings(rest, value[step], f"{pointer}/{escaped(step)}")


def escaped(token: str) -> str:
    """A member's name as a token of a JSON Pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")
