"""What the log has of something that fails again and again."""

from __future__ import annotations

import logging

import pytest

from gateway.runtime.outage import Outage


def test_an_outage_is_told_when_it_begins_when_its_reason_changes_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(logging.getLogger("gateway.tests"), "the archive waits")
    outage.over()
    for reason in ("refused", "refused", "starting up", "starting up"):
        outage.lasts(reason)
    outage.over()
    outage.over()
    outage.lasts("starting up")
    assert caplog.messages == [
        "the archive waits: refused",
        "the archive waits: starting up",
        "the archive waits no longer",
        "the archive waits: starting up",
    ]


def test_an_outage_that_several_notice_is_told_once_and_over_when_it_is_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(logging.getLogger("gateway.tests"), "Redis is away")
    for _ in range(2):
        outage.lasts("refused", "appends")
        outage.lasts("refused", "others")
    for _ in range(2):
        outage.lasts("starting up", "appends")
        outage.lasts("refused", "others")
    outage.over("bus")
    outage.over("appends")
    assert caplog.messages == ["Redis is away: refused", "Redis is away: starting up"]
    outage.over("others")
    assert caplog.messages[2:] == ["Redis is away no longer"]


def test_what_comes_and_goes_is_told_some_times_a_minute_and_how_often_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = 0.0
    outage = Outage(logging.getLogger("gateway.tests"), "Redis is away", now_s=lambda: now_s)
    for _ in range(100):
        outage.lasts("refused")
        outage.over()
    assert caplog.messages == ["Redis is away: refused", "Redis is away no longer"] * 3
    caplog.clear()
    now_s = 59.0
    outage.lasts("refused")
    assert not caplog.messages
    now_s = 60.0
    outage.lasts("refused")
    outage.over()
    told = ["Redis is away: refused (and 97 times before)", "Redis is away no longer"]
    assert caplog.messages == told


def test_an_outage_whose_end_was_told_by_none_of_its_beginnings_ends_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(logging.getLogger("gateway.tests"), "Redis is away", now_s=lambda: 0.0)
    for number in range(4):
        outage.lasts(f"reason {number}")
    assert caplog.messages == [f"Redis is away: reason {number}" for number in range(3)]
    outage.over()
    outage.lasts("reason 4")
    outage.over()
    assert caplog.messages[3:] == ["Redis is away no longer"]
