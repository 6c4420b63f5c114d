"""What errors are told as: groups of them, and to clients those of the log."""

from __future__ import annotations

from gateway.errors import IndexLost, LogDamaged, LogTrimmed, LogUnavailable, as_told, first_of, unavailable


def test_the_first_error_of_groups_and_of_several_only_where_one_is_enough():
    first, second = ValueError("first"), ValueError("second")
    several = BaseExceptionGroup("several", [first, second])
    within = BaseExceptionGroup("within", [several])
    assert (first_of(within), first_of(first)) == (first, first)
    assert (first_of(within, alone=True), first_of(first, alone=True)) == (several, first)
    assert first_of(BaseExceptionGroup("one", [BaseExceptionGroup("one", [second])]), alone=True) is second


def test_clients_are_told_that_the_log_is_away_and_not_why() -> None:
    told = unavailable(LogUnavailable("redis 10.0.0.7:6379: Connection refused.", "none"))
    assert str(told) == "That can't be done now; the server's own log says why. Try again."


def test_clients_are_told_what_is_damaged_or_made_again_and_what_is_not_kept_any_more() -> None:
    damaged, trimmed = LogDamaged("version 7 of event:1"), LogTrimmed("event:1", 6)
    assert "made again" in as_told(IndexLost("/var/lib/gateway/summaries is damaged"))
    assert "version 7 of event:1 isn't what was written" in unavailable(damaged).message
    assert as_told(trimmed) == "event:1: the changes up to version 6 aren't kept: ask for a newer version."
