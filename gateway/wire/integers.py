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
# So much is looked through at once: that takes half a millisecond where all of it is digits.
PIECE_BYTES = 16 << 10
# Digits are looked for as zeros, beside what tells a fraction or an exponent; all else is a space.
_LONG_DIGITS = b"0" * (_DIGITS_KEPT + 1)
_DIGITS_AS_ZEROS = bytes(
    ord("0") if ord("0") <= byte <= ord("9") else byte if byte in b".eE+-" else ord(" ")
    for byte in range(256)
)
# A group is there where the digits are of a number with a fraction or an exponent: before them, or behind.
_RUN = re.compile(
    b"%b(?:(?<=[.eE+]%b)()|(?<=[eE]-%b)())?0*+([.eE])?" % (_LONG_DIGITS, _LONG_DIGITS, _LONG_DIGITS)
)


def shortened(raw: bytes) -> bytes:
    """JSON with its integers of more than 20 digits cut to 20; itself where it has none.

    Raises Refusal TOO_LARGE where it has more than LONG_INTEGERS_MAX.
    """
    told = b"".join(pieces(raw))
    return raw if len(told) == len(raw) else told


def pieces(raw: bytes) -> Iterator[bytes]:
    """The same piece by piece: each ends with many digits, where some are cut or PIECE_BYTES are complete."""
    zeros = raw.translate(_DIGITS_AS_ZEROS)
    if _LONG_DIGITS not in zeros:
        yield raw
        return
    unescaped = raw.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    quotes = looked_at = taken = cut = 0
    for found in _RUN.finditer(zeros):
        first, end = found.span()
        if found.lastindex is None:
            quotes += unescaped.count(b'"', looked_at, first)
            looked_at = first
            if quotes % 2 == 0:
                cut += 1
                yield raw[taken : first + _DIGITS_KEPT]
                taken = end
        if cut > LONG_INTEGERS_MAX:
            text = f"More than {LONG_INTEGERS_MAX:,} integers have more than {_DIGITS_KEPT} digits"
            raise Refusal("TOO_LARGE", f"{text}: send them as strings.")
        if end - taken >= PIECE_BYTES:
            yield raw[taken:end]
            taken = end
    yield raw[taken:]
