"""Integers of JSON that are too long for a reader to tell that they were any.

orjson reads an integer literal beyond 64 bits as a float, silently. Where that is below 1e21 `ot` refuses the
float as a value; only a run of 21 digits can be one beyond (999999999999999999999 is read as 1e21). So such
integers are cut to 20 digits before they are read: refused like shorter ones where they are values, and
nothing to whoever doesn't read their member.
"""

from __future__ import annotations

import re

_DIGITS_KEPT = 20
# Digits are looked for as zeros, and all else as spaces.
_LONG_DIGITS = b"0" * (_DIGITS_KEPT + 1)
_DIGITS_AS_ZEROS = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
_DIGITS = re.compile(rb"[0-9]+")


def shortened(raw: bytes) -> bytes:
    """JSON with its integers of more than 20 digits cut to 20; itself where it has none."""
    kept: list[bytes] = []
    looked_at = quotes = taken = 0
    digits = raw.translate(_DIGITS_AS_ZEROS)
    while (first := digits.find(_LONG_DIGITS, looked_at)) >= 0:
        found = _DIGITS.match(raw, first)
        assert found is not None
        end = found.end()
        quotes += _quotes(raw[looked_at:first])
        looked_at = end
        if quotes % 2 == 0 and _is_integer(raw, first, end):  # in no string
            kept.append(raw[taken : first + _DIGITS_KEPT])
            taken = end
    return b"".join([*kept, raw[taken:]]) if kept else raw


def _quotes(piece: bytes) -> int:
    """How many quotation marks begin or end a string."""
    if b"\\" in piece:
        piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
    return piece.count(b'"')


def _is_integer(raw: bytes, first: int, end: int) -> bool:
    """Whether these digits are a number without fraction and exponent, and no part of one."""
    sign = raw[first - 1 : first] == b"-"
    before = raw[first - 1 - sign : first - sign]
    return before not in (b".", b"e", b"E", b"+") and raw[end : end + 1] not in (b".", b"e", b"E")
