"""What an exception group is told as."""

from __future__ import annotations

from gateway.errors import first_of


def test_the_first_error_of_groups_and_of_several_only_where_one_is_enough():
    first, second = ValueError("first"), ValueError("second")
    several = BaseExceptionGroup("several", [first, second])
    within = BaseExceptionGroup("within", [several])
    assert (first_of(within), first_of(first)) == (first, first)
    assert (first_of(within, alone=True), first_of(first, alone=True)) == (several, first)
    assert first_of(BaseExceptionGroup("one", [BaseExceptionGroup("one", [second])]), alone=True) is second
