"""Who is behind is waited for while he catches up."""

from __future__ import annotations

import pytest
import trio

from loadtest.patience import PATIENCES_MAX, until_none


@pytest.mark.parametrize(
    ("each_s", "behind", "waited_s"),
    [
        (4.0, 3, 12.0),  # each catches up within the patience
        (6.0, 3, 5.0),  # nobody does
        (4.0, 99, 5.0 * PATIENCES_MAX),
        (4.0, 0, 0.0),
    ],
)
async def test_who_is_behind_is_waited_for_as_long_as_he_catches_up(
    autojump_clock: trio.testing.MockClock, each_s: float, behind: int, waited_s: float
) -> None:
    began_s = trio.current_time()
    await until_none(lambda: max(0, behind - int((trio.current_time() - began_s) / each_s)), 5.0)
    assert trio.current_time() - began_s == pytest.approx(waited_s, abs=0.1)
