"""RFC 3339 points in time, in order."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.instants import instant

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)


@given(one=TIMES, two=TIMES)
def test_the_order_is_that_of_datetime(one: datetime, two: datetime) -> None:
    first, second = instant(one.isoformat()), instant(two.isoformat())
    assert first is not None and second is not None
    assert (first < second) == (one < two)
    assert (first == second) == (one == two)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2025-12-15T14:00:00Z", "2025-12-15T14:00:00.000000000000000000001Z"),
        ("2025-12-15T14:00:00.45Z", "2025-12-15T14:00:00.5Z"),
        ("2016-12-31T23:59:59Z", "2016-12-31T23:59:60Z"),
        ("0000-01-01T00:00:00Z", "0000-02-29T00:00:00Z"),
        ("0000-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-00:01"),
    ],
)
def test_leap_seconds_fine_fractions_and_the_year_0_are_in_order(earlier: str, later: str) -> None:
    first, second = instant(earlier), instant(later)
    assert first is not None and second is not None
    assert first < second


def test_one_instant_has_many_forms() -> None:
    forms = ["2025-12-15T14:00:00Z", "2025-12-15t14:00:00.000z", "2025-12-15T15:00:00+01:00"]
    assert len({instant(form) for form in forms}) == 1


@pytest.mark.parametrize("text", [None, 5, "", "2025-12-15", "2025-02-30T00:00:00Z", "2025-13-01T00:00:00Z"])
def test_what_is_no_instant_has_no_order(text: object) -> None:
    assert instant(text) is None
