"""What errors are told as: groups of them, and a server's own words within a sentence."""

from __future__ import annotations

from gateway.errors import LogUnavailable, first_of, unavailable


def test_the_first_error_of_groups_and_of_several_only_where_one_is_enough():
    first, second = ValueError("first"), ValueError("second")
    several = BaseExceptionGroup("several", [first, second])
    within = BaseExceptionGroup("within", [several])
    assert (first_of(within), first_of(first)) == (first, first)
    assert (first_of(within, alone=True), first_of(first, alone=True)) == (several, first)
    assert first_of(BaseExceptionGroup("one", [BaseExceptionGroup("one", [second])]), alone=True) is second


def test_what_a_server_says_with_a_full_stop_goes_into_a_longer_sentence() -> None:
    told = unavailable(LogUnavailable("no Redis server answers: Connection refused.", "none"))
    assert str(told) == "The log cannot be reached: no Redis server answers: Connection refused. Try again."
