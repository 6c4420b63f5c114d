"""JSON Pointers (RFC 6901) and the values that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MISSING: Any = object()
# Digits of an index in an array; of thousands Python makes no number.
INDEX_LENGTH_MAX = 16
# What a ~ of a pointer may not stand before.
UNESCAPED = re.compile("~(?![01])")


def parts(pointer: str) -> list[str]:
    """The components of a pointer; raises ValueError where it is none."""
    if pointer == "":
        return []
    if not pointer.startswith("/") or UNESCAPED.search(pointer):
        raise ValueError(pointer)
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def value_at(document: Any, components: Sequence[str]) -> Any:
    """The value that is there, or MISSING."""
    for part in components:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and _is_index(part) and int(part) < len(document):
            document = document[int(part)]
        else:
            return MISSING
    return document


def _is_index(part: str) -> bool:
    is_number = len(part) <= INDEX_LENGTH_MAX and part.isascii() and part.isdigit()
    return is_number and (part[0] != "0" or part == "0")


def related(one: str, other: str) -> bool:
    """Whether one pointer names the other's place, or a place inside of it."""
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or longer.startswith(shorter + "/")
