"""Integers of JSON that are too long for a reader to tell that they were any.

orjson reads an integer literal beyond 64 bits as a float, silently. Where that is below 1e21 `ot` refuses the
float as a value; only a run of 21 digits can be one beyond (999999999999999999999 is read as 1e21). So such
integers are cut to 20 digits before they are read: refused like shorter ones where they are values, and
nothing to whoever doesn't read their member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.errors import Refusal

# A message with more of them isn't meant.
LONG_INTEGERS_MAX = 1_000
_DIGITS_KEPT = 20
# Digits are looked for as zeros, and all else as spaces.
_LONG_DIGITS = b"0" * (_DIGITS_KEPT + 1)
_DIGITS_AS_ZEROS = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
_RUN = re.compile(_LONG_DIGITS + b"0*+")
# What is before the digits of a fraction or an exponent, and after those of a number that has one.
_PART_FOLLOWS = (b".", b"e", b"E", b"+", b"e-", b"E-")
_PART_PRECEDES = (b".", b"e", b"E")


def shortened(raw: bytes) -> bytes:
    """JSON with its integers of more than 20 digits cut to 20; itself where it has none.

    Raises Refusal TOO_LARGE where it has more than LONG_INTEGERS_MAX.
    """
    told = b"".join(pieces(raw))
    return raw if len(told) == len(raw) else told


def pieces(raw: bytes) -> Iterator[bytes]:
    """The same piece by piece: each ends where many digits are, in a string or not. Many take long."""
    zeros = raw.translate(_DIGITS_AS_ZEROS)
    if _LONG_DIGITS not in zeros:
        yield raw
        return
    unescaped = raw.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    quotes = looked_at = taken = cut = 0
    for found in _RUN.finditer(zeros):
        first, end = found.span()
        quotes += unescaped.count(b'"', looked_at, first)
        looked_at = first
        kept = end if quotes % 2 or _is_part(raw, first, end) else first + _DIGITS_KEPT
        yield raw[taken:kept]
        taken = end
        cut += kept < end
        if cut > LONG_INTEGERS_MAX:
            text = f"More than {LONG_INTEGERS_MAX:,} integers have more than {_DIGITS_KEPT} digits"
            raise Refusal("TOO_LARGE", f"{text}: send them as strings.")
    yield raw[taken:]


def _is_part(raw: bytes, first: int, end: int) -> bool:
    """Whether these digits are of a number that has a fraction or an exponent."""
    return raw.endswith(_PART_FOLLOWS, 0, first) or raw.startswith(_PART_PRECEDES, end)
