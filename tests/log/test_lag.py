"""How far behind: by the oldest of what is lacking, and by the clock while nobody can tell."""

from __future__ import annotations

from gateway.log.lag import Lag


def test_it_is_as_far_behind_as_the_oldest_of_what_is_lacking_is_old() -> None:
    now_ms = 1000
    lag = Lag(lambda: now_ms)
    assert lag.ms == 0
    lag.since(400)
    now_ms += 50
    assert lag.ms == 650
    lag.since(None)
    assert lag.ms == 0


def test_it_stays_behind_by_what_it_was() -> None:
    now_ms = 1000
    lag = Lag(lambda: now_ms)
    assert lag.stays() == 1000
    now_ms += 50
    assert (lag.stays(300), lag.ms) == (1000, 50)
    lag.since(None)
    assert (lag.stays(300), lag.ms) == (750, 300)


def test_what_is_of_a_clock_that_is_ahead_is_not_lacking_yet() -> None:
    lag = Lag(lambda: 1000)
    lag.since(1500)
    assert lag.ms == 0
