"""Points in time as RFC 3339 writes them, put in order."""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DAYS_OF_400_YEARS = 146_097


class Instant(NamedTuple):
    """Seconds since the year 0, and the digits after the point: no fraction is too fine to compare."""

    seconds: int
    fraction: str


def instant(text: object) -> Instant | None:
    """The point in time that a date-time names; None for what isn't one."""
    found = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = found.groups()[6:]
    try:
        days = date(year, month, day).toordinal() if year else _day_of_year_0(month, day)
    except ValueError:
        return None
    offset = (int(offset_hours or 0) * 60 + int(offset_minutes or 0)) * (-60 if sign == "-" else 60)
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset
    return Instant(seconds, (fraction or "").rstrip("0"))


def _day_of_year_0(month: int, day: int) -> int:
    """RFC 3339 has a year 0, `datetime` hasn't; the calendar repeats itself after 400 years."""
    return date(400, month, day).toordinal() - _DAYS_OF_400_YEARS
