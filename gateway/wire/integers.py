"""Integers of JSON that are too long for a reader to tell that they were any.

orjson reads an integer literal beyond 64 bits as a float, silently. Where that is below 1e21 `ot` refuses the
float as a value; only a run of 21 digits can be one beyond (999999999999999999999 is read as 1e21). So such
integers are cut to 20 digits before they are read: refused like shorter ones where they are values, and
nothing to whoever doesn't read their member.
"""

from __future__ import annotations

import re

from gateway.errors import Refusal

# A message with more of them isn't meant.
LONG_INTEGERS_MAX = 1_000
_DIGITS_KEPT = 20
# Digits are looked for as zeros, and all else as spaces.
_LONG_DIGITS = b"0" * (_DIGITS_KEPT + 1)
_DIGITS_AS_ZEROS = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
# No part of a number with a fraction or an exponent; the group is what is cut.
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+])(?<![eE]-)[0-9]{%d}([0-9]++)(?![.eE])" % _DIGITS_KEPT)


def shortened(raw: bytes) -> bytes:
    """JSON with its integers of more than 20 digits cut to 20; itself where it has none.

    Raises Refusal TOO_LARGE where it has more than LONG_INTEGERS_MAX.
    """
    if raw.translate(_DIGITS_AS_ZEROS).find(_LONG_DIGITS) < 0:
        return raw
    unescaped = raw.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    kept: list[bytes] = []
    quotes = looked_at = taken = 0
    for found in _LONG_INTEGER.finditer(raw):
        first, end = found.span(1)
        quotes += unescaped.count(b'"', looked_at, first)
        looked_at = first
        if quotes % 2 == 0:  # in no string
            kept.append(raw[taken:first])
            taken = end
    if len(kept) > LONG_INTEGERS_MAX:
        text = f"{len(kept):,} integers have more than {_DIGITS_KEPT} digits: send them as strings."
        raise Refusal("TOO_LARGE", text)
    return b"".join([*kept, raw[taken:]]) if kept else raw
