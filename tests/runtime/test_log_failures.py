"""Why calls of the log failed, in the log."""

from __future__ import annotations

import pytest

from gateway.errors import LogDamaged, LogTrimmed, LogUnavailable
from gateway.runtime.log_failures import REASONS_MAX, WITHIN_S, LogFailures

TOLD = "a call of the log failed: "


def test_each_reason_is_told_once_a_minute_and_how_often_it_was_not(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    failures = LogFailures(lambda: now_s)
    for _ in range(100):
        failures.failed(LogUnavailable("refused"))
        failures.failed("starting up")
    assert caplog.messages == [f"{TOLD}refused", f"{TOLD}starting up"]
    now_s = WITHIN_S
    failures.failed("refused")
    assert caplog.messages[2:] == [f"{TOLD}refused (and 198 that weren't told)"]


def test_reasons_that_name_each_resource_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    failures = LogFailures(lambda: now_s)
    for number in range(1000):
        failures.failed(f"event:{number}: the head moves too fast")
    assert len(caplog.messages) == len(failures.told_s) == REASONS_MAX
    now_s = WITHIN_S
    failures.failed("the disk is full")
    assert caplog.messages[REASONS_MAX:] == [f"{TOLD}the disk is full (and 990 that weren't told)"]


def test_what_clients_are_told_in_full_takes_no_place(caplog: pytest.LogCaptureFixture) -> None:
    failures = LogFailures()
    for error in (LogDamaged("version 7 of event:1"), LogTrimmed("event:1", 6)):
        failures.failed(error)
    assert (caplog.messages, failures.told_s) == ([], {})
